//! The tracker's rows and their unwritten changes. It survives restarts of the tracker.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::job::background::BackgroundJob;
use crate::job::{BackgroundJobId, Progress, RateMeter};
use crate::store::Watched;

/// A row, and the attempt that owns it.
pub(super) type Attempt = (BackgroundJobId, u32);

/// Our rows, with unwritten changes. It is created outside the tracker, so that it survives restarts.
#[derive(Debug, Default)]
pub struct Journal(Mutex<HashMap<BackgroundJobId, Ours>>);

/// A row that is ours.
#[derive(Debug)]
struct Ours {
    attempt: u32,
    since: Instant,
    meter: RateMeter,
    progress: Progress,
    waiting_for: Option<String>,
    last_error: Option<String>,
    unsent: bool,
}

impl Journal {
    pub(super) fn adopt(&self, job: &BackgroundJob, now: Instant) {
        let mut meter = RateMeter::default();
        meter.sample(Duration::ZERO, job.progress.processed);
        let ours = Ours {
            attempt: job.note.attempt,
            since: now,
            meter,
            progress: job.progress,
            waiting_for: None,
            last_error: None,
            unsent: false,
        };
        self.0.lock().insert(job.id, ours);
    }

    pub(super) fn forget(&self, id: BackgroundJobId, attempt: u32) {
        let mut rows = self.0.lock();
        if rows.get(&id).is_some_and(|ours| ours.attempt <= attempt) {
            rows.remove(&id);
        }
    }

    /// Forgets lost rows, except those that have begun a newer attempt meanwhile.
    pub(super) fn forget_lost(&self, beaten: &[Attempt], lost: &[BackgroundJobId]) {
        for (id, attempt) in beaten.iter().filter(|(id, _)| lost.contains(id)) {
            self.forget(*id, *attempt);
        }
    }

    /// Records committed counters; a late message never decreases one.
    pub(super) fn progressed(&self, (id, attempt): Attempt, progress: Progress, now: Instant) {
        let mut rows = self.0.lock();
        let Some(ours) = rows.get_mut(&id).filter(|ours| ours.attempt == attempt) else { return };
        if progress.processed >= ours.progress.processed {
            ours.meter.sample(now.saturating_duration_since(ours.since), progress.processed);
            ours.progress = progress;
            ours.waiting_for = None;
            ours.unsent = true;
        }
    }

    /// Records what a row waits for; `None`: it has stopped waiting.
    pub(super) fn waiting(&self, (id, attempt): Attempt, waiting_for: Option<String>) {
        let mut rows = self.0.lock();
        let Some(ours) = rows.get_mut(&id).filter(|ours| ours.attempt == attempt) else { return };
        ours.last_error.clone_from(&waiting_for);
        ours.waiting_for = waiting_for;
        ours.unsent = true;
    }

    pub(super) fn rows(&self) -> Vec<Attempt> {
        self.0.lock().iter().map(|(id, ours)| (*id, ours.attempt)).collect()
    }

    pub(super) fn unsent(&self) -> Vec<Watched> {
        let mut rows = self.0.lock();
        rows.iter_mut()
            .filter_map(|(id, ours)| std::mem::take(&mut ours.unsent).then(|| ours.watched(*id)))
            .collect()
    }

    pub(super) fn not_sent(&self, updates: &[Watched]) {
        let mut rows = self.0.lock();
        for update in updates {
            if let Some(ours) = rows.get_mut(&update.id).filter(|ours| ours.attempt == update.attempt) {
                ours.unsent = true;
            }
        }
    }
}

impl Ours {
    fn watched(&self, id: BackgroundJobId) -> Watched {
        let estimate = self.meter.estimate(&self.progress);
        Watched {
            id,
            attempt: self.attempt,
            waiting_for: self.waiting_for.clone(),
            rate: estimate.map(|estimate| estimate.rate),
            eta_seconds: estimate.and_then(|estimate| estimate.eta).map(|eta| eta.as_secs_f64()),
            last_error: self.last_error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (Journal, Instant) {
        let journal = Journal::default();
        let now = Instant::now();
        let ours = Ours {
            attempt: 2,
            since: now,
            meter: RateMeter::default(),
            progress: Progress::default(),
            waiting_for: None,
            last_error: None,
            unsent: false,
        };
        journal.0.lock().insert(BackgroundJobId(27), ours);
        (journal, now)
    }

    fn tell(journal: &Journal, attempt: u32, processed: i64, now: Instant) {
        let progress = Progress { total: 100, processed, succeeded: processed, failed: 0 };
        journal.progressed((BackgroundJobId(27), attempt), progress, now);
    }

    #[test]
    fn a_late_message_never_takes_progress_back() {
        let (journal, now) = journal();
        tell(&journal, 2, 50, now + Duration::from_secs(1));
        tell(&journal, 2, 10, now + Duration::from_secs(2));
        tell(&journal, 1, 90, now + Duration::from_secs(3));
        assert_eq!(journal.0.lock()[&BackgroundJobId(27)].progress.processed, 50);
    }

    #[test]
    fn many_messages_become_one_write_and_an_unsent_one_is_kept() {
        let (journal, now) = journal();
        for step in 1..=10_u32 {
            tell(&journal, 2, i64::from(step), now + Duration::from_secs(u64::from(step)));
        }
        let updates = journal.unsent();
        assert_eq!(updates.len(), 1);
        assert!(journal.unsent().is_empty());
        journal.not_sent(&updates);
        assert_eq!(journal.unsent(), updates);
    }

    #[test]
    fn a_lost_row_is_forgotten_unless_a_newer_attempt_began() {
        let (journal, _) = journal();
        journal.forget_lost(&[(BackgroundJobId(27), 1)], &[BackgroundJobId(27)]);
        assert_eq!(journal.rows(), [(BackgroundJobId(27), 2)]);
        journal.forget_lost(&[(BackgroundJobId(27), 2)], &[BackgroundJobId(27)]);
        assert!(journal.rows().is_empty());
    }
}
