//! The findings about the command of a Python worker.

use std::ffi::OsString;

use super::finding::{Finding, Severity, finding};
use crate::cli::advice::Advice;
use crate::config::{PythonWorkerSettings, Settings};
use crate::python::{BootError, Hazards};
use crate::runtime::python_jobs::{Examined, PythonCommand, misfit};

/// Starts the command once; the worst findings first.
pub(super) async fn examine(command: Vec<OsString>, settings: &Settings) -> Vec<Finding> {
    let subject = command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match start(&subject, PythonCommand::new(command, settings)).await {
        Ok(examined) => diagnose(&subject, &examined),
        Err(finding) => vec![finding],
    }
}

/// Starts the command of each worker in the settings once; and whether they fit the service and each other.
pub(super) async fn examine_workers(settings: &Settings) -> Vec<Finding> {
    let (mut findings, mut hellos) = (Vec::new(), Vec::new());
    let subject = |place: usize| {
        let command = settings.python_workers.get(place).map(PythonWorkerSettings::shown);
        format!("`[[python]]` number {} ({})", place + 1, command.unwrap_or_default())
    };
    for (place, worker) in settings.python_workers.iter().enumerate() {
        match start(&subject(place), PythonCommand::of(worker, settings)).await {
            Ok(examined) => {
                findings.extend(diagnose(&subject(place), &examined));
                hellos.push(examined.hello);
            }
            Err(finding) => findings.push(finding),
        }
    }
    let is_complete = !hellos.is_empty() && hellos.len() == settings.python_workers.len();
    let misfit = is_complete.then(|| misfit(settings, &hellos.iter().collect::<Vec<_>>())).flatten();
    findings.extend(misfit.map(|(place, why)| {
        let next = "change the worker's command or this key; `tikkun serve` does not start as it is";
        finding((Severity::Error, "python_misfit"), subject(place), why, next)
    }));
    findings
}

async fn start(subject: &str, command: PythonCommand) -> Result<Examined, Finding> {
    command.examine().await.map_err(|error| {
        let is_preload = matches!(error, BootError::Preloading { .. });
        let code = if is_preload { "python_preload" } else { "python_start" };
        finding((Severity::Error, code), subject, error.chain(), Advice::of_boot(&error).to_string())
    })
}

fn diagnose(subject: &str, Examined { hello, warnings, round }: &Examined) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !hello.overrides.is_empty() {
        let (class, methods) = (&hello.worker_class, hello.overrides.join(", "));
        findings.push(finding(
            (Severity::Warning, "python_overrides"),
            subject,
            format!("{class} replaces methods that are not called under `tikkun run`: {methods}"),
            "see whether the application needs what they do; Tikkun fetches, watches and ends jobs itself",
        ));
    }
    let mut hazards = hello.hazards.clone();
    hazards.extend(&round.hazards);
    findings.extend(dangers(subject, &hazards));
    findings.extend(round.left_out.iter().map(|(module, why)| {
        finding(
            (Severity::Warning, "python_preload"),
            subject,
            format!("`python.preload` names {module}, which cannot be imported: {why}"),
            "correct its name, or leave it out",
        )
    }));
    findings.extend(warnings.iter().map(|warning| {
        finding(
            (Severity::Warning, "python_warning"),
            subject,
            warning,
            "see to what the message names before jobs depend on it",
        )
    }));
    findings
}

/// What the process has that forked ones get only a part of.
fn dangers(subject: &str, hazards: &Hazards) -> Vec<Finding> {
    let warning = |code, what: String, to_do: &str| finding((Severity::Warning, code), subject, what, to_do);
    let mut findings = Vec::new();
    if !hazards.threads.is_empty() {
        findings.push(warning(
            "python_threads",
            format!("threads run before the first job: {}", hazards.threads.join(", ")),
            "start them in the jobs, or after the fork (os.register_at_fork): forked processes do not have them, and \
             a lock that one holds stays locked there; or set python.start = \"spawn\", with which nothing is forked",
        ));
    }
    if !hazards.connections.is_empty() {
        findings.push(warning(
            "python_connections",
            format!("connections are open before the first job: {}", hazards.connections.join(", ")),
            "close them before the worker begins to work, or open them in the jobs: every forked process has the same \
             ones, and what one writes or reads there confuses the others; or set python.start = \"spawn\", with which \
             nothing is forked",
        ));
    }
    findings.extend(hazards.libraries.iter().map(|(library, why)| {
        warning(
            "python_library",
            format!("{library} is loaded before the first job: {why}"),
            "import it in the functions that need it, not in the worker's settings or modules; or set python.start = \
             \"spawn\", with which nothing is forked",
        )
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::{Hello, PreloadRound};

    #[test]
    fn what_cannot_be_kept_is_named() {
        let hello = Hello {
            worker_class: "shop.Worker".into(),
            overrides: vec!["monitor_work_horse".into(), "kill_horse".into()],
            hazards: Hazards {
                threads: vec!["metrics".into()],
                connections: vec!["db:5432".into()],
                ..Hazards::default()
            },
            ..Hello::default()
        };
        let warnings = vec!["a child could not be forked".to_owned()];
        let round = PreloadRound {
            left_out: [("shop.nothing".to_owned(), "ModuleNotFoundError".to_owned())].into(),
            hazards: Hazards {
                libraries: [("grpc".to_owned(), "it hangs".to_owned())].into(),
                ..Hazards::default()
            },
            ..PreloadRound::default()
        };
        let findings = diagnose("rq worker", &Examined { hello, warnings, round });
        let told: Vec<_> = findings.iter().map(|one| (one.code, one.what.as_str())).collect();
        assert_eq!(
            told,
            [
                (
                    "python_overrides",
                    "shop.Worker replaces methods that are not called under `tikkun run`: monitor_work_horse, kill_horse"
                ),
                ("python_threads", "threads run before the first job: metrics"),
                ("python_connections", "connections are open before the first job: db:5432"),
                ("python_library", "grpc is loaded before the first job: it hangs"),
                (
                    "python_preload",
                    "`python.preload` names shop.nothing, which cannot be imported: ModuleNotFoundError"
                ),
                ("python_warning", "a child could not be forked"),
            ]
        );
        let nothing =
            Examined { hello: Hello::default(), warnings: Vec::new(), round: PreloadRound::default() };
        assert_eq!(diagnose("rq worker", &nothing), []);
    }
}
