//! `tikkun jobs`: lists, shows and cancels. A number means a row of `background_jobs`, anything else a
//! job of a queue.

use std::sync::Arc;

use actix::Actor as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ending::{Complaint, finish};
use super::views::{background_job, queue_job, time};
use super::{Common, page};
use crate::actors::{AskPerson, Journal, StatusTracker, TrackerSettings};
use crate::config::Settings;
use crate::job::background::{BackgroundJob, DELETE_RECEIPTS_ALL};
use crate::job::{BackgroundJobId, JobId, JobRecord, JobState};
use crate::kinds::carried_row;
use crate::queue::JobFilter;
use crate::runtime::Ports;
use crate::store::{Person, PersonMove};
use crate::supervision::Turns;

/// Commands of `jobs`.
#[derive(Debug, Args)]
pub(super) struct Jobs {
    #[command(subcommand)]
    command: JobsCommand,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// Lists jobs of the queues, newest first.
    List(List),
    /// Shows all that is known of one job.
    Show(Which),
    /// Cancels a job: one that waits in its queue, or a background job wherever it stands.
    Cancel(Which),
}

#[derive(Debug, Args)]
struct List {
    /// Only of this queue.
    #[arg(long)]
    queue: Option<String>,
    /// Only in this state: queued, scheduled, started, finished, failed or canceled.
    #[arg(long, value_parser = state)]
    state: Option<JobState>,
    /// Only of this function, written as it was enqueued.
    #[arg(long)]
    function: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, Args)]
struct Which {
    /// The id of a job in its queue, or the number of a row of background_jobs.
    id: String,
}

impl Jobs {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        finish(common.with_found_ports(async move |settings, ports| match self.command {
            JobsCommand::List(list) => list.list(&ports, json).await,
            JobsCommand::Show(which) => which.show(&ports, json).await,
            JobsCommand::Cancel(which) => which.cancel(&settings, &ports, json).await,
        }))
    }
}

impl List {
    async fn list(self, ports: &Ports, json: bool) -> Result<(), Complaint> {
        let filter = JobFilter {
            queue: self.queue.map(Into::into),
            state: self.state,
            kind: self.function.map(Into::into),
            limit: self.limit,
        };
        let jobs = ports.broker.jobs(&filter).await?;
        if json {
            page::json(&jobs.iter().map(|job| page::object(queue_job(job))).collect());
        } else if jobs.is_empty() {
            eprintln!("tikkun: no job matches");
        } else {
            let header = ["ID", "QUEUE", "STATE", "ATTEMPT", "CREATED", "FUNCTION"];
            page::line(&page::table(&header, &jobs.iter().map(row).collect::<Vec<_>>()));
        }
        Ok(())
    }
}

fn row(job: &JobRecord) -> Vec<String> {
    let args = job.args.as_ref().map_or_else(|_| "(?)".to_owned(), ToString::to_string);
    vec![
        job.id.to_string(),
        job.queue.to_string(),
        job.state.to_string(),
        job.attempt.to_string(),
        time(job.created_at),
        format!("{}{args}", job.kind),
    ]
}

impl Which {
    /// What the id stands for: a row if there is one of that number, else a job of a queue.
    async fn find(&self, ports: &Ports) -> Result<(Option<BackgroundJob>, Option<JobRecord>), Complaint> {
        let row = match self.id.parse() {
            Ok(number) => ports.store.background_jobs.get(BackgroundJobId(number)).await?,
            Err(_) => None,
        };
        let entry = match &row {
            Some(row) => row.note.queue_job.clone(),
            None => Some(JobId::from(&self.id)),
        };
        let entry = match entry {
            Some(id) => ports.broker.job(&id).await?,
            None => None,
        };
        Ok((row, entry))
    }

    async fn show(self, ports: &Ports, json: bool) -> Result<(), Complaint> {
        let (row, entry) = self.find(ports).await?;
        if row.is_none() && entry.is_none() {
            return Err(self.unknown());
        }
        let (row, entry) = (row.as_ref().map(background_job), entry.as_ref().map(queue_job));
        match (row, entry, json) {
            (None, entry, true) => page::json(&page::object(entry.unwrap_or_default())),
            (Some(mut row), entry, true) => {
                row.push(("queue_entry", entry.map_or(Value::Null, page::object)));
                page::json(&page::object(row));
            }
            (row, entry, false) => {
                let both = row.is_some();
                if let Some(row) = row {
                    page::line(&page::facts(&row));
                }
                match entry {
                    Some(entry) if both => page::line(&format!("\nin its queue:\n{}", page::facts(&entry))),
                    Some(entry) => page::line(&page::facts(&entry)),
                    None => page::line("\nin its queue: nothing is known of it there any more"),
                }
            }
        }
        Ok(())
    }

    async fn cancel(self, settings: &Settings, ports: &Ports, json: bool) -> Result<(), Complaint> {
        match self.find(ports).await? {
            (Some(row), _) => cancel_row(&row, settings, ports, json).await,
            (None, Some(entry)) => cancel_entry(&entry, ports, json).await,
            (None, None) => Err(self.unknown()),
        }
    }

    fn unknown(&self) -> Complaint {
        let id = page::safe(&self.id);
        Complaint::failed(match self.id.parse::<i64>() {
            Ok(_) => format!(
                "there is no background job {id} and no queue job of that id; `tikkun jobs list` shows what is there"
            ),
            Err(_) => format!(
                "there is no job `{id}`; `tikkun jobs list` shows what is there, and ended jobs are dropped in time"
            ),
        })
    }
}

/// Only the tracker writes a status, so one is started for the occasion.
async fn cancel_row(
    row: &BackgroundJob,
    settings: &Settings,
    ports: &Ports,
    json: bool,
) -> Result<(), Complaint> {
    if row.job_type != DELETE_RECEIPTS_ALL {
        return Err(Complaint::failed(format!(
            "background job {} is of type `{}`; only jobs of type `{DELETE_RECEIPTS_ALL}` are ours to cancel",
            row.id, row.job_type
        )));
    }
    let told = &settings.tracker;
    let settings = TrackerSettings {
        progress_interval: told.progress_interval,
        heartbeat_interval: told.heartbeat_interval,
        deadline: told.deadline,
    };
    let turn = Turns::default().register("status_tracker");
    let jobs = Arc::clone(&ports.store.background_jobs);
    let tracker = StatusTracker::new(jobs, Arc::new(Journal::default()), settings, turn).start();
    let wish = Person {
        id: row.id,
        business_id: row.business_id,
        wish: PersonMove::Cancel,
        by: "command line".to_owned(),
        queue_job: None,
    };
    let answer = tracker.send(AskPerson(wish)).await;
    match answer.map_err(|lost| Complaint::failed(format!("the tracker did not answer: {lost}")))?? {
        Some(Ok(changed)) => {
            told_cancelled(json!(changed.id), changed.status.as_str(), json);
            Ok(())
        }
        Some(Err(status)) => Err(Complaint::failed(format!(
            "background job {} is {status}; only a queued, running or paused one can be cancelled",
            row.id
        ))),
        None => Err(Complaint::failed(format!("background job {} has gone meanwhile", row.id))),
    }
}

async fn cancel_entry(entry: &JobRecord, ports: &Ports, json: bool) -> Result<(), Complaint> {
    if let Some(row) = carried_row(entry)
        && let Some(row) = ports.store.background_jobs.get(row).await?
        && row.status.is_active()
        && entry.state.is_open()
    {
        return Err(Complaint::failed(format!(
            "job `{}` carries background job {}, which is {} and would be enqueued anew; cancel that: `tikkun \
             jobs cancel {}`",
            entry.id, row.id, row.status, row.id
        )));
    }
    let before = entry.state;
    match ports.broker.cancel(&entry.id).await? {
        Some(JobState::Canceled) if before != JobState::Canceled => {
            told_cancelled(json!(entry.id), JobState::Canceled.as_str(), json);
            Ok(())
        }
        Some(state) => Err(Complaint::failed(format!(
            "job `{}` is {state}; only a queued or scheduled one can be taken out",
            entry.id
        ))),
        None => Err(Complaint::failed(format!("job `{}` has gone meanwhile", entry.id))),
    }
}

fn told_cancelled(id: Value, state: &str, json: bool) {
    if json {
        page::json(&json!({ "id": id, "state": state }));
    } else {
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        page::line(&format!("{} is {state}", page::safe(&id)));
    }
}

fn state(word: &str) -> Result<JobState, String> {
    JobState::parse(word).ok_or_else(|| {
        let words: Vec<&str> = JobState::ALL.iter().map(|state| state.as_str()).collect();
        format!("expected one of {}", words.join(", "))
    })
}
