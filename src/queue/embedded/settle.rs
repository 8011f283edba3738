//! Settles jobs: many settlements in one transaction, with at most three statements.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use crate::job::{JobState, Limit, QueueEnd};

use super::database::{millis, now};
use super::place::Places;
use super::resettled::mark;
use super::row::whole;
use super::settle_rows::{Dropped, Ended, Returned, drop_rows, end_rows, forward_rows, return_rows};
use crate::queue::delivery::{Disposition, Settled, Settlement};

/// Settlements by what happens to the row.
#[derive(Default)]
struct Sorted<'a> {
    dropped: Vec<Dropped<'a>>,
    ended: Vec<Ended<'a>>,
    returned: Vec<Returned<'a>>,
    /// Of the returned ones, the execution and the queue in which its job waits from now on.
    forwarded: Vec<(&'a str, &'a str)>,
}

/// Settles deliveries within a transaction; of two settlements of one delivery the first counts.
pub async fn settle(
    tx: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<Vec<Settled>, sqlx::Error> {
    let now = now();
    let mut sorted = sort(tx, settlements, now).await?;
    let mut done = HashSet::with_capacity(settlements.len());
    drop_rows(tx, &sorted.dropped, &mut done).await?;
    end_rows(tx, &sorted.ended, now, &mut done).await?;
    return_rows(tx, &sorted.returned, now, &mut done).await?;
    sorted.forwarded.retain(|(execution, _)| done.contains(*execution));
    forward_rows(tx, &sorted.forwarded).await?;
    let answer = |one: &Settlement| match done.remove(one.execution.as_str()) {
        true => Settled::Done,
        false => Settled::NotOurs,
    };
    Ok(settlements.iter().map(answer).collect())
}

async fn sort<'a>(
    tx: &mut SqliteConnection,
    settlements: &'a [Settlement],
    now: i64,
) -> Result<Sorted<'a>, sqlx::Error> {
    let mut sorted = Sorted::default();
    let mut places = Places::default();
    let mut seen = HashSet::with_capacity(settlements.len());
    let due = |delay: Duration| (!delay.is_zero()).then(|| now + millis(delay));
    for one in settlements.iter().filter(|one| seen.insert(one.execution.as_str())) {
        match &one.verdict {
            ends if ends.drops() => {
                sorted.dropped.push(Dropped { job: one.job.as_str(), execution: one.execution.as_str() });
            }
            Disposition::Ack { result, keep } => {
                sorted
                    .ended
                    .push(Ended { result: Some(result), ..ended(one, JobState::Finished, *keep, now) });
            }
            Disposition::Discard { keep, .. }
            | Disposition::Exhaust { keep, .. }
            | Disposition::Stop { keep, .. } => {
                let stopped = matches!(one.verdict, Disposition::Stop { .. });
                let (error, ended) = (one.verdict.error(), ended(one, JobState::Failed, *keep, now));
                sorted.ended.push(Ended { error: error.map(whole), failures: 1, stopped, ..ended });
            }
            Disposition::RetryAt { delay, error } => {
                let returned = waits(tx, &mut places, one, (due(*delay), QueueEnd::Tail)).await?;
                sorted.returned.push(Returned { failures: 1, error: Some(whole(error)), ..returned });
            }
            Disposition::RunAgain { delay, asked, .. } => {
                let end = if asked.at_front { QueueEnd::Head } else { QueueEnd::Tail };
                let returned = waits(tx, &mut places, one, (due(*delay), end)).await?;
                sorted.returned.push(Returned { asked: 1, ..returned });
            }
            Disposition::Forward { queue } => {
                let position = places.next(tx, queue.as_str(), QueueEnd::Tail).await?;
                sorted.returned.push(returned(one, position));
                sorted.forwarded.push((one.execution.as_str(), queue.as_str()));
            }
            Disposition::Release { end } => {
                let position = places.next(tx, one.queue.as_str(), *end).await?;
                sorted.returned.push(returned(one, position));
            }
            Disposition::Rescue => {
                let position = places.next(tx, one.queue.as_str(), QueueEnd::Head).await?;
                sorted.returned.push(Returned { orphaned: 1, ..returned(one, position) });
            }
        }
    }
    Ok(sorted)
}

/// A row that waits again: until it is due, if it has to wait for that, and then at this end of its queue.
async fn waits<'a>(
    tx: &mut SqliteConnection,
    places: &mut Places,
    one: &'a Settlement,
    (due_at, end): (Option<i64>, QueueEnd),
) -> Result<Returned<'a>, sqlx::Error> {
    if due_at.is_some() {
        let (state, to_head) = (JobState::Scheduled.as_str(), end == QueueEnd::Head);
        return Ok(Returned { state, due_at, to_head, ..returned(one, 0) });
    }
    Ok(returned(one, places.next(tx, one.queue.as_str(), end).await?))
}

fn ended(one: &Settlement, state: JobState, keep: Limit, now: i64) -> Ended<'_> {
    Ended {
        job: one.job.as_str(),
        execution: one.execution.as_str(),
        state: state.as_str(),
        failures: 0,
        expires_at: keep.duration().map(|keep| now + millis(keep)),
        result: None,
        error: None,
        stopped: false,
    }
}

fn returned(one: &Settlement, position: i64) -> Returned<'_> {
    Returned {
        job: one.job.as_str(),
        execution: one.execution.as_str(),
        state: JobState::Queued.as_str(),
        position,
        due_at: None,
        to_head: false,
        failures: 0,
        orphaned: 0,
        asked: 0,
        error: None,
        mark: mark(one),
    }
}
