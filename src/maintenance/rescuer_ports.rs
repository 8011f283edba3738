//! What the rescuer reaches the rest of the process by.

use std::sync::Arc;

use crate::blob::BlobStore;
use crate::job::{ProcessId, Registry};
use crate::queue::Broker;
use crate::store::Store;
use crate::supervision::{HealthTable, Turn};

/// What a rescuer needs of the process.
#[derive(Clone)]
pub struct RescuerPorts {
    /// Where jobs wait.
    pub broker: Arc<dyn Broker>,
    /// Where rows are.
    pub store: Store,
    /// Where objects lie.
    pub blobs: Arc<dyn BlobStore>,
    /// What each kind wants for its orphans.
    pub registry: Arc<Registry>,
    /// Who rescues, for the leadership of the reconciliation.
    pub process: ProcessId,
    /// Told at each turn.
    pub turn: Turn,
    /// Where threads are counted that do not come back.
    pub table: HealthTable,
}
