//! How a command ends: its exit code, and on standard error the reason and the next step.

use std::io::{Write as _, stderr};

use super::advice::Advice;
use super::{FAILED, OK, USAGE, page};
use crate::fault::Fault;
use crate::operations::Refusal;
use crate::python::BootError;
use crate::runtime::{OpenError, StartError};

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Complaint {
    code: u8,
    /// `None` if everything has been printed already.
    said: Option<(String, Advice)>,
}

impl Complaint {
    /// The command could not be carried out.
    pub(super) fn failed(text: impl Into<String>, next: Advice) -> Self {
        Self { code: FAILED, said: Some((text.into(), next)) }
    }

    /// The command line or the configuration is wrong; nothing was done.
    pub(super) fn usage(text: impl Into<String>, next: Advice) -> Self {
        Self { code: USAGE, said: Some((text.into(), next)) }
    }

    /// Everything has been printed already; only the exit code remains.
    pub(super) fn said(code: u8) -> Self {
        Self { code, said: None }
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// The message and the hint, unless they have been printed already.
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
            StartError::Python(error) if error.boot().is_some_and(BootError::is_of_system) => {
                Self::failed(text, next)
            }
            StartError::Python(_) => Self::usage(text, next),
            _ => Self::failed(text, next),
        }
    }
}

/// Prints a message and its hint on standard error.
pub(super) fn tell(text: &str, next: &Advice) {
    // If standard error is closed, there is nowhere to report it.
    let _ = writeln!(stderr(), "tikkun: {}", lines(text));
    hint(next);
}

/// Prints a hint on standard error.
pub(super) fn hint(next: &Advice) {
    let _ = writeln!(stderr(), "  try: {}", page::safe(&next.to_string()));
}

/// Keeps line breaks and escapes all other control characters.
fn lines(text: &str) -> String {
    text.lines().map(page::safe).collect::<Vec<_>>().join("\n")
}

/// Prints the complaint, if any, and returns the exit code.
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
