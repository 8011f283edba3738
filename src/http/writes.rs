//! Whether writes succeed: a back end that can be read may refuse every write (a full disk, a read-only
//! server, a server out of memory).
//!
//! A test write of one row is made every few seconds, and at once on request. It also fails while the store refuses the
//! larger writes of the work, for which one row finds room, and while new jobs find none. A request does not wait long
//! for it: after [`ANSWER`] it gets the last known result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::fault::Fault;
use crate::queue::Broker;
use crate::store::Store;

/// The time between two test writes without a request. Refusals are logged even if no request is made.
const EVERY: Duration = Duration::from_secs(5);
/// A result older than this is renewed on request.
const FRESH: Duration = Duration::from_secs(1);
/// How long a request waits for a test write.
const ANSWER: Duration = Duration::from_millis(500);

/// The back ends that refuse writes, each with its reason.
pub(super) type Refusals = BTreeMap<&'static str, String>;

/// Whether writes succeed. Clones share the state; the test writes end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Writes {
    seen: watch::Receiver<Seen>,
    asked: Arc<Notify>,
    _tries: Arc<AbortOnDropHandle<()>>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    /// When the latest test write ended; `None` before the first.
    at: Option<Instant>,
    refusals: Refusals,
}

/// Makes the test writes.
struct Tries {
    broker: Arc<dyn Broker>,
    store: Store,
    /// The time limit of a test write.
    deadline: Duration,
    asked: Arc<Notify>,
}

impl Writes {
    /// Starts the test writes; each may take as long as `deadline`. Must be called inside an actix system.
    #[must_use]
    pub fn begin(broker: Arc<dyn Broker>, store: Store, deadline: Duration) -> Self {
        let asked = Arc::new(Notify::new());
        let tries = Tries { broker, store, deadline, asked: Arc::clone(&asked) };
        let (told, seen) = watch::channel(Seen::default());
        let tries = Arc::new(AbortOnDropHandle::new(actix_rt::spawn(tries.go_on(told))));
        Self { seen, asked, _tries: tries }
    }

    /// Whether a back end refuses writes, as last known.
    pub(super) fn are_refused(&self) -> bool {
        !self.seen.borrow().refusals.is_empty()
    }

    /// The back ends that refuse writes. Waits for a new test write if the last result is old or a refusal.
    pub(super) async fn refused(&self) -> Refusals {
        let mut seen = self.seen.clone();
        let old = |seen: &Seen| seen.at.is_none_or(|at| at.elapsed() > FRESH) || !seen.refusals.is_empty();
        if old(&seen.borrow_and_update()) {
            self.asked.notify_one();
            // If it is late or has ended, the last known result is used.
            let _ = tokio::time::timeout(ANSWER, seen.changed()).await;
        }
        seen.borrow().refusals.clone()
    }
}

impl Tries {
    async fn go_on(self, told: watch::Sender<Seen>) {
        let mut before = Refusals::new();
        loop {
            let (broker, database) = futures::join!(self.write_to_queue(), self.write_to_database());
            let refusals: Refusals =
                [("broker", broker), ("database", database)].into_iter().filter_map(reason).collect();
            for (name, error) in refusals.iter().filter(|(name, _)| !before.contains_key(*name)) {
                tracing::warn!(error, "the {name} refuses writes");
            }
            for name in before.keys().filter(|name| !refusals.contains_key(*name)) {
                tracing::info!("✓ writes to the {name} succeed (recovered!)");
            }
            before.clone_from(&refusals);
            told.send_replace(Seen { at: Some(Instant::now()), refusals });
            // On request or after the interval.
            let _ = tokio::time::timeout(EVERY, self.asked.notified()).await;
        }
    }

    async fn write_to_queue(&self) -> Result<(), String> {
        let broker = Arc::clone(&self.broker);
        self.tried(async move {
            broker.prove().await?;
            broker.takes_jobs().await
        })
        .await
    }

    async fn write_to_database(&self) -> Result<(), String> {
        let jobs = Arc::clone(&self.store.background_jobs);
        self.tried(async move { jobs.check().await }).await
    }

    /// Runs in its own task, so that a panic in a library counts as a refusal.
    async fn tried(&self, write: impl Future<Output = Result<(), Fault>> + 'static) -> Result<(), String> {
        let write = AbortOnDropHandle::new(actix_rt::spawn(write));
        match tokio::time::timeout(self.deadline, write).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(fault))) => Err(fault.chain()),
            Ok(Err(died)) => Err(died.to_string()),
            Err(_) => Err(format!("no answer within {}", humantime::format_duration(self.deadline))),
        }
    }
}

fn reason((name, tried): (&'static str, Result<(), String>)) -> Option<(&'static str, String)> {
    tried.err().map(|error| (name, error))
}
