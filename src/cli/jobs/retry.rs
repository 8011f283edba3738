//! `jobs retry`: queues failed and cancelled jobs once more, and requests again what a deletion left.

use clap::Args;
use serde_json::json;

use super::super::advice::Advice;
use super::super::ending::Complaint;
use super::super::page;
use super::chosen::{Chosen, Meant};
use super::told::Told;
use super::tracker::{deletions, principal};
use crate::config::Settings;
use crate::job::JobState;
use crate::job::background::BackgroundJob;
use crate::operations::{Deletions, Jobs};
use crate::runtime::JobPorts;
use crate::store::Requested;

/// Jobs per transaction.
const AT_ONCE: usize = 500;

/// Options of `jobs retry`.
#[derive(Debug, Args)]
pub(super) struct Retry {
    #[command(flatten)]
    chosen: Chosen,
    /// Requests only the receipts that the deletion could not change; the deletion must have ended.
    #[arg(long)]
    failed_rows: bool,
}

impl Retry {
    /// The command as typed, for the audit line.
    pub(super) fn words(&self) -> String {
        let only = if self.failed_rows { " --failed-rows" } else { "" };
        format!("jobs retry{}{only}", self.chosen.words())
    }

    pub(super) async fn retry(
        self,
        settings: &Settings,
        ports: &JobPorts,
        json: bool,
    ) -> Result<(), Complaint> {
        if self.failed_rows && !self.chosen.by_id() {
            let text = "--failed-rows wants the number of a background job, as in `tikkun jobs retry 27 --failed-rows`";
            return Err(Complaint::usage(text, Advice::help("jobs retry")));
        }
        let mut told = Told::new(json, self.chosen.is_single());
        let deletions = deletions(settings, ports);
        let (jobs, mut entries) = (Jobs(&deletions), Vec::new());
        for (id, meant) in self.chosen.find(ports, ("jobs retry", JobState::Failed)).await? {
            match meant {
                Meant::Row(row, _) => request_anew(&row, self.failed_rows, &deletions, &mut told).await?,
                Meant::Entry(entry) if self.failed_rows => {
                    let why = format!("`{}` is a job of a queue; only a background job has rows", entry.id);
                    told.left(&id, Complaint::failed(why, Advice::show_job(&entry.id)));
                }
                Meant::Entry(entry) => match jobs.may_retry(&entry).await {
                    Ok(()) => entries.push(entry.id),
                    Err(refusal) => told.refused(&id, refusal)?,
                },
                Meant::Nothing(why) => told.left(&id, why),
            }
        }
        for some in entries.chunks(AT_ONCE) {
            let answers = jobs.retry(some).await.map_err(Complaint::from)?;
            for (id, answer) in some.iter().zip(answers) {
                match answer {
                    Ok(()) => {
                        let text = format!("{} is queued", page::safe(id.as_str()));
                        told.done(json!({ "id": id, "state": "queued" }), &text);
                    }
                    Err(refusal) => told.refused(id.as_str(), refusal)?,
                }
            }
        }
        told.end()
    }
}

async fn request_anew(
    row: &BackgroundJob,
    failed_rows: bool,
    deletions: &Deletions,
    told: &mut Told,
) -> Result<(), Complaint> {
    let (name, who) = (row.id.to_string(), principal(row.requested_by_user_id));
    let requested = match failed_rows {
        true => deletions.retry_failed_rows(&who, row.id).await,
        false => deletions.retry(&who, row.id).await,
    };
    match requested {
        Ok(Requested::Created(made)) => {
            let total = made.progress.total;
            let facts = json!({ "id": row.id, "retried_as": made.id, "state": made.status, "total": total });
            told.done(facts, &format!("{name} is retried as background job {}: {total} receipts", made.id));
        }
        Ok(Requested::Active(active)) => {
            let why = format!("background job {} of the same business is {}", active.id, active.status);
            told.left(&name, Complaint::failed(why, Advice::watch_deletion(&active.id)));
        }
        Ok(Requested::Nothing) => {
            let why = format!("background job {name} has left nothing to delete");
            told.left(&name, Complaint::failed(why, Advice::show_job(&name)));
        }
        Err(refusal) => told.refused(&name, refusal)?,
    }
    Ok(())
}
