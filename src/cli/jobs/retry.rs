//! `jobs retry`: one more run for jobs that failed or were taken out, and a new request for what a deletion
//! left.

use clap::Args;
use serde_json::json;

use super::super::advice::Advice;
use super::super::ending::Complaint;
use super::super::page;
use super::chosen::{Chosen, Meant};
use super::told::Told;
use super::tracker::{deletions, principal};
use crate::config::Settings;
use crate::job::background::BackgroundJob;
use crate::job::{JobId, JobRecord, JobState};
use crate::operations::Deletions;
use crate::queue::Requeued;
use crate::runtime::Ports;
use crate::store::Requested;
use crate::tracking::TrackedKind;

/// Jobs that go back in one transaction.
const AT_ONCE: usize = 500;

/// Options of `jobs retry`.
#[derive(Debug, Args)]
pub(super) struct Retry {
    #[command(flatten)]
    chosen: Chosen,
    /// Of a deletion that has ended, only the receipts that it could not change.
    #[arg(long)]
    failed_rows: bool,
}

impl Retry {
    pub(super) async fn retry(self, settings: &Settings, ports: &Ports, json: bool) -> Result<(), Complaint> {
        if self.failed_rows && !self.chosen.by_id() {
            let text = "--failed-rows wants the number of a background job, as in `tikkun jobs retry 27 --failed-rows`";
            return Err(Complaint::usage(text, Advice::help("jobs retry")));
        }
        let mut told = Told::new(json, self.chosen.is_single());
        let deletions = deletions(settings, ports);
        let mut entries = Vec::new();
        for (id, meant) in self.chosen.find(ports, ("jobs retry", JobState::Failed)).await? {
            match meant {
                Meant::Row(row, _) => request_anew(&row, self.failed_rows, &deletions, &mut told).await?,
                Meant::Entry(entry) if self.failed_rows => {
                    let why = format!("`{}` is a job of a queue; only a background job has rows", entry.id);
                    told.left(&id, Complaint::failed(why, Advice::show_job(&entry.id)));
                }
                Meant::Entry(entry) => match carrier(&entry, &deletions.requests.tracked, ports).await? {
                    Some(why) => told.left(&id, why),
                    None => entries.push(entry.id),
                },
                Meant::Nothing(why) => told.left(&id, why),
            }
        }
        for some in entries.chunks(AT_ONCE) {
            let answers = ports.broker.requeue(some).await?;
            some.iter().zip(answers).for_each(|(id, answer)| tell(&mut told, id, &answer));
        }
        told.end()
    }
}

/// Why a job that carries a row does not go back by itself.
async fn carrier(
    entry: &JobRecord,
    tracked: &TrackedKind,
    ports: &Ports,
) -> Result<Option<Complaint>, Complaint> {
    let Some(row) = tracked.row_of(entry) else { return Ok(None) };
    let Some(row) = ports.store.background_jobs.get(row).await? else { return Ok(None) };
    let text = format!("job `{}` carries background job {}, which is {}", entry.id, row.id, row.status);
    let (text, next) = if row.status.is_active() {
        (format!("{text}; reconciliation looks after it"), Advice::watch_deletion(row.id))
    } else {
        (text, Advice::retry_deletion(row.id))
    };
    Ok(Some(Complaint::failed(text, next)))
}

fn tell(told: &mut Told, id: &JobId, answer: &Requeued) {
    let why = match answer {
        Requeued::Waits => {
            let text = format!("{} is queued", page::safe(id.as_str()));
            return told.done(json!({ "id": id, "state": "queued" }), &text);
        }
        Requeued::Missing => Complaint::failed(format!("job `{id}` has gone meanwhile"), Advice::LIST_JOBS),
        Requeued::Is(state) => Complaint::failed(
            format!("job `{id}` is {state}; only a failed or canceled one can be retried"),
            Advice::show_job(id),
        ),
        Requeued::Duplicate(of) => Complaint::failed(
            format!("job `{id}` has the unique key of job `{of}`, which is open"),
            Advice::show_job(of),
        ),
    };
    told.left(id.as_str(), why);
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
