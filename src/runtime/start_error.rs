//! Why a process does not start, and which back end could not be opened.

use std::io;
use std::net::SocketAddr;

use crate::fault::Fault;
use crate::job::KindClash;
use crate::python::BootError;
use crate::supervision;

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
