//! `jobs cancel`: removes jobs from their queues, and cancels background jobs.

use serde_json::{Value, json};

use super::super::ending::Complaint;
use super::super::page;
use super::chosen::{Chosen, Meant};
use super::told::Told;
use super::tracker::{deletions, principal};
use crate::config::Settings;
use crate::job::{JobRecord, JobState};
use crate::operations::{JobAction, Jobs, Refusal};
use crate::runtime::JobPorts;
use crate::store::PersonMove;

pub(super) async fn cancel(
    chosen: Chosen,
    settings: &Settings,
    ports: &JobPorts,
    json: bool,
) -> Result<(), Complaint> {
    let mut told = Told::new(json, chosen.is_single());
    let deletions = deletions(settings, ports);
    for (id, meant) in chosen.find(ports, ("jobs cancel", JobState::Queued)).await? {
        let answer = match meant {
            Meant::Row(row, _) => {
                let cancelled = deletions.change(&principal(None), row.id, PersonMove::Cancel).await;
                cancelled.map(|row| (json!(row.id), row.status.as_str()))
            }
            Meant::Entry(entry) => cancel_job(&entry, Jobs(&deletions)).await,
            Meant::Nothing(why) => {
                told.left(&id, why);
                continue;
            }
        };
        match answer {
            Ok((facts, state)) => {
                told.done(json!({ "id": facts, "state": state }), &format!("{} is {state}", page::safe(&id)));
            }
            Err(refusal) => told.refused(&id, refusal)?,
        }
    }
    told.end()
}

async fn cancel_job(job: &JobRecord, jobs: Jobs<'_>) -> Result<(Value, &'static str), Refusal> {
    if job.state == JobState::Canceled {
        let (id, action) = (job.id.clone(), JobAction::Cancel);
        return Err(Refusal::JobIs { id, state: job.state, action });
    }
    jobs.cancel(job).await?;
    Ok((json!(job.id), JobState::Canceled.as_str()))
}
