//! The command line: one file for each command, and the exit codes.
//!
//! Commands use the back ends through [`JobPorts`] and know no adapter. Results go to standard output,
//! everything else to standard error: the message, then a line with a hint for the next step (`advice`). Only
//! `top` needs a terminal.

mod advice;
mod audited;
mod certificate;
mod client;
mod completions;
mod config;
mod demo;
mod doctor;
mod ending;
mod enqueue;
mod health;
mod jobs;
mod known;
mod man;
mod migrate;
mod outbox;
mod page;
mod plan;
mod queues;
mod reach;
mod run;
mod selftest;
mod serve;
mod spans;
mod table;
mod tone;
mod top;
mod views;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueHint};

use crate::config::{ConfigError, Loaded, Settings, Sources, WarningLevel};
#[cfg(feature = "opentelemetry")]
use crate::runtime::export::Exporter;
use crate::runtime::{JobPorts, OpenError, logging, survive_user_signals};
use advice::Advice;
use ending::Complaint;

/// Success.
pub const OK: u8 = 0;
/// The command could not be carried out.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong; nothing was done.
pub const USAGE: u8 = 2;
/// The service could not recover and needs a restart (`EX_SOFTWARE`).
pub const GAVE_UP: u8 = 70;

/// Background jobs that recover by themselves.
///
/// Exit codes: 0 success; 1 the command failed, or the answer is no; 2 the command line or the configuration
/// is wrong, and nothing was done; 70 the service could not recover and needs a restart.
///
/// An error prints on standard error what happened, and after `try:` what to do next. Colours are used on
/// terminals only, and not if NO_COLOR is set.
#[derive(Debug, Parser)]
#[command(name = "tikkun", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct Common {
    /// The configuration file; by default the one in TIKKUN_CONFIG, else ./tikkun.toml if it exists.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Sets one key, as in `--set deletion.batch=100`; may be repeated.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// The data folder; the same as `--set service.data=…`.
    #[arg(long, global = true, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    data: Option<String>,
    /// Prints results as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Demonstrates the service on made-up data: deletes receipts, then counts what is gone and what is left.
    Demo(demo::Demo),
    /// Runs the service until SIGTERM or SIGINT, then drains.
    Serve(serve::Serve),
    /// Runs an RQ worker's own command and serves its queues: `tikkun run rq worker high default`.
    Run(run::Run),
    /// Puts one job into a queue, and prints its id.
    Enqueue(enqueue::Enqueue),
    /// Lists, shows, cancels and retries jobs.
    Jobs(jobs::Jobs),
    /// Lists, pauses and resumes queues.
    Queues(queues::Queues),
    /// Shows the running service live: queues, running jobs, deletions, actors.
    Top(top::Top),
    /// Follows a background job until it ends: exit code 0 when it completed, 1 when it did not.
    Watch(watch::Watch),
    /// Lists, deletes, parks and unparks objects that are still to be deleted from storage.
    Outbox(outbox::Outbox),
    /// Makes keys for certificates of deletions; shows, exports and verifies these.
    Certificate(certificate::Certificates),
    /// Shows what deleting all receipts of a business would do, without doing it.
    Plan(plan::Plan),
    /// Creates the missing ones of Tikkun's own tables, and nothing else.
    Migrate(migrate::Migrate),
    /// Asks the running service whether it is healthy: exit code 0 if it is.
    Health(health::Health),
    /// Prints the effective settings with their origin, secrets masked; or explains every key.
    Config(config::ShowConfig),
    /// Finds out what is wrong with the service, or why one job does not move, and what to do: exit code 0 if
    /// nothing is wrong.
    Doctor(doctor::Doctor),
    /// Tests the queue, the database, the storage and a job of its own, and reports what does not work.
    Selftest(selftest::Selftest),
    /// Prints the completion script of a shell.
    Completions(completions::Completions),
    /// Prints the manual page, or writes one for each command.
    Man(man::Manual),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let _failpoints = crate::failpoint::arm();
    if let Err(error) = survive_user_signals() {
        return ExitCode::from(cannot(&error));
    }
    ExitCode::from(match command {
        Command::Demo(demo) => demo.run(&common),
        Command::Serve(serve) => serve.run(&common),
        Command::Run(run) => run.run(&common),
        Command::Enqueue(enqueue) => enqueue.run(&common),
        Command::Jobs(jobs) => jobs.run(&common),
        Command::Queues(queues) => queues.run(&common),
        Command::Top(top) => top.run(&common),
        Command::Watch(watch) => watch.run(&common),
        Command::Outbox(outbox) => outbox.run(&common),
        Command::Certificate(certificates) => certificates.run(&common),
        Command::Plan(plan) => plan.run(&common),
        Command::Migrate(migrate) => migrate.run(&common),
        Command::Health(health) => health.run(&common),
        Command::Config(config) => config.run(&common),
        Command::Doctor(doctor) => doctor.run(&common),
        Command::Selftest(selftest) => selftest.run(&common),
        Command::Completions(completions) => completions.run(),
        Command::Man(manual) => manual.run(),
    })
}

impl Common {
    /// Loads the settings from all sources; `flags` of the command take precedence over `--set`. Problems are
    /// printed on standard error.
    fn load(&self, flags: Vec<(String, String)>) -> Result<Loaded, u8> {
        let mut all = self.set.clone();
        all.extend(self.data.clone().map(|data| ("service.data".to_owned(), data)));
        all.extend(flags);
        Settings::load(&Sources::from_process(self.config.clone(), all)).map_err(|error| tell(&error))
    }

    /// The same beside an application's own worker, whose environment is the application's.
    fn load_beside_application(&self, flags: Vec<(String, String)>) -> Result<Loaded, u8> {
        let all = self.set.iter().cloned().chain(flags).collect();
        Settings::load(&Sources::beside_application(self.config.clone(), all)).map_err(|error| tell(&error))
    }

    /// Runs `work` with the back ends, creating local ones that do not exist yet.
    fn with_new_ports<W>(&self, work: W) -> Result<(), Complaint>
    where
        W: AsyncFnOnce(Settings, JobPorts) -> Result<(), Complaint>,
    {
        self.with_ports(async |settings| JobPorts::open(settings).await, work)
    }

    /// Runs `work` with existing back ends only: a command that reads must not create an empty data folder.
    fn with_found_ports<W>(&self, work: W) -> Result<(), Complaint>
    where
        W: AsyncFnOnce(Settings, JobPorts) -> Result<(), Complaint>,
    {
        self.with_ports(async |settings| JobPorts::open_found(settings).await, work)
    }

    fn with_ports<O, W>(&self, open: O, work: W) -> Result<(), Complaint>
    where
        O: AsyncFnOnce(&Settings) -> Result<JobPorts, OpenError>,
        W: AsyncFnOnce(Settings, JobPorts) -> Result<(), Complaint>,
    {
        let settings = self.load(Vec::new()).map_err(Complaint::said)?.settings;
        logging::init(&settings.log)
            .map_err(|error| Complaint::usage(error.to_string(), Advice::READ_REFERENCE))?;
        actix_rt::System::new().block_on(async move {
            let ports = open(&settings).await?;
            work(settings, ports).await
        })
    }
}

fn tell(error: &ConfigError) -> u8 {
    let problems = error.problems().iter().map(|problem| format!("\n  {}", problem.text)).collect::<String>();
    ending::tell(&format!("the configuration cannot be used:{problems}"), &Advice::READ_REFERENCE);
    USAGE
}

/// Starts logging, and logs the warnings about the configuration.
fn begin_logging(loaded: &Loaded) -> Result<(), u8> {
    logging::init(&loaded.settings.log).map_err(|error| cannot(&error))?;
    warn_of(loaded);
    Ok(())
}

/// The same, and exports spans if the settings ask for it, as long as the returned exporter exists.
#[cfg(feature = "opentelemetry")]
fn begin_tracing(loaded: &Loaded) -> Result<Option<Exporter>, u8> {
    if !loaded.settings.traces.export {
        return begin_logging(loaded).map(|()| None);
    }
    let exporter = Exporter::new(loaded.settings.traces).map_err(|error| cannot(&error))?;
    logging::init_with_export(&loaded.settings.log, &exporter).map_err(|error| cannot(&error))?;
    warn_of(loaded);
    Ok(Some(exporter))
}

/// A placeholder: this build has no exporter.
#[cfg(not(feature = "opentelemetry"))]
enum Exporter {}

/// The same without export.
#[cfg(not(feature = "opentelemetry"))]
fn begin_tracing(loaded: &Loaded) -> Result<Option<Exporter>, u8> {
    begin_logging(loaded).map(|()| None)
}

fn cannot(error: &dyn std::error::Error) -> u8 {
    ending::tell(&error.to_string(), &Advice::READ_REFERENCE);
    USAGE
}

fn warn_of(loaded: &Loaded) {
    for warning in &loaded.warnings {
        match warning.level {
            WarningLevel::Warn => tracing::warn!("{}", warning.text),
            WarningLevel::Error => tracing::error!("{}", warning.text),
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form KEY=VALUE, as in deletion.batch=100")),
    }
}
