//! The findings about the command of a Python worker.

use std::ffi::OsString;

use super::finding::{Finding, Severity, finding};
use crate::config::{LogFormat, PythonWorkerSettings, Settings};
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
    // In the log, what the command writes does not come between the findings.
    let command = PythonCommand { format: LogFormat::Json, ..command };
    command.examine().await.map_err(|error| {
        finding(
            (Severity::Error, "python_start"),
            subject,
            error.chain(),
            "see to it that the command starts its worker by itself, in this folder and with these variables; is its \
             version of RQ one from 1.16 to 3",
        )
    })
}

fn diagnose(subject: &str, Examined { hello, warnings }: &Examined) -> Vec<Finding> {
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
    if !hello.threads.is_empty() {
        findings.push(finding(
            (Severity::Warning, "python_threads"),
            subject,
            format!("threads run before the first job: {}", hello.threads.join(", ")),
            "start them in the jobs, or after the fork (os.register_at_fork): forked processes do not have them, and \
             a lock that one holds stays locked there",
        ));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::Hello;

    #[test]
    fn what_cannot_be_kept_is_named() {
        let hello = Hello {
            worker_class: "shop.Worker".into(),
            overrides: vec!["monitor_work_horse".into(), "kill_horse".into()],
            threads: vec!["metrics".into()],
            ..Hello::default()
        };
        let warnings = vec!["a preload failed".to_owned()];
        let findings = diagnose("rq worker", &Examined { hello, warnings });
        let told: Vec<_> = findings.iter().map(|one| (one.code, one.what.as_str())).collect();
        assert_eq!(
            told,
            [
                (
                    "python_overrides",
                    "shop.Worker replaces methods that are not called under `tikkun run`: monitor_work_horse, kill_horse"
                ),
                ("python_threads", "threads run before the first job: metrics"),
                ("python_warning", "a preload failed"),
            ]
        );
        let nothing = Examined { hello: Hello::default(), warnings: Vec::new() };
        assert_eq!(diagnose("rq worker", &nothing), []);
    }
}
