//! `tikkun run`: an RQ worker's own command, with its jobs fetched, timed, rescued and shown by Tikkun.

use std::ffi::OsString;
use std::net::TcpListener;

use clap::Args;

use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::{Common, GAVE_UP, OK, begin_tracing, page};
use crate::config::{Loaded, Origin, Settings};
use crate::runtime::python_jobs::{PythonCommand, PythonWorker, redis_url};
use crate::runtime::{Ended, Service, Signals, StartError};

/// Long enough to be without limit: RQ's worker waits for its job however long that takes.
const NO_LIMIT: &str = "1000weeks";

/// Options of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// How many jobs run at once; without it as many as the worker's command asks for.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    slots: Option<u16>,
    /// How far jobs are kept apart: `job` or `warm`; the same as `--set python.isolation=…`.
    #[arg(long)]
    isolation: Option<String>,
    /// The port of the HTTP server; 0 takes any free one. Without it the usual one, or a free one if that is taken.
    #[arg(long)]
    port: Option<u16>,
    /// The command that starts the worker today, such as `rq worker high default`.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Run {
    pub(super) fn run(self, common: &Common) -> u8 {
        let system = actix_rt::System::new();
        let signals = match system.block_on(async { Signals::listen() }) {
            Ok(signals) => signals,
            Err(error) => return finish(Err(StartError::from(error).into())),
        };
        let folder = match tempfile::Builder::new().prefix("tikkun-run-").tempdir() {
            Ok(folder) => folder,
            Err(error) => return finish(Err(StartError::from(error).into())),
        };
        let mut flags = vec![
            ("service.data".to_owned(), folder.path().display().to_string()),
            ("service.role".to_owned(), "worker".to_owned()),
        ];
        flags.extend(self.port.map(|port| ("http.port".to_owned(), port.to_string())));
        flags.extend(self.isolation.clone().map(|isolation| ("python.isolation".to_owned(), isolation)));
        let loaded = match common.load_beside_application(flags.clone()) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        if !loaded.settings.python_workers.is_empty() {
            let text =
                "`[[python]]` is for `tikkun serve`: `tikkun run` takes its one worker's command after `--`";
            return finish(Err(Complaint::usage(text, Advice::SERVE_OR_RUN)));
        }
        flags.extend(
            usual(&loaded, "service.drain_timeout")
                .then(|| ("service.drain_timeout".into(), NO_LIMIT.into())),
        );
        flags.extend(other_port(&loaded));
        let _exporter = match begin_tracing(&Loaded { warnings: Vec::new(), ..loaded.clone() }) {
            Ok(exporter) => exporter,
            Err(code) => return code,
        };
        system.block_on(self.serve(common, flags, loaded, signals))
    }

    async fn serve(
        self,
        common: &Common,
        flags: Vec<(String, String)>,
        loaded: Loaded,
        mut signals: Signals,
    ) -> u8 {
        let command = PythonCommand::new(self.command, &loaded.settings);
        let booted = tokio::select! {
            booted = PythonWorker::boot(command, self.slots.map(usize::from)) => booted,
            signal = signals.next() => {
                tracing::info!(signal, "tikkun has left before it had started");
                return OK;
            }
        };
        let worker = match booted {
            Ok(worker) => worker,
            Err(error) => {
                let (text, next) = (error.chain(), Advice::of_boot(&error));
                let told = if error.is_of_system() { Complaint::failed } else { Complaint::usage };
                return finish(Err(told(text, next)));
            }
        };
        let settings = match captured(common, flags, &worker) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        let (signals, last) = (signals.with_foreign_jobs(worker.signals()), worker.last());
        match Service::start_for(settings, worker, signals).await {
            Ok(service) => {
                let broker = service.ports().broker.clone();
                let ended = last.ended(broker, service.slots());
                match service.run_until(ended).await {
                    Ended::Drained | Ended::DrainedInPart => OK,
                    Ended::GaveUp => GAVE_UP,
                }
            }
            Err(StartError::Left(signal)) => {
                tracing::info!(signal, "tikkun has left before it had started");
                OK
            }
            Err(error) => finish(Err(error.into())),
        }
    }
}

/// The settings of a process that serves the captured worker's queues.
fn captured(
    common: &Common,
    mut flags: Vec<(String, String)>,
    worker: &PythonWorker,
) -> Result<Settings, u8> {
    let hello = worker.hello();
    flags.extend([
        ("broker.url".to_owned(), redis_url(&hello.connection)),
        ("worker.slots".to_owned(), hello.slots.unwrap_or(1).to_string()),
        ("scheduler.enabled".to_owned(), hello.schedules().to_string()),
    ]);
    let mut settings = common.load_beside_application(flags)?.settings;
    settings.worker = worker.served(&settings.worker);
    let queues = settings.worker.queues.clone();
    settings.hand_over_whole_jobs(queues, hello.given_name().map(str::to_owned));
    Ok(settings)
}

/// Whether nobody has given a key another value.
fn usual(loaded: &Loaded, key: &str) -> bool {
    loaded.origin(key) == Some(&Origin::Default)
}

/// Any free port, where nobody has named one and the usual one is taken.
fn other_port(loaded: &Loaded) -> Option<(String, String)> {
    let http = &loaded.settings.http;
    let is_taken = http.enabled && TcpListener::bind(http.address()).is_err();
    (is_taken && usual(loaded, "http.port")).then(|| {
        page::note(&format!("port {} is taken; the HTTP server gets another one", http.port));
        ("http.port".to_owned(), "0".to_owned())
    })
}
