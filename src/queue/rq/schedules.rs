//! The marks of schedules, as text in one hash, and the leader lease for them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::server::Server;
use super::wire;
use crate::fault::{Fault, FaultKind};
use crate::job::ProcessId;
use crate::queue::seen::LeadershipState;
use crate::queue::upkeep::{ScheduleMark, ScheduleStep};

/// The stored form of a mark.
#[derive(Serialize, Deserialize)]
struct StoredMark {
    rule: String,
    until: i64,
    last: Option<i64>,
}

/// The text of a mark; the same mark always has the same text.
fn stored(mark: &ScheduleMark) -> Result<String, Fault> {
    let stored = StoredMark {
        rule: mark.rule.clone(),
        until: mark.until.timestamp_millis(),
        last: mark.last.map(|last| last.timestamp_millis()),
    };
    serde_json::to_string(&stored)
        .map_err(|error| Fault::new(FaultKind::Permanent, "write the mark of a schedule").because(error))
}

/// Parses a mark.
fn mark(name: &str, text: &str) -> Result<ScheduleMark, Fault> {
    let unreadable =
        || Fault::new(FaultKind::Permanent, format!("read the mark `{text}` of the schedule `{name}`"));
    let stored: StoredMark = serde_json::from_str(text).map_err(|error| unreadable().because(error))?;
    let until = wire::from_millis(stored.until).ok_or_else(unreadable)?;
    Ok(ScheduleMark { rule: stored.rule, until, last: stored.last.and_then(wire::from_millis) })
}

pub(super) async fn schedule_marks(server: &Server) -> Result<BTreeMap<String, ScheduleMark>, Fault> {
    let mut commands = redis::pipe();
    commands.hgetall(server.keys.schedules());
    let (found,): (BTreeMap<String, String>,) =
        server.link.ask(&commands, || "list schedules".to_owned()).await?;
    found.into_iter().map(|(name, text)| Ok((name.clone(), mark(&name, &text)?))).collect()
}

pub(super) async fn mark_schedule(server: &Server, step: &ScheduleStep) -> Result<bool, Fault> {
    let mut call = server.prepare(&server.scripts.mark_schedule);
    let before = step.from.as_ref().map(stored).transpose()?.unwrap_or_default();
    call.arg(&step.name).arg(before).arg(stored(&step.to)?);
    server.add_jobs(&mut call, &step.jobs)?;
    server.link.invoke(&call, || format!("move the schedule `{}`", step.name)).await
}

pub(super) async fn lead(
    server: &Server,
    role: &str,
    process: &ProcessId,
    ttl: Duration,
) -> Result<bool, Fault> {
    let mut call = server.prepare(&server.scripts.lead);
    call.arg(role).arg(process.as_str()).arg(wire::millis(ttl));
    server.link.invoke(&call, || format!("lead as `{role}`")).await
}

pub(super) async fn resign(server: &Server, role: &str, process: &ProcessId) -> Result<(), Fault> {
    let mut call = server.prepare(&server.scripts.resign);
    call.arg(role).arg(process.as_str());
    let _: u8 = server.link.invoke(&call, || format!("resign as `{role}`")).await?;
    Ok(())
}

pub(super) async fn leadership(server: &Server, role: &str) -> Result<Option<LeadershipState>, Fault> {
    let mut call = server.prepare(&server.scripts.leadership);
    call.arg(role);
    let found: Vec<String> = server.link.invoke(&call, || format!("look who leads as `{role}`")).await?;
    let [holder, ttl, tick] = found.as_slice() else { return Ok(None) };
    Ok(Some(LeadershipState {
        holder: ProcessId::from(holder),
        ttl: Duration::from_millis(ttl.parse().unwrap_or(0)),
        last_tick: tick.parse().ok().and_then(wire::from_millis),
    }))
}
