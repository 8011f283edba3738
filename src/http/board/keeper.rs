//! Keeps the newest snapshot of the board, as text that is built once and sent to all viewers.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use serde::Serialize;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::history::History;
use super::reader::BoardReader;
use super::shapes::Snapshot;
use crate::supervision::catch_panic;

/// The number of sections.
const SECTIONS: usize = 7;

/// A snapshot, ready to be sent.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Posted {
    /// Grows by one with each read; 0 before the first.
    pub look: u64,
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The sections that have changed since the previous read, as events.
    pub changes: Bytes,
    sections: [Section; SECTIONS],
    at: Option<Instant>,
}

/// A section's text, and the read in which it last changed. The event has no id: see [`Board::chunk`].
#[derive(Clone, Debug, Default)]
struct Section {
    look: u64,
    data: String,
    event: Bytes,
}

/// The newest snapshot, and its viewers.
pub struct Board {
    /// Distinguishes the reads of this process from those of others.
    start: String,
    interval: Duration,
    posted: watch::Sender<Posted>,
    wanted: Notify,
    closed: CancellationToken,
    /// Locked while [`Board::keep`] runs.
    kept: Mutex<()>,
}

impl Board {
    /// An empty board, read every `interval` while there are viewers.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            start: uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect(),
            interval,
            posted: watch::Sender::new(Posted::default()),
            wanted: Notify::new(),
            closed: CancellationToken::new(),
            kept: Mutex::new(()),
        }
    }

    /// Reads until the server closes. A read that panics is logged, and the next one follows.
    pub async fn keep(&self, reader: &BoardReader) {
        let _kept = self.kept.lock().await;
        self.closed.run_until_cancelled(self.keep_on(reader)).await;
    }

    async fn keep_on(&self, reader: &BoardReader) {
        let mut history = History::default();
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.posted.receiver_count() == 0 {
                self.wanted.notified().await;
                continue;
            }
            ticks.tick().await;
            match catch_panic(reader.read(&mut history)).await {
                Ok(snapshot) => self.post(snapshot),
                Err(panic) => tracing::error!(%panic, "a look at the service failed"),
            }
        }
    }

    /// Registers a viewer until the returned receiver is dropped.
    pub(in crate::http) fn look(&self) -> watch::Receiver<Posted> {
        let viewer = self.posted.subscribe();
        self.wanted.notify_one();
        viewer
    }

    /// A fresh snapshot; waits for the next one if there is none. `None` if the server closes. Cancel safe.
    pub(in crate::http) async fn now(&self) -> Option<Arc<Snapshot>> {
        let fresh = |posted: &Posted| posted.at.is_some_and(|at| at.elapsed() < self.interval * 2);
        let mut viewer = self.look();
        let posted = viewer.wait_for(|posted| self.is_closed() || fresh(posted)).await.ok()?;
        (!self.is_closed()).then(|| Arc::clone(&posted.snapshot))
    }

    /// Everything that has changed since the read with the event id `last`.
    pub(in crate::http) fn since(&self, posted: &Posted, last: Option<&str>) -> Bytes {
        let seen = last.and_then(|id| id.split_once('.')).filter(|(start, _)| *start == self.start);
        self.later(posted, seen.and_then(|(_, look)| look.parse().ok()).unwrap_or(0))
    }

    /// Everything that has changed since read number `seen`.
    pub(in crate::http) fn later(&self, posted: &Posted, seen: u64) -> Bytes {
        let missed = posted.sections.iter().filter(|section| section.look > seen);
        self.chunk(missed.map(|section| &section.event), posted.look)
    }

    /// Joins sections, followed by the id of the read. If the connection breaks in between, the viewer keeps
    /// the id of the last read that it got completely.
    fn chunk<'a>(&self, events: impl Iterator<Item = &'a Bytes>, look: u64) -> Bytes {
        let mut chunk: Vec<u8> = events.flatten().copied().collect();
        if !chunk.is_empty() {
            chunk.extend_from_slice(format!("id: {}.{look}\n\n", self.start).as_bytes());
        }
        chunk.into()
    }

    /// The number of viewers.
    pub(in crate::http) fn viewers(&self) -> usize {
        self.posted.receiver_count()
    }

    /// Ends every stream, because the server closes.
    pub fn close(&self) {
        self.closed.cancel();
        self.posted.send_modify(|_| {});
    }

    /// After closing, waits until [`Board::keep`] has ended. A read in progress must return its connections
    /// while the runtime still exists; otherwise the process would panic at its end. Cancel safe.
    pub async fn ended(&self) {
        drop(self.kept.lock().await);
    }

    /// Whether the server closes.
    pub(in crate::http) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    fn post(&self, snapshot: Snapshot) {
        self.posted.send_modify(|posted| {
            posted.look += 1;
            let look = posted.look;
            let texts: [(&str, Option<String>); SECTIONS] = [
                ("overview", text(&snapshot.overview)),
                ("queues", text(&snapshot.queues)),
                ("workers", text(&snapshot.workers)),
                ("running", text(&snapshot.running)),
                ("deletions", text(&snapshot.deletions)),
                ("python", text(&snapshot.python)),
                ("tree", text(&snapshot.tree)),
            ];
            for (section, (name, data)) in posted.sections.iter_mut().zip(texts) {
                let Some(data) = data.filter(|data| *data != section.data) else { continue };
                let event = format!("event: {name}\ndata: {data}\n\n").into();
                *section = Section { look, data, event };
            }
            let changed = posted.sections.iter().filter(|section| section.look == look);
            posted.changes = self.chunk(changed.map(|section| &section.event), look);
            posted.snapshot = Arc::new(snapshot);
            posted.at = Some(Instant::now());
        });
    }
}

fn text(section: &impl Serialize) -> Option<String> {
    let written = serde_json::to_string(section);
    written.inspect_err(|error| tracing::error!(%error, "a section of the board cannot be written")).ok()
}

#[cfg(test)]
mod tests {
    use super::super::shapes::{QueueState, WorkerState};
    use super::*;

    fn snapshot(workers: u32) -> Snapshot {
        let worker = |pid| WorkerState {
            id: String::new(),
            host: String::new(),
            pid,
            queues: Vec::new(),
            started_at: String::new(),
            here: false,
        };
        Snapshot { workers: (0..workers).map(worker).collect(), ..Snapshot::default() }
    }

    fn events(bytes: &Bytes) -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect()
    }

    #[test]
    fn only_what_changed_is_sent_and_a_returning_viewer_gets_what_was_missed() {
        let board = Board::new(Duration::from_secs(1));
        board.post(snapshot(1));
        assert_eq!(events(&board.posted.borrow().changes).len(), SECTIONS);
        let first = format!("{}.1", board.start);
        board.post(snapshot(1));
        assert!(board.posted.borrow().changes.is_empty());
        board.post(snapshot(2));
        assert_eq!(events(&board.posted.borrow().changes), ["workers"]);
        let posted = board.posted.borrow().clone();
        assert_eq!(events(&board.since(&posted, Some(&first))), ["workers"]);
        assert!(board.since(&posted, Some(&format!("{}.3", board.start))).is_empty());
        for stranger in [None, Some("other.3"), Some("nonsense")] {
            assert_eq!(events(&board.since(&posted, stranger)).len(), SECTIONS, "{stranger:?}");
        }
    }

    /// The `Last-Event-ID` that a browser sends if the connection broke after `sent`.
    fn last_id(sent: &[u8]) -> Option<String> {
        let text = String::from_utf8(sent.to_vec()).unwrap();
        let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        whole.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().map(str::to_owned)
    }

    #[test]
    fn a_viewer_cut_off_anywhere_misses_no_section() {
        let board = Board::new(Duration::from_secs(1));
        board.post(snapshot(1));
        let first = format!("{}.1", board.start);
        board.post(Snapshot { queues: vec![QueueState::default()], ..snapshot(2) });
        let posted = board.posted.borrow().clone();
        assert_eq!(events(&posted.changes), ["queues", "workers"]);
        for cut in 0..=posted.changes.len() {
            let sent = posted.changes.slice(..cut);
            let id = last_id(&sent).unwrap_or_else(|| first.clone());
            let whole = sent.windows(2).filter(|pair| *pair == b"\n\n").count();
            let mut seen: Vec<String> = events(&sent).into_iter().take(whole).collect();
            seen.extend(events(&board.since(&posted, Some(&id))));
            assert!(
                ["queues", "workers"].iter().all(|name| seen.iter().any(|one| one == name)),
                "{cut}: {seen:?}"
            );
        }
        assert_eq!(last_id(&posted.changes), Some(format!("{}.2", board.start)));
    }

    #[tokio::test]
    async fn whoever_asks_a_closed_board_is_told_at_once() {
        let board = Board::new(Duration::from_secs(1));
        board.close();
        assert!(board.now().await.is_none());
    }
}
