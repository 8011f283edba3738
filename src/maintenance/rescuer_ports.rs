//! The ports of the rescuer.

use std::sync::Arc;

use actix::Recipient;

use crate::blob::BlobStore;
use crate::certificate::Issuer;
use crate::job::{ProcessId, QueueName, Registries};
use crate::queue::Broker;
use crate::store::Store;
use crate::supervision::{HealthTable, Turn};
use crate::tracking::AskPerson;
use crate::webhooks::WebhookSender;

/// The ports of the rescuer.
#[derive(Clone)]
pub struct RescuerPorts {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The database.
    pub store: Store,
    /// The tracker, which cancels rows whose queue jobs were canceled.
    pub tracker: Recipient<AskPerson>,
    /// The storage.
    pub blobs: Arc<dyn BlobStore>,
    /// The policies for orphans, by queue and kind.
    pub registries: Registries,
    /// This process, for the leader lease of the reconciliation.
    pub process: ProcessId,
    /// The queues whose jobs it runs.
    pub queues: Vec<QueueName>,
    /// Its sign of life, in each iteration.
    pub turn: Turn,
    /// The table that counts stuck threads.
    pub table: HealthTable,
    /// Issues the certificates of deletions.
    pub issuer: Arc<Issuer>,
    /// Makes the HTTP requests that jobs ask for at their end.
    pub webhooks: WebhookSender,
}
