//! Why a process does not start, which back end could not be opened, and how one is opened so that this is told.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::fault::{Fault, FaultKind};
use crate::job::KindClash;
use crate::python::BootError;
use crate::supervision::{self, catch_panic};

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A back end could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The HTTP server's address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// It was asked to leave while it waited for a back end.
    #[error("told to leave ({0}) before everything was open")]
    Left(&'static str),
    /// Two kinds of jobs have the same name.
    #[error("cannot start: {0}")]
    Kinds(#[from] KindClash),
    /// A description of a deletion does not fit the tables, and all have to (`store.strict_schema`).
    #[error("cannot start: {0}; with STRICT_SCHEMA_CHECK=0 only such a deletion is out of use")]
    Deletions(String),
    /// A Python worker cannot be served.
    #[error(transparent)]
    Python(#[from] PythonStartError),
    /// The operating system refused something else.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The tree of actors did not start.
    #[error("cannot start the actors: {0}")]
    Actors(#[from] supervision::StartError),
}

/// A Python worker of the configuration that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("`[[python]]` number {number} (`{command}`): {why}")]
pub struct PythonStartError {
    pub(super) number: usize,
    pub(super) command: String,
    pub(super) why: Unserved,
}

/// Why a Python worker cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unserved {
    /// Its command does not reach it.
    #[error("{}", .0.chain())]
    Boot(Box<BootError>),
    /// It does not fit the service.
    #[error("{0}")]
    Unfit(String),
}

impl PythonStartError {
    /// What its command ended with, unless it reached its worker.
    #[must_use]
    pub fn boot(&self) -> Option<&BootError> {
        match &self.why {
            Unserved::Boot(error) => Some(error),
            Unserved::Unfit(_) => None,
        }
    }
}

/// A back end that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {what}: {}", fault.chain())]
pub struct OpenError {
    what: &'static str,
    fault: Fault,
    local: bool,
    misfit: bool,
}

impl OpenError {
    pub(super) fn new(what: &'static str, fault: Fault) -> Self {
        Self { what, fault, local: false, misfit: false }
    }

    /// Records whether the back end is a local file or folder.
    pub(super) fn of_a_file(mut self, local: bool) -> Self {
        self.local = local;
        self
    }

    /// Records that the back end answers, but cannot carry jobs in its current state.
    pub(super) fn of_a_misfit(mut self) -> Self {
        self.misfit = true;
        self
    }

    /// Whether the back end answers, but cannot carry jobs in its current state.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        self.misfit
    }

    /// Whether the back end is the database.
    #[must_use]
    pub fn is_database(&self) -> bool {
        self.what == "the database"
    }

    /// Whether the back end is a local file or folder.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Whether a later attempt may succeed.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        self.fault.is_retryable()
    }
}

/// Opens a back end, for at most `limit`, unless it is `missing`.
pub(super) async fn opened<T>(
    what: &'static str,
    missing: Option<Fault>,
    limit: Duration,
    open: impl Future<Output = Result<T, Fault>>,
) -> Result<T, OpenError> {
    let late = |_| {
        Fault::new(FaultKind::Unavailable, format!("no answer within {}", humantime::format_duration(limit)))
    };
    let opened = match missing {
        Some(fault) => Err(fault),
        None => tokio::time::timeout(limit, open).await.map_err(late).and_then(|answer| answer),
    };
    opened.map_err(|fault| OpenError::new(what, fault))
}

/// A panic in a library that opens a back end is a refusal, too.
pub(super) async fn opened_calmly<T>(open: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let opened = catch_panic(open).await;
    opened.unwrap_or_else(|panic| {
        Err(Fault::new(FaultKind::Permanent, "the library that opens it gave up").because(panic))
    })
}

/// The fault of a path that leads nowhere.
pub(super) fn nothing_at(path: &Path) -> Fault {
    Fault::new(FaultKind::Permanent, format!("there is no {}", path.display()))
}
