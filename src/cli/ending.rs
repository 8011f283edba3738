//! How a command ends: its exit code, and on standard error why, and what to do next.

use std::io::{Write as _, stderr};

use super::advice::Advice;
use super::{FAILED, OK, USAGE, page};
use crate::fault::Fault;
use crate::operations::Refusal;
use crate::runtime::{OpenError, StartError};

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(super) struct Complaint {
    code: u8,
    /// None when everything was said already.
    said: Option<(String, Advice)>,
}

impl Complaint {
    /// It could not be done.
    pub(super) fn failed(text: impl Into<String>, next: Advice) -> Self {
        Self { code: FAILED, said: Some((text.into(), next)) }
    }

    /// The command line or the configuration is wrong; nothing was done.
    pub(super) fn usage(text: impl Into<String>, next: Advice) -> Self {
        Self { code: USAGE, said: Some((text.into(), next)) }
    }

    /// Everything was said already; only the code is left.
    pub(super) fn said(code: u8) -> Self {
        Self { code, said: None }
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// What happened and what to do next, where it was not said already.
    pub(super) fn parts(self) -> Option<(String, Advice)> {
        self.said
    }
}

impl From<Fault> for Complaint {
    fn from(fault: Fault) -> Self {
        Self::failed(fault.chain(), Advice::of_fault(fault.kind()))
    }
}

impl From<Refusal> for Complaint {
    fn from(refusal: Refusal) -> Self {
        let next = Advice::of_refusal(&refusal);
        match refusal {
            Refusal::NoDeletion { id, job_type: Some(other) } => Self::failed(
                format!(
                    "background job {id} is of type `{other}`; only deletions of receipts are ours to change"
                ),
                next,
            ),
            refusal => Self::failed(refusal.to_string(), next),
        }
    }
}

impl From<OpenError> for Complaint {
    fn from(error: OpenError) -> Self {
        Self::failed(error.to_string(), Advice::of_open(&error))
    }
}

impl From<StartError> for Complaint {
    fn from(error: StartError) -> Self {
        let (text, next) = (error.to_string(), Advice::of_start(&error));
        match error {
            StartError::Open(error) if error.is_misfit() => Self::usage(text, next),
            _ => Self::failed(text, next),
        }
    }
}

/// Tells something on standard error, with what to do next.
pub(super) fn tell(text: &str, next: &Advice) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(stderr(), "tikkun: {}", lines(text));
    hint(next);
}

/// What to do next, on standard error.
pub(super) fn hint(next: &Advice) {
    let _ = writeln!(stderr(), "  try: {}", page::safe(&next.to_string()));
}

/// Several lines are meant where they come from us; anything else that steers a terminal is not.
fn lines(text: &str) -> String {
    text.lines().map(page::safe).collect::<Vec<_>>().join("\n")
}

/// The exit code; a complaint is told first.
pub(super) fn finish(ended: Result<(), Complaint>) -> u8 {
    match ended {
        Ok(()) => OK,
        Err(Complaint { code, said }) => {
            if let Some((text, next)) = said {
                tell(&text, &next);
            }
            code
        }
    }
}
