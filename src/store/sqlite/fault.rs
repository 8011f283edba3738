//! Distinguishes errors that refuse a row from errors of the whole file.

use crate::sqlite::{fault, refuses_a_row};
use crate::store::deletion::StepFault;

pub(super) use crate::sqlite::During;

/// The fault for an error while doing `what`, or a refusal of single rows.
pub(super) fn refused_or_fault(error: sqlx::Error, what: &str) -> StepFault {
    match error.as_database_error() {
        Some(answer) if refuses_a_row(answer) => StepFault::Refused(answer.message().to_owned()),
        _ => StepFault::Fault(fault(error, what)),
    }
}
