//! How a command ends: its exit code, and the one line on standard error that says why.

use super::{FAILED, OK, USAGE};
use crate::fault::Fault;
use crate::runtime::OpenError;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(super) struct Complaint {
    code: u8,
    text: Option<String>,
}

impl Complaint {
    /// It could not be done.
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self { code: FAILED, text: Some(text.into()) }
    }

    /// The command line is wrong; nothing was done.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { code: USAGE, text: Some(text.into()) }
    }

    /// Everything was said already; only the code is left.
    pub(super) fn said(code: u8) -> Self {
        Self { code, text: None }
    }
}

impl From<Fault> for Complaint {
    fn from(fault: Fault) -> Self {
        Self::failed(fault.chain())
    }
}

impl From<OpenError> for Complaint {
    fn from(error: OpenError) -> Self {
        Self::failed(error.to_string())
    }
}

/// The exit code; a complaint is told first.
pub(super) fn finish(ended: Result<(), Complaint>) -> u8 {
    match ended {
        Ok(()) => OK,
        Err(Complaint { code, text }) => {
            if let Some(text) = text {
                eprintln!("tikkun: {text}");
            }
            code
        }
    }
}
