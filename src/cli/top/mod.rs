//! `tikkun top`: the running service in a terminal, live.
//!
//! [`link`] receives what the service sends and goes on trying when it is away, [`state`] decides what that and
//! what a key means, [`panes`] and [`head`] put it into words, [`draw`] puts the words on a screen of any size,
//! [`screen`] has the terminal, [`live`] turns the wheel.

mod board;
mod change;
mod draw;
mod events;
mod head;
mod link;
mod live;
mod meter;
mod panes;
mod screen;
mod state;

use std::io::{IsTerminal as _, stdin, stdout};
use std::time::Duration;

use clap::Args;

use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::reach::{Place, base};
use super::{Common, page, spans};
use draw::{Moment, Painter};
use link::Link;
use state::View;

/// The eye sees no more frames than these, and they cost time.
const FASTEST: Duration = Duration::from_millis(20);
/// Width of a frame where no terminal says its own.
const WIDTH: u16 = 120;

/// Options of `top`.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// Where the service is; without it this machine and `http.port`.
    #[arg(long, value_parser = base, value_hint = clap::ValueHint::Url)]
    url: Option<String>,
    /// Time between two frames, 20ms or more; keys are answered at once.
    #[arg(long, default_value = "500ms", value_parser = spans::some_time)]
    interval: Duration,
    /// Prints everything once as plain text, and leaves; with --json as the service says it.
    #[arg(long)]
    once: bool,
}

impl Top {
    pub(super) fn run(self, common: &Common) -> u8 {
        finish(self.show(common))
    }

    fn show(self, common: &Common) -> Result<(), Complaint> {
        let once = self.once || common.json;
        let terminal = stdin().is_terminal() && stdout().is_terminal();
        if !(once || terminal) {
            return Err(Complaint::usage("top draws on a terminal, and this is none", Advice::NO_TERMINAL));
        }
        let place = Place::find(self.url, common)?;
        let view = View::new(place.base.clone());
        let link = Link::new(place);
        let system = actix_rt::System::new();
        if once {
            return system.block_on(look(&link, view, common.json));
        }
        system.block_on(live::live(link, view, self.interval.max(FASTEST)))
    }
}

/// One look, printed.
async fn look(link: &Link, mut view: View, json: bool) -> Result<(), Complaint> {
    let said = link.look().await?;
    if json {
        page::json(&said);
        return Ok(());
    }
    view.board = serde_json::from_value(said).map_err(|error| {
        let text = format!("what {} says of itself cannot be read: {error}", view.base);
        Complaint::failed(text, Advice::SAME_VERSION)
    })?;
    view.line = state::Line::Live;
    let lines = Painter { colours: false }.print(&view, Moment::now(), page::width().unwrap_or(WIDTH));
    page::line(&lines.join("\n"));
    Ok(())
}
