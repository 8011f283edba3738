//! `tikkun selftest`: tests queue, database, storage and a job, step by step.

use std::time::{Duration, Instant};

use clap::Args;

use super::{Common, FAILED, OK, begin_logging, page, spans};
use crate::config::{LogLevel, Origin, Settings, Sources};
use crate::runtime::selftest::{Line, Outcome, Report, run};

/// Options of `selftest`.
#[derive(Debug, Args)]
pub(super) struct Selftest {
    /// The time limit of one step.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = spans::some_time)]
    limit: Duration,
}

impl Selftest {
    pub(super) fn run(self, common: &Common) -> u8 {
        let report = match self.report(common) {
            Ok(report) => report,
            Err(code) => return code,
        };
        if common.json {
            page::line(&serde_json::json!(report).to_string());
        } else {
            report.steps.iter().for_each(print);
            let all = if report.passed { "everything works" } else { "something does not work" };
            page::line(all);
        }
        if report.passed { OK } else { FAILED }
    }

    /// A configuration that cannot be used is reported as a failed step.
    fn report(self, common: &Common) -> Result<Report, u8> {
        let began = Instant::now();
        let data = common.data.clone().map(|data| ("service.data".to_owned(), data));
        let flags = common.set.iter().cloned().chain(data).collect();
        let mut loaded = match Settings::load(&Sources::from_process(common.config.clone(), flags)) {
            Ok(loaded) => loaded,
            Err(error) => return Ok(Report::without_settings(error.to_string())),
        };
        let configured = began.elapsed();
        if loaded.origin("log.level") == Some(&Origin::Default) {
            // Keeps the log from mixing with the table.
            loaded.settings.log.level = LogLevel::Error;
        }
        begin_logging(&loaded)?;
        Ok(actix_rt::System::new().block_on(run(loaded.settings, configured, self.limit)))
    }
}

fn print(line: &Line) {
    let (result, time) = match line.outcome {
        Outcome::Passed => ("ok", format!("{} ms", line.took.as_millis())),
        Outcome::Failed { .. } => ("FAILED", format!("{} ms", line.took.as_millis())),
        Outcome::Skipped => ("skipped", String::new()),
    };
    page::line(&format!("{:<14} {result:<8} {time:>9}", line.step));
    if let Outcome::Failed { error, advice } = &line.outcome {
        let lines: Vec<_> = error.lines().map(page::safe).collect();
        page::line(&format!("  what happened: {}", lines.join("\n                 ")));
        page::line(&format!("  what to do:    {}", page::safe(advice)));
    }
}
