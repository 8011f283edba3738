//! `tikkun queues`: lists queues, pauses them and lets them go on.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::json;

use super::ending::{Complaint, finish};
use super::views::time;
use super::{Common, enqueue, page};
use crate::config::Settings;
use crate::job::QueueName;
use crate::runtime::Ports;

/// Who pauses, as people see it who look at the queue.
const BY: &str = "cli";

/// Commands of `queues`.
#[derive(Debug, Args)]
pub(super) struct Queues {
    #[command(subcommand)]
    command: QueuesCommand,
}

#[derive(Debug, Subcommand)]
enum QueuesCommand {
    /// Lists every known or used queue: its jobs by state, who listens, who paused it.
    List,
    /// Lets nothing be fetched from a queue until it is resumed; what runs goes on.
    Pause(Named),
    /// Lets a paused queue go on.
    Resume(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The queue.
    #[arg(value_parser = enqueue::name)]
    queue: String,
}

impl Queues {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        finish(common.with_found_ports(async move |settings, ports| match self.command {
            QueuesCommand::List => list(&settings, &ports, json).await,
            QueuesCommand::Pause(named) => named.pause(&settings, &ports, json).await,
            QueuesCommand::Resume(named) => named.resume(&ports, json).await,
        }))
    }
}

async fn list(settings: &Settings, ports: &Ports, json: bool) -> Result<(), Complaint> {
    let broker = &ports.broker;
    let (counts, paused, processes) =
        futures::try_join!(broker.counts(), broker.paused(), broker.processes())?;
    let worker = &settings.worker;
    let known = worker.known_queues.iter().chain(&worker.queues);
    let names: BTreeSet<&QueueName> = known.chain(counts.keys()).chain(paused.keys()).collect();
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for name in names {
        let jobs = counts.get(name).copied().unwrap_or_default();
        let listeners = processes.iter().filter(|process| process.queues.contains(name)).count();
        let pause = paused.get(name);
        values.push(json!({
            "queue": name, "jobs": jobs, "listeners": listeners, "paused": pause.is_some(),
            "paused_by": pause.map(|pause| &pause.by), "paused_since": pause.map(|pause| time(pause.since)),
        }));
        let numbers = [jobs.queued, jobs.scheduled, jobs.started, jobs.finished, jobs.failed, jobs.canceled];
        let state = pause
            .map_or_else(|| "-".to_owned(), |pause| format!("by {} since {}", pause.by, time(pause.since)));
        let mut row = vec![name.to_string()];
        row.extend(numbers.iter().map(ToString::to_string));
        row.extend([listeners.to_string(), state]);
        rows.push(row);
    }
    if json {
        page::json(&values.into());
    } else {
        let header = [
            "QUEUE",
            "QUEUED",
            "SCHEDULED",
            "STARTED",
            "FINISHED",
            "FAILED",
            "CANCELED",
            "LISTENERS",
            "PAUSED",
        ];
        page::line(&page::table(&header, &rows));
    }
    Ok(())
}

impl Named {
    async fn pause(self, settings: &Settings, ports: &Ports, json: bool) -> Result<(), Complaint> {
        let queue = QueueName::from(&self.queue);
        let changed = ports.broker.pause(&queue, BY).await?;
        if changed {
            tracing::info!(queue.name = %queue, by = BY, "queue paused");
        }
        let by = ports.broker.paused().await?.remove(&queue).map_or_else(|| BY.to_owned(), |pause| pause.by);
        let words = if changed { "is paused".to_owned() } else { format!("was paused already, by {by}") };
        tell(&queue, true, changed, &words, json);
        let used = ports.broker.counts().await?.contains_key(&queue);
        if !used && !settings.worker.known_queues.contains(&queue) && !settings.worker.queues.contains(&queue)
        {
            eprintln!("tikkun: warning: queue `{queue}` was never used and is none of the known ones");
        }
        Ok(())
    }

    async fn resume(self, ports: &Ports, json: bool) -> Result<(), Complaint> {
        let queue = QueueName::from(&self.queue);
        let changed = ports.broker.resume(&queue).await?;
        if changed {
            tracing::info!(queue.name = %queue, by = BY, "queue resumed");
        }
        tell(&queue, false, changed, if changed { "goes on" } else { "was not paused" }, json);
        Ok(())
    }
}

fn tell(queue: &QueueName, paused: bool, changed: bool, words: &str, json: bool) {
    if json {
        page::json(&json!({ "queue": queue, "paused": paused, "changed": changed }));
    } else {
        page::line(&page::safe(&format!("queue {queue} {words}")));
    }
}
