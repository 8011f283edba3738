//! The findings about the command of a Python worker.

use std::ffi::OsString;

use super::finding::{Finding, Severity, finding};
use crate::config::{LogFormat, Settings};
use crate::runtime::python_jobs::{Examined, PythonCommand};

/// Starts the command once; the worst findings first.
pub(super) async fn examine(command: Vec<OsString>, settings: &Settings) -> Vec<Finding> {
    let subject = command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    // In the log, what the command writes does not come between the findings.
    let command = PythonCommand { format: LogFormat::Json, ..PythonCommand::new(command, settings) };
    match command.examine().await {
        Ok(examined) => diagnose(&subject, &examined),
        Err(error) => vec![finding(
            (Severity::Error, "python_start"),
            subject,
            error.chain(),
            "see to it that the command starts its worker by itself, in this folder and with these variables; is its \
             version of RQ one from 1.16 to 3",
        )],
    }
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
