//! `jobs retry`: one more run for jobs that failed or were taken out, and a new request for what a deletion
//! left.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::ending::Complaint;
use super::super::page;
use super::chosen::{Chosen, Meant};
use super::told::Told;
use super::tracker::{is_ours, tracker};
use crate::actors::{RequestFault, Requests, new_queue_job};
use crate::config::Settings;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{JobId, JobRecord, JobState};
use crate::kinds::carried_row;
use crate::queue::Requeued;
use crate::runtime::{Ports, tracked_deletions};
use crate::store::{Coverage, NewRequest, Requested};

/// Jobs that go back in one transaction.
const AT_ONCE: usize = 500;
/// Longest wait for the queue to take the job of a new row.
const DEADLINE: Duration = Duration::from_secs(5);

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
            return Err(Complaint::usage(
                "--failed-rows wants the number of a background job, as in `tikkun jobs retry 27 --failed-rows`",
            ));
        }
        let mut told = Told::new(json, self.chosen.is_single());
        let requests = Requests {
            tracker: tracker(settings, ports),
            broker: Arc::clone(&ports.broker),
            tracked: tracked_deletions(settings),
            deadline: DEADLINE,
        };
        let mut entries = Vec::new();
        for (id, meant) in self.chosen.find(ports, JobState::Failed).await? {
            match meant {
                Meant::Row(row, _) => request_anew(&row, self.failed_rows, &requests, &mut told).await?,
                Meant::Entry(entry) if self.failed_rows => {
                    let why = format!("`{}` is a job of a queue; only a background job has rows", entry.id);
                    told.left(&id, &why);
                }
                Meant::Entry(entry) => match carrier(&entry, ports).await? {
                    Some(why) => told.left(&id, &why),
                    None => entries.push(entry.id),
                },
                Meant::Nothing(why) => told.left(&id, &why),
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
async fn carrier(entry: &JobRecord, ports: &Ports) -> Result<Option<String>, Complaint> {
    let Some(row) = carried_row(entry) else { return Ok(None) };
    let Some(row) = ports.store.background_jobs.get(row).await? else { return Ok(None) };
    let hint = if row.status.is_active() {
        "reconciliation looks after it".to_owned()
    } else {
        format!("retry that: `tikkun jobs retry {}`", row.id)
    };
    Ok(Some(format!("job `{}` carries background job {}, which is {}; {hint}", entry.id, row.id, row.status)))
}

fn tell(told: &mut Told, id: &JobId, answer: &Requeued) {
    let shown = page::safe(id.as_str());
    match answer {
        Requeued::Waits => told.done(json!({ "id": id, "state": "queued" }), &format!("{shown} is queued")),
        Requeued::Missing => told.left(id.as_str(), &format!("job `{shown}` has gone meanwhile")),
        Requeued::Is(state) => {
            let why = format!("job `{shown}` is {state}; only a failed or canceled one can be retried");
            told.left(id.as_str(), &why);
        }
        Requeued::Duplicate(of) => {
            let why = format!(
                "job `{shown}` has the unique key of job `{}`, which is open",
                page::safe(of.as_str())
            );
            told.left(id.as_str(), &why);
        }
    }
}

async fn request_anew(
    row: &BackgroundJob,
    failed_rows: bool,
    requests: &Requests,
    told: &mut Told,
) -> Result<(), Complaint> {
    let name = row.id.to_string();
    let covers = match is_ours(row).and_then(|()| coverage(row, failed_rows)) {
        Ok(covers) => covers,
        Err(why) => {
            told.left(&name, &why);
            return Ok(());
        }
    };
    let request = NewRequest {
        business_id: row.business_id,
        user_id: row.requested_by_user_id,
        job_type: row.job_type.clone(),
        queue_job: new_queue_job(),
        covers,
    };
    match requests.request(request, None).await {
        Ok(Requested::Created(made)) => {
            let total = made.progress.total;
            let facts = json!({ "id": row.id, "retried_as": made.id, "state": made.status, "total": total });
            told.done(facts, &format!("{name} is retried as background job {}: {total} receipts", made.id));
        }
        Ok(Requested::Active(active)) => told.left(
            &name,
            &format!("background job {} of the same business is {}; wait for it", active.id, active.status),
        ),
        Ok(Requested::Nothing) => {
            told.left(&name, &format!("background job {name} has left nothing to delete"))
        }
        Err(RequestFault::Database(fault) | RequestFault::Queue(fault)) => return Err(fault.into()),
    }
    Ok(())
}

fn coverage(row: &BackgroundJob, failed_rows: bool) -> Result<Coverage, String> {
    match (row.status, failed_rows) {
        (status, true) if status.is_active() => Err(format!(
            "background job {} is {status}; its failed rows can be retried once it has ended",
            row.id
        )),
        (_, true) => Ok(Coverage::SetAsideOf(row.id)),
        (Status::Failed | Status::Cancelled, false) => Ok(Coverage::RestOf(row.id)),
        (status, false) => Err(format!(
            "background job {} is {status}; only a failed or cancelled one can be retried, or the rows that it \
             could not change: `tikkun jobs retry {} --failed-rows`",
            row.id, row.id
        )),
    }
}
