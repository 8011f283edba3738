//! `tikkun demo`: runs the whole service on made-up data, and counts afterwards what is left.
//!
//! [`plan`] decides which receipt points to what, [`seed`] writes it, [`run`] starts the service and requests
//! the deletion over HTTP, [`check`] counts independently what is gone and what is left. The demonstration
//! reads neither environment nor file, so it can never reach a real database.

mod check;
mod front;
mod plan;
mod report;
mod run;
mod screen;
mod seed;

use std::io::{IsTerminal as _, stderr};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use tempfile::TempDir;

use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::{Common, spans, tell};
use crate::config::{Settings, Sources};
use crate::runtime::{Signals, StartError, logging};
use screen::Screen;

/// Options of `demo`.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Receipts to delete.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    receipts: u32,
    /// Receipts per transaction.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// The pause between two batches; `0s` for none.
    #[arg(long, default_value = "200ms", value_parser = spans::duration)]
    throttle: Duration,
    /// The port of the service; by default any free one.
    #[arg(long)]
    port: Option<u16>,
    /// Keeps the data, and keeps the service running until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// The settings and the output that all parts of the demonstration use.
struct Stage {
    settings: Settings,
    secret: String,
    receipts: u32,
    keep: bool,
    json: bool,
    screen: Screen,
}

impl Demo {
    pub(super) fn run(self, common: &Common) -> u8 {
        finish(self.perform(common))
    }

    fn perform(self, common: &Common) -> Result<(), Complaint> {
        if common.config.is_some() || common.data.is_some() {
            let text = "demo makes data and settings of its own; leave out --config and --data, single keys go by --set";
            return Err(Complaint::usage(text, Advice::help("demo")));
        }
        // Before anything is created that a signal would leave behind.
        let system = actix_rt::System::new();
        let signals = system.block_on(async { Signals::listen() }).map_err(StartError::from)?;
        let mut folder = make_folder()?;
        let (secret, screen) = (made_up_secret(), Screen::new());
        let flags = self.flags(common, folder.path(), &secret);
        let sources = Sources { flags, ..Sources::none() };
        let settings = Settings::load(&sources).map_err(|error| Complaint::said(tell(&error)))?.settings;
        let subscriber = logging::subscriber(&settings.log, screen.clone(), stderr().is_terminal());
        let set = subscriber.map(tracing::subscriber::set_global_default);
        set.map_err(|error| Complaint::usage(error.to_string(), Advice::READ_REFERENCE))?
            .map_err(|error| Complaint::failed(format!("cannot write log lines: {error}"), Advice::AGAIN))?;
        folder.disable_cleanup(self.keep);
        let stage = Stage {
            settings,
            secret,
            receipts: self.receipts,
            keep: self.keep,
            json: common.json,
            screen: screen.clone(),
        };
        screen.say(&format!(
            "data folder: {}{}",
            folder.path().display(),
            if self.keep { "" } else { " (temporary)" }
        ));
        let performed = system.block_on(run::perform(&stage, signals));
        if self.keep {
            screen.say(&format!("the data stays in {}", folder.path().display()));
        }
        performed
    }

    /// The user's flags, overridden by our own, so that nothing is stored outside the temporary folder.
    fn flags(&self, common: &Common, folder: &Path, secret: &str) -> Vec<(String, String)> {
        let own = [
            ("service.data", folder.display().to_string()),
            ("service.role", "all".to_owned()),
            ("broker.url", "embedded".to_owned()),
            ("store.url", String::new()),
            ("store.migrate", "true".to_owned()),
            ("attachments.driver", "local".to_owned()),
            ("attachments.folder", String::new()),
            ("http.enabled", "true".to_owned()),
            ("http.port", self.port.unwrap_or(0).to_string()),
            ("http.internal_secret", secret.to_owned()),
            ("deletion.storage_delete", "true".to_owned()),
            ("deletion.batch", self.batch.to_string()),
            ("deletion.throttle", humantime::format_duration(self.throttle).to_string()),
        ];
        common.set.iter().cloned().chain(own.map(|(key, value)| (key.to_owned(), value))).collect()
    }
}

fn make_folder() -> Result<TempDir, Complaint> {
    tempfile::Builder::new().prefix("tikkun-demo-").tempdir().map_err(|error| {
        Complaint::failed(format!("cannot make a temporary folder: {error}"), Advice::OTHER_TEMPORARY)
    })
}

/// 244 random bits as text.
fn made_up_secret() -> String {
    [(); 2].map(|()| uuid::Uuid::new_v4().simple().to_string()).concat()
}
