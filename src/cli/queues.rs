//! `tikkun queues`: lists, pauses and resumes queues.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::audited::audited;
use super::ending::{Complaint, finish};
use super::table::{Cell, Fit, Table, number, text};
use super::tone::Tone;
use super::views::time;
use super::{Common, known, page};
use crate::config::Settings;
use crate::job::QueueName;
use crate::operations::{Principal, Queues as QueueOperations, present};
use crate::queue::{PausedQueue, QueueCounts};
use crate::runtime::{JobPorts, queues};

/// Who paused the queue, as shown by the page and `queues list`.
const BY: &str = "cli";
/// The time limit of one call to the broker.
const DEADLINE: Duration = Duration::from_secs(5);

/// Commands of `queues`.
#[derive(Debug, Args)]
pub(super) struct Queues {
    #[command(subcommand)]
    command: QueuesCommand,
}

#[derive(Debug, Subcommand)]
enum QueuesCommand {
    /// Lists every known or used queue: its jobs by state, its listeners, and who paused it.
    List,
    /// Stops fetching from a queue until it is resumed; running jobs continue.
    Pause(Named),
    /// Resumes a paused queue.
    Resume(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The queue.
    #[arg(value_parser = known::queue(), hide_possible_values = true)]
    queue: String,
}

impl Queues {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        finish(common.with_found_ports(async move |settings, ports| match self.command {
            QueuesCommand::List => list(&settings, &ports, json).await,
            QueuesCommand::Pause(named) => {
                let words = format!("queues pause {}", named.queue);
                audited((BY, words), named.pause(&queues(&settings, &ports.broker, DEADLINE), json)).await
            }
            QueuesCommand::Resume(named) => {
                let words = format!("queues resume {}", named.queue);
                audited((BY, words), named.resume(&queues(&settings, &ports.broker, DEADLINE), json)).await
            }
        }))
    }
}

async fn list(settings: &Settings, ports: &JobPorts, json: bool) -> Result<(), Complaint> {
    let broker = &ports.broker;
    let (counts, paused, processes) =
        futures::try_join!(broker.counts(), broker.paused(), present(&**broker))?;
    let worker = &settings.worker;
    let known = worker.known_queues.iter().chain(&worker.queues);
    let names: BTreeSet<&QueueName> = known.chain(counts.keys()).chain(paused.keys()).collect();
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for name in names {
        let jobs = counts.get(name).copied().unwrap_or_default();
        let listeners = processes.iter().filter(|process| process.listens_to(name)).count();
        let pause = paused.get(name);
        values.push(json!({
            "queue": name, "jobs": jobs, "listeners": listeners, "paused": pause.is_some(),
            "paused_by": pause.map(|pause| &pause.by), "paused_since": pause.map(|pause| time(pause.since)),
        }));
        rows.push(row(name, jobs, listeners, pause));
    }
    if json {
        page::json(&values.into());
        return Ok(());
    }
    let columns = [
        text("QUEUE", Fit::Whole),
        number("QUEUED", Fit::Whole),
        number("SCHEDULED", Fit::Spare),
        number("STARTED", Fit::Whole),
        number("FINISHED", Fit::Whole),
        number("FAILED", Fit::Whole),
        number("CANCELED", Fit::Spare),
        number("LISTENERS", Fit::Whole),
        text("PAUSED", Fit::Shorter),
    ];
    Table::list(columns, rows).print();
    Ok(())
}

fn row(name: &QueueName, jobs: QueueCounts, listeners: usize, pause: Option<&PausedQueue>) -> Vec<Cell> {
    let unheard = listeners == 0 && jobs.queued > 0;
    let state = pause.map_or_else(
        || Cell::new("-", Tone::Quiet),
        |pause| Cell::new(format!("by {} since {}", pause.by, time(pause.since)), Tone::Warn),
    );
    vec![
        Cell::new(name.as_str(), if pause.is_some() { Tone::Warn } else { Tone::Plain }),
        Cell::count(jobs.queued, Tone::Plain),
        Cell::count(jobs.scheduled, Tone::Plain),
        Cell::count(jobs.started, Tone::Busy),
        Cell::count(jobs.finished, Tone::Good),
        Cell::count(jobs.failed, Tone::Bad),
        Cell::count(jobs.canceled, Tone::Plain),
        Cell::new(listeners.to_string(), if unheard { Tone::Bad } else { Tone::Plain }),
        state,
    ]
}

impl Named {
    async fn pause(self, queues: &QueueOperations, json: bool) -> Result<(), Complaint> {
        let (queue, changed) = queues.pause(&principal(), &self.queue).await?;
        let by = queues.broker.paused().await?.remove(&queue).map_or_else(|| BY.to_owned(), |pause| pause.by);
        let words = if changed { "is paused".to_owned() } else { format!("was paused already, by {by}") };
        tell(&queue, true, changed, &words, json);
        Ok(())
    }

    async fn resume(self, queues: &QueueOperations, json: bool) -> Result<(), Complaint> {
        let (queue, changed) = queues.resume(&principal(), &self.queue).await?;
        tell(&queue, false, changed, if changed { "goes on" } else { "was not paused" }, json);
        Ok(())
    }
}

fn principal() -> Principal {
    Principal::operator(BY, None)
}

fn tell(queue: &QueueName, paused: bool, changed: bool, words: &str, json: bool) {
    if json {
        page::json(&json!({ "queue": queue, "paused": paused, "changed": changed }));
    } else {
        page::line(&page::safe(&format!("queue {queue} {words}")));
    }
}
