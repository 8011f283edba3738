//! `jobs cancel`: takes jobs out of their queues, and stops background jobs.

use serde_json::{Value, json};

use super::super::advice::Advice;
use super::super::ending::Complaint;
use super::super::page;
use super::chosen::{Chosen, Meant};
use super::told::Told;
use super::tracker::{deletions, principal};
use crate::config::Settings;
use crate::job::{JobRecord, JobState};
use crate::runtime::Ports;
use crate::store::PersonMove;
use crate::tracking::TrackedKind;

/// What programs read and what people read; or why nothing was changed.
type Answer = Result<(Value, String), Complaint>;

pub(super) async fn cancel(
    chosen: Chosen,
    settings: &Settings,
    ports: &Ports,
    json: bool,
) -> Result<(), Complaint> {
    let mut told = Told::new(json, chosen.is_single());
    let deletions = deletions(settings, ports);
    for (id, meant) in chosen.find(ports, ("jobs cancel", JobState::Queued)).await? {
        let answer = match meant {
            Meant::Row(row, _) => {
                match deletions.change(&principal(None), row.id, PersonMove::Cancel).await {
                    Ok(row) => Ok(cancelled(json!(row.id), row.status.as_str())),
                    Err(refusal) => {
                        told.refused(&id, refusal)?;
                        continue;
                    }
                }
            }
            Meant::Entry(entry) => cancel_entry(&entry, &deletions.requests.tracked, ports).await?,
            Meant::Nothing(why) => Err(why),
        };
        match answer {
            Ok((facts, text)) => told.done(facts, &text),
            Err(why) => told.left(&id, why),
        }
    }
    told.end()
}

async fn cancel_entry(entry: &JobRecord, tracked: &TrackedKind, ports: &Ports) -> Result<Answer, Complaint> {
    if let Some(row) = tracked.row_of(entry)
        && let Some(row) = ports.store.background_jobs.get(row).await?
        && row.status.is_active()
        && entry.state.is_open()
    {
        let text = format!(
            "job `{}` carries background job {}, which is {} and would be enqueued anew",
            entry.id, row.id, row.status
        );
        return Ok(Err(Complaint::failed(text, Advice::cancel_job(row.id))));
    }
    let before = entry.state;
    Ok(match ports.broker.cancel(&entry.id).await? {
        Some(JobState::Canceled) if before != JobState::Canceled => {
            Ok(cancelled(json!(entry.id), JobState::Canceled.as_str()))
        }
        Some(state) => {
            let text =
                format!("job `{}` is {state}; only a queued or scheduled one can be taken out", entry.id);
            Err(Complaint::failed(text, Advice::show_job(&entry.id)))
        }
        None => Err(Complaint::failed(format!("job `{}` has gone meanwhile", entry.id), Advice::LIST_JOBS)),
    })
}

fn cancelled(id: Value, state: &str) -> (Value, String) {
    let name = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    (json!({ "id": id, "state": state }), format!("{} is {state}", page::safe(&name)))
}
