//! The errors of starting a child.

use std::{error, fmt};

/// Why a child did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The supervisor is stopped or stopping, or gave up.
    NotRunning,
    /// There is already a child of that name.
    NameTaken(String),
    /// There is no arbiter on this thread, or its thread has ended.
    NoArbiter,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("the supervisor does not run"),
            Self::NameTaken(name) => write!(f, "a child named `{name}` is there already"),
            Self::NoArbiter => f.write_str("there is no arbiter to run on"),
        }
    }
}

impl error::Error for StartError {}
