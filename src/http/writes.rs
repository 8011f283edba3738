//! Whether writes succeed: a back end that is read can refuse every write (a full disk, a server that has become
//! read-only or has no memory left).
//!
//! A write of one row, always the same, is tried from time to time, and at once when somebody asks. Nobody who asks
//! waits long for it: what was known before is the answer then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::fault::Fault;
use crate::queue::Broker;
use crate::store::Store;

/// Time between two tries that nobody asks for: what was refused is in the log even where nobody asks.
const EVERY: Duration = Duration::from_secs(5);
/// What is older is found out anew.
const FRESH: Duration = Duration::from_secs(1);
/// How long somebody who asks waits for a try.
const ANSWER: Duration = Duration::from_millis(500);

/// The back ends that refuse writes, each with its reason.
pub(super) type Refusals = BTreeMap<&'static str, String>;

/// Whether writes succeed. Clones show the same; the tries end with the last one.
#[derive(Clone, Debug)]
pub struct Writes {
    seen: watch::Receiver<Seen>,
    asked: Arc<Notify>,
    _tries: Arc<AbortOnDropHandle<()>>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    /// When the latest try ended; none before the first.
    at: Option<Instant>,
    refusals: Refusals,
}

/// Tries to write.
struct Tries {
    broker: Arc<dyn Broker>,
    store: Store,
    /// How long a try may take.
    deadline: Duration,
    asked: Arc<Notify>,
}

impl Writes {
    /// Begins to try; each try may take as long as `deadline`. Must be called inside an actix system.
    #[must_use]
    pub fn begin(broker: Arc<dyn Broker>, store: Store, deadline: Duration) -> Self {
        let asked = Arc::new(Notify::new());
        let tries = Tries { broker, store, deadline, asked: Arc::clone(&asked) };
        let (told, seen) = watch::channel(Seen::default());
        let tries = Arc::new(AbortOnDropHandle::new(actix_rt::spawn(tries.go_on(told))));
        Self { seen, asked, _tries: tries }
    }

    /// Whether a back end refuses writes, as far as is known now.
    pub(super) fn are_refused(&self) -> bool {
        !self.seen.borrow().refusals.is_empty()
    }

    /// The back ends that refuse writes.
    pub(super) async fn refused(&self) -> Refusals {
        let mut seen = self.seen.clone();
        let old = |seen: &Seen| seen.at.is_none_or(|at| at.elapsed() > FRESH) || !seen.refusals.is_empty();
        if old(&seen.borrow_and_update()) {
            self.asked.notify_one();
            // Late or gone: what is known is the answer.
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
                tracing::warn!(error, "no write to the {name} succeeds");
            }
            for name in before.keys().filter(|name| !refusals.contains_key(*name)) {
                tracing::info!("✓ writes to the {name} succeed (recovered!)");
            }
            before.clone_from(&refusals);
            told.send_replace(Seen { at: Some(Instant::now()), refusals });
            // Asked for or not: both lead to the same.
            let _ = tokio::time::timeout(EVERY, self.asked.notified()).await;
        }
    }

    async fn write_to_queue(&self) -> Result<(), String> {
        let broker = Arc::clone(&self.broker);
        self.tried(async move { broker.prove().await }).await
    }

    async fn write_to_database(&self) -> Result<(), String> {
        let jobs = Arc::clone(&self.store.background_jobs);
        self.tried(async move { jobs.check().await }).await
    }

    /// In a task of its own: a panic in a library is one more way to refuse.
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
