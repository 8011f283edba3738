//! `tikkun serve`: runs the service.

use clap::Args;

use super::ending::finish;
use super::{Common, GAVE_UP, OK, begin_tracing};
use crate::runtime::{Ended, Service, Signals, StartError};

/// Options of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The port of the HTTP server; 0 takes any free one.
    #[arg(long)]
    port: Option<u16>,
    /// The queues to listen to, in order, separated by commas; the same as RQ_QUEUES.
    #[arg(long)]
    queues: Option<String>,
}

impl Serve {
    pub(super) fn run(self, common: &Common) -> u8 {
        // Before anything else, so that no signal ends the process without a log line.
        let system = actix_rt::System::new();
        let signals = match system.block_on(async { Signals::listen() }) {
            Ok(signals) => signals,
            Err(error) => return finish(Err(StartError::from(error).into())),
        };
        let port = self.port.map(|port| ("http.port".to_owned(), port.to_string()));
        let queues = self.queues.map(|queues| ("worker.queues".to_owned(), queues));
        let loaded = match common.load(port.into_iter().chain(queues).collect()) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        let _exporter = match begin_tracing(&loaded) {
            Ok(exporter) => exporter,
            Err(code) => return code,
        };
        let settings = loaded.settings;
        system.block_on(async move {
            match Service::start_under(settings, signals).await {
                Ok(service) => match service.run_until(std::future::pending()).await {
                    Ended::Drained | Ended::DrainedInPart => OK,
                    Ended::GaveUp => GAVE_UP,
                },
                Err(StartError::Left(signal)) => {
                    tracing::info!(signal, "tikkun has left before it had started");
                    OK
                }
                Err(error) => finish(Err(error.into())),
            }
        })
    }
}
