//! `tikkun top`: a live view of the running service in a terminal.
//!
//! [`link`] receives events and reconnects, [`state`] decides what events and keys do, [`panes`] and [`head`]
//! produce the texts, [`draw`] lays them out on a screen of any size, [`screen`] owns the terminal, and
//! [`live`] is the main loop.

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
mod sheet;
mod state;

use std::io::{IsTerminal as _, stdin, stdout};
use std::time::Duration;

use clap::Args;

use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::reach::{Place, base};
use super::{Common, page, spans};
use draw::{Moment, Painter};
pub(super) use link::Link;
use state::View;

/// The shortest time between two frames: more frames cost time and show nothing new.
const FASTEST: Duration = Duration::from_millis(20);
/// The width of a frame, in columns, if there is no terminal.
const WIDTH: u16 = 120;

/// Options of `top`.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// The service's URL; by default this machine with `http.port`.
    #[arg(long, value_parser = base, value_hint = clap::ValueHint::Url)]
    url: Option<String>,
    /// The time between two frames, at least 20ms; keys are handled at once.
    #[arg(long, default_value = "500ms", value_parser = spans::some_time)]
    interval: Duration,
    /// Prints everything once as plain text, and exits; with --json as the service sends it.
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

/// Reads the state once and prints it.
async fn look(link: &Link, mut view: View, json: bool) -> Result<(), Complaint> {
    let said = link.look(&["overview"]).await?;
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
