//! Which errors refuse a row, and which are about the file as a whole.

use crate::sqlite::{fault, refuses_a_row};
use crate::store::deletion::StepFault;

pub(super) use crate::sqlite::During;

/// An error while doing `what`; a refusal of single rows is told from everything else.
pub(super) fn refused_or_fault(error: sqlx::Error, what: &str) -> StepFault {
    match error.as_database_error() {
        Some(answer) if refuses_a_row(answer) => StepFault::Refused(answer.message().to_owned()),
        _ => StepFault::Fault(fault(error, what)),
    }
}
