//! What SQLite's errors mean to a caller.

use sqlx::error::DatabaseError;

use crate::fault::{Fault, FaultKind};
use crate::store::deletion::StepFault;

/// SQLite's primary result codes that do not mean a mistake of ours (sqlite.org/rescode.html).
mod code {
    pub(super) const ABORT: i64 = 4;
    pub(super) const BUSY: i64 = 5;
    pub(super) const LOCKED: i64 = 6;
    pub(super) const NOMEM: i64 = 7;
    pub(super) const READONLY: i64 = 8;
    pub(super) const INTERRUPT: i64 = 9;
    pub(super) const IOERR: i64 = 10;
    pub(super) const FULL: i64 = 13;
    pub(super) const CANTOPEN: i64 = 14;
    pub(super) const PROTOCOL: i64 = 15;
    pub(super) const SCHEMA: i64 = 17;
    pub(super) const TOOBIG: i64 = 18;
    pub(super) const CONSTRAINT: i64 = 19;
    pub(super) const MISMATCH: i64 = 20;
}

/// Gives errors of the database the name of what was tried.
pub(super) trait During<T> {
    /// An error becomes a fault while doing `what`.
    fn during(self, what: &str) -> Result<T, Fault>;
}

impl<T> During<T> for Result<T, sqlx::Error> {
    fn during(self, what: &str) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(kind(&error), what).because(error))
    }
}

/// The same, where a refusal of single rows is to be told from everything else.
pub(super) fn refused_or_fault(error: sqlx::Error, what: &str) -> StepFault {
    match error.as_database_error() {
        Some(answer) if refuses_a_row(primary(answer)) => StepFault::Refused(answer.message().to_owned()),
        _ => StepFault::Fault(Fault::new(kind(&error), what).because(error)),
    }
}

/// What the caller should do about an error.
pub(super) fn kind(error: &sqlx::Error) -> FaultKind {
    match error {
        sqlx::Error::Database(answer) => kind_of_code(primary(answer.as_ref())),
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => FaultKind::Unavailable,
        _ => FaultKind::Permanent,
    }
}

/// The low byte names the kind of error, the rest its detail.
fn primary(answer: &dyn DatabaseError) -> i64 {
    answer.code().and_then(|code| code.parse::<i64>().ok()).unwrap_or_default() & 0xff
}

fn kind_of_code(primary: i64) -> FaultKind {
    match primary {
        code::BUSY | code::LOCKED | code::ABORT | code::INTERRUPT | code::SCHEMA | code::PROTOCOL => {
            FaultKind::Retryable
        }
        code::NOMEM | code::READONLY | code::IOERR | code::FULL | code::CANTOPEN => FaultKind::Unavailable,
        _ => FaultKind::Permanent,
    }
}

/// A constraint, a trigger's `raise`, or a value that does not fit: other rows may still be changed.
fn refuses_a_row(primary: i64) -> bool {
    matches!(primary, code::CONSTRAINT | code::MISMATCH | code::TOOBIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_helps_against_locks_and_full_disks_but_not_against_mistakes() {
        assert_eq!(kind_of_code(code::BUSY), FaultKind::Retryable);
        assert_eq!(kind_of_code(code::FULL), FaultKind::Unavailable);
        assert_eq!(kind_of_code(1), FaultKind::Permanent);
        assert_eq!(kind(&sqlx::Error::PoolTimedOut), FaultKind::Unavailable);
    }

    #[test]
    fn a_missing_column_is_no_rows_fault() {
        assert!(!refuses_a_row(1));
        assert!(refuses_a_row(code::CONSTRAINT));
    }
}
