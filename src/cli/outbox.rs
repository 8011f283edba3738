//! `tikkun outbox`: objects that are still to be deleted from storage.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::advice::Advice;
use super::audited::{COMMAND_LINE, audited};
use super::ending::{Complaint, finish};
use super::table::{Cell, Fit, Table, number, text};
use super::tone::Tone;
use super::views::{Fact, time};
use super::{Common, FAILED, page, spans};
use crate::config::Settings;
use crate::deletion::{CleanUpLimits, delete_objects};
use crate::runtime::{JobPorts, open_attachments};
use crate::store::OutboxRow;

/// The time limit of one call to the storage or the database.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long claimed objects are reserved: one call and its confirmation must fit in.
const HOLD: Duration = Duration::from_secs(120);

/// Commands of `outbox`.
#[derive(Debug, Args)]
pub(super) struct Outbox {
    #[command(subcommand)]
    command: OutboxCommand,
}

#[derive(Debug, Subcommand)]
enum OutboxCommand {
    /// Lists objects that are still to be deleted, oldest first.
    List(List),
    /// Deletes what is due now, even if `deletion.storage_delete` is off: exit code 1 if some objects stay.
    Drain,
    /// Parks objects, so that nothing tries to delete them.
    Park(Ids),
    /// Unparks objects; they are due at once.
    Unpark(Back),
}

#[derive(Debug, Args)]
struct List {
    /// The most objects to list.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, Args)]
struct Ids {
    /// The objects' numbers in the list.
    #[arg(required = true)]
    ids: Vec<i64>,
}

#[derive(Debug, Args)]
struct Back {
    /// The objects' numbers in the list.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<i64>,
    /// All parked objects.
    #[arg(long)]
    all: bool,
}

impl Outbox {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        finish(common.with_found_ports(async move |settings, ports| {
            if let OutboxCommand::List(List { limit }) = self.command {
                return list(&ports, limit, json).await;
            }
            audited((COMMAND_LINE, self.command.words()), self.command.change(&settings, &ports, json)).await
        }))
    }
}

impl OutboxCommand {
    /// The command as typed, for the audit line.
    fn words(&self) -> String {
        let numbers = |ids: &[i64]| ids.iter().map(|id| format!(" {id}")).collect::<String>();
        match self {
            Self::List(_) => "outbox list".to_owned(),
            Self::Drain => "outbox drain".to_owned(),
            Self::Park(Ids { ids }) => format!("outbox park{}", numbers(ids)),
            Self::Unpark(Back { all: true, .. }) => "outbox unpark --all".to_owned(),
            Self::Unpark(Back { ids, .. }) => format!("outbox unpark{}", numbers(ids)),
        }
    }

    async fn change(&self, settings: &Settings, ports: &JobPorts, json: bool) -> Result<(), Complaint> {
        match self {
            Self::List(List { limit }) => list(ports, *limit, json).await,
            Self::Drain => drain(settings, ports, json).await,
            Self::Park(Ids { ids }) => {
                let parked = ports.store.outbox.park(ids).await?;
                told("parked", &parked, ids, json)
            }
            Self::Unpark(Back { ids, all }) => {
                let back = ports.store.outbox.unpark((!all).then_some(ids.as_slice())).await?;
                told("unparked", &back, ids, json)
            }
        }
    }
}

async fn list(ports: &JobPorts, limit: u32, json: bool) -> Result<(), Complaint> {
    let mut rows = ports.store.outbox.list(limit.saturating_add(1)).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let now = Utc::now();
    if json {
        page::json(&rows.iter().map(|row| page::object(facts(row, now))).collect());
    } else if rows.is_empty() {
        page::note("the outbox is empty: storage owes nothing");
    } else {
        let columns = [
            number("ID", Fit::Whole),
            text("STATE", Fit::Whole),
            text("AGE", Fit::Whole),
            number("TRIES", Fit::Whole),
            text("KEY", Fit::Shorter),
            text("LAST ERROR", Fit::Shorter),
        ];
        Table::list(columns, rows.iter().map(|row| cells(row, now)).collect()).print();
        if more {
            page::note(&format!(
                "these are the oldest {limit}; `tikkun outbox list --limit {}` shows more",
                limit.saturating_mul(10)
            ));
        }
    }
    Ok(())
}

fn cells(row: &OutboxRow, now: DateTime<Utc>) -> Vec<Cell> {
    let state = state(row, now);
    let tone = match state {
        "parked" => Tone::Quiet,
        _ if row.attempts > 0 => Tone::Warn,
        _ => Tone::Plain,
    };
    vec![
        row.id.to_string().into(),
        Cell::new(state, tone),
        spans::short(age(row, now) as f64).into(),
        Cell::count(row.attempts.into(), Tone::Warn),
        row.key.clone().into(),
        row.last_error.clone().unwrap_or_else(|| "-".to_owned()).into(),
    ]
}

fn facts(row: &OutboxRow, now: DateTime<Utc>) -> Vec<Fact> {
    vec![
        ("id", json!(row.id)),
        ("state", json!(state(row, now))),
        ("key", json!(row.key)),
        ("driver", json!(row.target.driver)),
        ("bucket", json!(row.target.bucket)),
        ("bytes", json!(row.bytes)),
        ("job_id", json!(row.job)),
        ("business_id", json!(row.business_id)),
        ("condemned_at", json!(time(row.condemned_at))),
        ("age_seconds", json!(age(row, now))),
        ("attempts", json!(row.attempts)),
        ("next_try_at", json!(time(row.next_try_at))),
        ("parked_at", json!(row.parked_at.map(time))),
        ("last_error", json!(row.last_error)),
    ]
}

fn state(row: &OutboxRow, now: DateTime<Utc>) -> &'static str {
    match row.parked_at {
        Some(_) => "parked",
        None if row.next_try_at <= now => "due",
        None => "waits",
    }
}

fn age(row: &OutboxRow, now: DateTime<Utc>) -> u64 {
    (now - row.condemned_at).num_seconds().max(0).unsigned_abs()
}

/// Deletes due objects until a claim returns only objects that were tried before. An object that cannot be
/// deleted is due again later.
async fn drain(settings: &Settings, ports: &JobPorts, json: bool) -> Result<(), Complaint> {
    let (blobs, outbox) = (open_attachments(settings, DEADLINE).await?, &*ports.store.outbox);
    let limits = CleanUpLimits { deadline: DEADLINE, backoff: settings.rescuer.outbox_backoff() };
    let batch = settings.rescuer.outbox_batch;
    let (mut tried, mut deleted, mut failed) = (BTreeSet::new(), 0_u64, 0_u64);
    loop {
        let condemned = outbox.claim(blobs.target(), None, batch, HOLD).await?;
        let before = tried.len();
        tried.extend(condemned.iter().map(|object| object.id));
        if tried.len() == before {
            break;
        }
        let cleaned = delete_objects(&*blobs, outbox, &condemned, &limits).await?;
        deleted += u64::from(cleaned.deleted);
        failed += u64::from(cleaned.failed);
        page::note(&format!("{deleted} deleted, {failed} failed"));
    }
    let left = outbox.summary(None).await?;
    if json {
        page::json(&json!({
            "deleted": deleted, "failed": failed, "pending": left.pending, "parked": left.parked,
            "last_error": left.last_error,
        }));
    } else {
        page::line(&format!("{deleted} deleted, {} stay, {} parked", left.pending, left.parked));
    }
    match left.pending {
        0 => Ok(()),
        _ if json => Err(Complaint::said(FAILED)),
        stay => {
            let text = format!("{stay} objects stay, not due yet, of another store or not to be deleted");
            Err(Complaint::failed(text, Advice::LIST_OUTBOX))
        }
    }
}

fn told(what: &str, done: &[i64], asked: &[i64], json: bool) -> Result<(), Complaint> {
    if json {
        page::json(&Value::from_iter([(what, json!(done))]));
    } else {
        page::line(&format!("{} {what}", done.len()));
    }
    let missing: Vec<String> =
        asked.iter().filter(|id| !done.contains(id)).map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Complaint::failed(format!("the outbox has no {}", missing.join(", ")), Advice::LIST_OUTBOX))
}
