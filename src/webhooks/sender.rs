//! Makes requests beside the jobs that asked for them: a bounded number at once, and of one host only a part of it, so that
//! a host that does not answer holds up the requests to no other.
//!
//! Requests that wait when the process ends are lost, as in RQ.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::client::Client;
use crate::config::WebhookProxies;
use crate::fault::causes;
use crate::job::WebhookRequest;
use crate::measure::list::WEBHOOKS;

/// The most requests at once.
const AT_ONCE: usize = 64;
/// The most requests to one host at once.
const OF_ONE_HOST: usize = 8;
/// The most requests that are under way or wait. More come only from hosts that are slower than their jobs.
const OPEN: usize = 10_000;

/// Makes the requests of one process. Clones share the bounds.
#[derive(Clone)]
pub struct WebhookSender(Arc<Inner>);

struct Inner {
    client: Client,
    places: Semaphore,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    open: watch::Sender<usize>,
}

impl Default for WebhookSender {
    /// It trusts the authorities of this system and uses no proxy.
    fn default() -> Self {
        Self::new(None, WebhookProxies::default())
    }
}

impl WebhookSender {
    /// It trusts the authorities of this system, and those of `ca_file`.
    #[must_use]
    pub fn new(ca_file: Option<PathBuf>, proxies: WebhookProxies) -> Self {
        Self(Arc::new(Inner {
            client: Client::new(ca_file, proxies),
            places: Semaphore::new(AT_ONCE),
            hosts: Mutex::default(),
            open: watch::Sender::new(0),
        }))
    }

    /// Makes these requests in the background. Must be called inside a tokio runtime.
    pub fn send(&self, requests: Vec<WebhookRequest>) {
        for request in requests {
            let Some(open) = Open::begin(&self.0) else {
                WEBHOOKS.counter(&["dropped"]).increment(1);
                tracing::warn!(job.id = %request.job, host = request.host(),
                    "a webhook is not sent: {OPEN} others wait already");
                continue;
            };
            tokio::spawn(async move { open.0.send(&request).await });
        }
    }

    /// How many requests are under way or wait.
    #[must_use]
    pub fn open(&self) -> usize {
        *self.0.open.borrow()
    }

    /// Completes when no request is under way or waits. Cancel safe.
    pub async fn all_sent(&self) {
        // The sender of the count lives as long as this handle.
        let _ = self.0.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Inner {
    async fn send(&self, request: &WebhookRequest) {
        let of_host = self.places_of(request.host());
        // Neither semaphore is ever closed.
        let permits = (of_host.acquire().await, self.places.acquire().await);
        let sent = match tokio::time::timeout(request.timeout, self.client.send(request)).await {
            Ok(sent) => sent.map_err(|error| causes(&*error)),
            Err(_) => Err(format!("no answer within {}", humantime::format_duration(request.timeout))),
        };
        drop(permits);
        drop(of_host);
        self.forget(request.host());
        match sent {
            Ok(()) => WEBHOOKS.counter(&["sent"]).increment(1),
            Err(error) => {
                WEBHOOKS.counter(&["failed"]).increment(1);
                tracing::warn!(job.id = %request.job, host = request.host(), error, "a webhook of a job failed");
            }
        }
    }

    fn places_of(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock();
        let places = hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(OF_ONE_HOST)));
        Arc::clone(places)
    }

    /// Forgets a host to which no other request goes.
    fn forget(&self, host: &str) {
        let mut hosts = self.hosts.lock();
        if hosts.get(host).is_some_and(|places| Arc::strong_count(places) == 1) {
            hosts.remove(host);
        }
    }
}

/// A request that is under way or waits.
struct Open(Arc<Inner>);

impl Open {
    /// `None` if there are too many.
    fn begin(inner: &Arc<Inner>) -> Option<Self> {
        let more = inner.open.send_if_modified(|open| {
            let more = *open < OPEN;
            *open += usize::from(more);
            more
        });
        more.then(|| Self(Arc::clone(inner)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}
