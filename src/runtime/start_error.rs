//! Why a process does not start, and which back end cannot be opened.

use std::io;
use std::net::SocketAddr;

use crate::fault::Fault;
use crate::job::KindClash;
use crate::supervision;

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A back end cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The HTTP server cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// It was told to leave while it waited for a back end.
    #[error("told to leave ({0}) before everything was open")]
    Left(&'static str),
    /// Two kinds of jobs have one name.
    #[error("cannot start: {0}")]
    Kinds(#[from] KindClash),
    /// The operating system refuses something else.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The tree of actors does not start.
    #[error("cannot start the actors: {0}")]
    Actors(#[from] supervision::StartError),
}

/// A back end that cannot be opened.
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

    /// Notes whether the back end is a file or a folder of this host.
    pub(super) fn of_a_file(mut self, local: bool) -> Self {
        self.local = local;
        self
    }

    /// Notes that the back end answers, and can never serve as it is.
    pub(super) fn of_a_misfit(mut self) -> Self {
        self.misfit = true;
        self
    }

    /// Whether the configuration names a back end that answers and can never serve as it is.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        self.misfit
    }

    /// Whether the back end is the database.
    #[must_use]
    pub fn is_database(&self) -> bool {
        self.what == "the database"
    }

    /// Whether the back end is a file or a folder of this host.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Whether a later try may do better.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        self.fault.is_retryable()
    }
}
