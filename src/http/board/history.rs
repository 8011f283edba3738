//! The last two minutes of what was read, for small charts and estimates, and the last good read of each back
//! end, which is shown while that back end does not answer.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::eta::DeletionRow;
use super::shapes::{QueueState, WorkerState};
use crate::job::background::BackgroundJob;
use crate::queue::QueueCounts;
use crate::store::OutboxSummary;

/// The time between two points of a chart.
const STEP: Duration = Duration::from_secs(2);
/// Points per chart.
const POINTS: usize = 60;
/// After a longer pause between two reads, all earlier ones are dropped.
const GAP: Duration = Duration::from_secs(10);
/// The period over which a rate is counted.
const MINUTE: Duration = Duration::from_secs(60);

/// The earlier reads.
#[derive(Debug, Default)]
pub(in crate::http) struct History {
    /// The summary of the outbox, which counts every row.
    pub(super) outbox: Cache<OutboxSummary>,
    /// The newest deletions, which may be far apart among other jobs.
    pub(super) newest: Cache<Vec<BackgroundJob>>,
    /// The last good read of each back end.
    pub(super) seen: Seen,
    last_look: Option<Instant>,
    queues: BTreeMap<String, Track>,
    deletions: BTreeMap<i64, VecDeque<(Instant, i64)>>,
}

/// The last good read of each back end.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// `None`: the broker has not answered yet.
    pub queues: Option<Vec<QueueState>>,
    /// Processes that hold a lease, or live on this host and cannot renew theirs.
    pub workers: Vec<WorkerState>,
    /// Active and recent deletions.
    pub deletions: Vec<DeletionRow>,
}

/// The chart of a queue.
#[derive(Debug)]
struct Track {
    begun: Instant,
    last: QueueCounts,
    depth: VecDeque<u64>,
    done: VecDeque<u64>,
}

impl History {
    /// Starts a read. Forgets everything if the last one is too old.
    pub(super) fn look(&mut self, now: Instant) {
        if self.last_look.is_some_and(|last| now.saturating_duration_since(last) > GAP) {
            *self = Self::default();
        }
        self.last_look = Some(now);
    }

    /// Adds the counts of a queue, and returns its chart: waiting jobs, and jobs that ended, per step.
    pub(super) fn queue(&mut self, now: Instant, name: &str, counts: QueueCounts) -> (Vec<u64>, Vec<u64>) {
        let track = self.queues.entry(name.to_owned()).or_insert_with(|| Track {
            begun: now,
            last: counts,
            depth: VecDeque::from([counts.queued]),
            done: VecDeque::from([0]),
        });
        while now.saturating_duration_since(track.begun) >= STEP {
            track.begun += STEP;
            track.depth.push_back(counts.queued);
            track.done.push_back(0);
        }
        // Kept jobs also expire; only an increase means that jobs have ended.
        let ended = counts.finished.saturating_sub(track.last.finished)
            + counts.failed.saturating_sub(track.last.failed);
        track.last = counts;
        if let Some(done) = track.done.back_mut() {
            *done += ended;
        }
        if let Some(depth) = track.depth.back_mut() {
            *depth = counts.queued;
        }
        for points in [&mut track.depth, &mut track.done] {
            let many = points.len().saturating_sub(POINTS);
            points.drain(..many);
        }
        (track.depth.iter().copied().collect(), track.done.iter().copied().collect())
    }

    /// Adds the progress of a deletion, and returns its rates in receipts per second, read by read.
    pub(super) fn deletion(&mut self, now: Instant, id: i64, processed: i64) -> Vec<f64> {
        let looks = self.deletions.entry(id).or_default();
        let due = looks.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= STEP / 2);
        if due {
            looks.push_back((now, processed));
        }
        while looks.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > MINUTE) {
            looks.pop_front();
        }
        let pairs = looks.iter().zip(looks.iter().skip(1));
        pairs
            .map(|((then, before), (at, after))| {
                let seconds = at.saturating_duration_since(*then).as_secs_f64().max(0.001);
                ((after - before).max(0) as f64 / seconds * 10.0).round() / 10.0
            })
            .collect()
    }

    /// Takes the active deletions. If one is no longer active, the newest ones are read again.
    pub(super) fn under_way(&mut self, active: &[BackgroundJob]) {
        if self.deletions.keys().any(|id| active.iter().all(|job| job.id.0 != *id)) {
            self.newest.forget();
        }
    }

    /// Forgets deletions that are not active.
    pub(super) fn keep_deletions(&mut self, keep: impl Fn(i64) -> bool) {
        self.deletions.retain(|id, _| keep(*id));
    }
}

/// The number of jobs that ended in the last minute of a chart.
pub(super) fn last_minute(done: &[u64]) -> u64 {
    done.iter().rev().take((MINUTE.as_secs() / STEP.as_secs()) as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(queued: u64, finished: u64) -> QueueCounts {
        QueueCounts { queued, finished, ..QueueCounts::default() }
    }

    #[test]
    fn chart_moves_with_time_and_counts_only_what_came_on_top() {
        let (mut history, start) = (History::default(), Instant::now());
        history.queue(start, "q", counts(5, 100));
        let (depth, done) = history.queue(start + STEP, "q", counts(3, 102));
        assert_eq!((depth, done), (vec![5, 3], vec![0, 2]));
        let (_, done) = history.queue(start + STEP * 2, "q", counts(3, 50));
        assert_eq!(done, [0, 2, 0]);
        assert_eq!(last_minute(&done), 2);
        let (depth, _) = history.queue(start + STEP * 500, "q", counts(3, 50));
        assert_eq!(depth.len(), POINTS);
    }

    #[test]
    fn rate_is_receipts_per_second_between_looks() {
        let (mut history, start) = (History::default(), Instant::now());
        assert!(history.deletion(start, 1, 0).is_empty());
        assert_eq!(history.deletion(start + STEP, 1, 100), [50.0]);
        assert_eq!(history.deletion(start + STEP * 2, 1, 100), [50.0, 0.0]);
    }

    #[test]
    fn a_long_pause_begins_anew() {
        let (mut history, start) = (History::default(), Instant::now());
        history.look(start);
        history.queue(start, "q", counts(5, 1));
        history.look(start + GAP * 2);
        assert_eq!(history.queue(start + GAP * 2, "q", counts(9, 7)), (vec![9], vec![0]));
    }
}
