//! `tikkun doctor`: finds out what is wrong, or why one job does not move, and what to do about it.
//!
//! `facts` defines the input, `gather` and `holding` read it, `diagnosis` derives findings without any I/O, `job` those
//! of one job, `described` those about described deletions, `leases` those about processes, `timekeeping` those about the scheduler, and `python` those about a Python worker's command.

mod described;
mod diagnosis;
mod facts;
mod finding;
mod gather;
mod holding;
mod job;
mod leases;
mod python;
mod timekeeping;

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use self::diagnosis::diagnose;
use self::finding::{Finding, Severity};
use self::gather::gather;
use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::{Common, FAILED, page, spans};
use crate::runtime::logging;

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// A job that does not move: the id of a row of background_jobs, or the id of a queue job. By default the
    /// whole service is examined.
    job: Option<String>,
    /// The time limit for each back end.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = spans::some_time)]
    limit: Duration,
    /// The command that starts a Python worker, after `--`: it is started once, and ended before it works. Only it
    /// is examined.
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "job")]
    command: Vec<OsString>,
}

impl Doctor {
    pub(super) fn run(self, common: &Common) -> u8 {
        finish(self.examine(common))
    }

    fn examine(self, common: &Common) -> Result<(), Complaint> {
        let is_beside = !self.command.is_empty();
        let loaded =
            if is_beside { common.load_beside_application(Vec::new()) } else { common.load(Vec::new()) };
        let loaded = loaded.map_err(Complaint::said)?;
        logging::init(&loaded.settings.log)
            .map_err(|error| Complaint::usage(error.to_string(), Advice::READ_REFERENCE))?;
        let asked = self.job.as_deref();
        let system = actix_rt::System::new();
        let findings = if is_beside {
            system.block_on(python::examine(self.command, &loaded.settings))
        } else {
            let mut findings = diagnose(&system.block_on(gather(&loaded, self.limit, asked)));
            if asked.is_none() && loaded.settings.service.role.runs_jobs() {
                findings.extend(system.block_on(python::examine_workers(&loaded.settings)));
                findings.sort_by_key(|finding| finding.severity);
            }
            findings
        };
        let well = findings.iter().all(|finding| finding.severity == Severity::Notice);
        if common.json {
            page::json(&json!({ "ok": well, "job": self.job, "findings": findings }));
        } else {
            findings.iter().for_each(print);
            page::line(if well { "nothing is wrong" } else { "something is wrong" });
        }
        if well { Ok(()) } else { Err(Complaint::said(FAILED)) }
    }
}

fn print(finding: &Finding) {
    let severity = finding.severity.as_str();
    page::line(&format!("{severity:<8} {}: {}", finding.code, page::safe(&finding.subject)));
    page::line(&format!("  what is wrong: {}", page::safe(&finding.what)));
    page::line(&format!("  what to do:    {}", page::safe(&finding.to_do)));
}
