//! The attempts at a job, from RQ's stream of results, and the running one.

use crate::fault::Fault;
use crate::job::{JobId, JobState, RETRIES_EXHAUSTED};
use crate::queue::rq::codec::{self, Limits};
use crate::queue::rq::server::{Fields, Server};
use crate::queue::rq::wire::{self, Hash};
use crate::queue::seen::{AttemptOutcome, AttemptRecord};

/// The most entries that are read: RQ keeps about ten.
const ENTRIES: usize = 20;

/// The newest entries of a stream, with their fields.
type Entries = Vec<(String, Fields)>;

impl Server {
    /// The attempts at a job, newest first; empty if there is no such job.
    pub(in crate::queue::rq) async fn attempts(&self, id: &JobId) -> Result<Vec<AttemptRecord>, Fault> {
        let what = || format!("look at the attempts at job {id}");
        let mut commands = redis::pipe();
        commands.hgetall(self.keys.job(id.as_str()));
        commands
            .cmd("XREVRANGE")
            .arg(self.keys.results(id.as_str()))
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(ENTRIES);
        let (hash, entries): (Fields, Entries) = self.people.ask(&commands, what).await?;
        if hash.is_empty() {
            return Ok(Vec::new());
        }
        Ok(of(&Hash(hash.into()), entries, &self.limits))
    }
}

fn of(hash: &Hash, entries: Entries, limits: &Limits) -> Vec<AttemptRecord> {
    let state = hash.state();
    let ended = entries.into_iter().map(|(_, fields)| of_entry(&Hash(fields.into()), limits));
    let mut attempts: Vec<AttemptRecord> =
        (state == JobState::Started).then(|| running(hash)).into_iter().chain(ended).collect();
    if let Some(last) = attempts.first_mut().filter(|_| hash.is_stopped()) {
        last.outcome = AttemptOutcome::Stopped;
    }
    number(&mut attempts, hash.attempts(), state);
    attempts
}

/// Numbers the attempts. If every attempt left an entry they are counted, else only the last is certain.
fn number(attempts: &mut [AttemptRecord], made: u32, state: JobState) {
    let all = u32::try_from(attempts.len()).is_ok_and(|found| found == made);
    let last_is_first = !matches!(state, JobState::Queued | JobState::Scheduled | JobState::Canceled);
    let sure = if all { attempts.len() } else { usize::from(last_is_first && made > 0) };
    for (number, attempt) in (1..=made).rev().zip(attempts.iter_mut().take(sure)) {
        attempt.number = Some(number);
    }
}

fn running(hash: &Hash) -> AttemptRecord {
    AttemptRecord {
        number: None,
        runner: hash.text("worker_name").map(str::to_owned),
        started_at: hash.text("started_at").and_then(wire::time),
        ended_at: None,
        outcome: AttemptOutcome::Running,
        error: None,
    }
}

fn of_entry(entry: &Hash, limits: &Limits) -> AttemptRecord {
    let at = |field: &str| {
        let seconds: f64 = entry.text(field)?.parse().ok()?;
        wire::from_millis((seconds * 1000.0) as i64)
    };
    let error = entry.text("exc_string").map(|text| match codec::decode_exc(text, limits) {
        Ok(trace) => wire::whole_error(&trace).to_owned(),
        Err(refusal) => format!("(unreadable: {refusal})"),
    });
    // RQ stores no text with it.
    let is_exhausted = entry.text("type") == Some("5");
    let error = error.or_else(|| is_exhausted.then(|| RETRIES_EXHAUSTED.to_owned()));
    AttemptRecord {
        number: None,
        runner: entry.text("worker_name").map(str::to_owned),
        started_at: at("execution_started_at"),
        ended_at: at("execution_ended_at"),
        outcome: match entry.text("type") {
            Some("1") => AttemptOutcome::Finished,
            Some("3") => AttemptOutcome::Stopped,
            Some("4") => AttemptOutcome::Retried,
            _ => AttemptOutcome::Failed,
        },
        error,
    }
}
