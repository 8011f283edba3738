//! The meaning of SQLite's errors for a caller.

use sqlx::error::DatabaseError;

use crate::fault::{Fault, FaultKind};

/// SQLite's primary result codes that are no mistake of ours (sqlite.org/rescode.html).
mod code {
    pub(super) const PERM: i64 = 3;
    pub(super) const ABORT: i64 = 4;
    pub(super) const BUSY: i64 = 5;
    pub(super) const LOCKED: i64 = 6;
    pub(super) const NOMEM: i64 = 7;
    pub(super) const READONLY: i64 = 8;
    pub(super) const INTERRUPT: i64 = 9;
    pub(super) const IOERR: i64 = 10;
    /// Also returned after a failed read; the file may be intact.
    pub(super) const CORRUPT: i64 = 11;
    pub(super) const FULL: i64 = 13;
    pub(super) const CANTOPEN: i64 = 14;
    pub(super) const PROTOCOL: i64 = 15;
    pub(super) const SCHEMA: i64 = 17;
    pub(super) const TOOBIG: i64 = 18;
    pub(super) const CONSTRAINT: i64 = 19;
    pub(super) const MISMATCH: i64 = 20;
    pub(super) const NOLFS: i64 = 22;
    /// As [`CORRUPT`], for the file's first page.
    pub(super) const NOTADB: i64 = 26;
}

/// The extended code of a virtual table that finds its own content corrupt (SQLITE_CORRUPT_VTAB).
const CORRUPT_VIRTUAL_TABLE: &str = "267";

/// Converts database errors to faults that name the action.
pub trait During<T> {
    /// Converts an error while doing `what` to a fault.
    fn during(self, what: &str) -> Result<T, Fault>;
}

impl<T> During<T> for Result<T, sqlx::Error> {
    fn during(self, what: &str) -> Result<T, Fault> {
        self.map_err(|error| fault(error, what))
    }
}

/// The fault for `error` in the given context.
pub fn fault(error: sqlx::Error, context: impl Into<String>) -> Fault {
    let refused = error.as_database_error().is_some_and(|answer| refuses_writes(primary(answer)));
    let fault = Fault::new(kind(&error), context).because(error);
    if refused { fault.of_refused_writes() } else { fault }
}

/// The reaction that an error calls for.
pub fn kind(error: &sqlx::Error) -> FaultKind {
    match error {
        sqlx::Error::Database(answer) if is_of_a_virtual_table(answer.as_ref()) => FaultKind::Permanent,
        sqlx::Error::Database(answer) => kind_of_code(primary(answer.as_ref())),
        // The last two say that the connection is unusable: nothing of the request was tried.
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::InvalidSavePointStatement => FaultKind::Unavailable,
        _ => FaultKind::Permanent,
    }
}

/// Whether the error says that the file is no database.
pub(super) fn is_no_database(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|answer| primary(answer) == code::NOTADB)
}

/// A constraint, a trigger's `raise`, a virtual table behind a trigger, or an unsuitable value: other rows may still be
/// changed.
pub fn refuses_a_row(answer: &dyn DatabaseError) -> bool {
    matches!(primary(answer), code::CONSTRAINT | code::MISMATCH | code::TOOBIG)
        || is_of_a_virtual_table(answer)
}

/// Whether only the content of a virtual table is corrupt, such as an index for full text that is out of step with its
/// table. The database itself is sound.
fn is_of_a_virtual_table(answer: &dyn DatabaseError) -> bool {
    answer.code().as_deref() == Some(CORRUPT_VIRTUAL_TABLE)
}

/// Whether the disk is full or fails: a smaller write may succeed.
fn refuses_writes(primary: i64) -> bool {
    matches!(primary, code::FULL | code::IOERR)
}

/// The primary code is the low byte; the rest is detail.
fn primary(answer: &dyn DatabaseError) -> i64 {
    answer.code().and_then(|code| code.parse::<i64>().ok()).unwrap_or_default() & 0xff
}

fn kind_of_code(primary: i64) -> FaultKind {
    match primary {
        code::BUSY | code::LOCKED | code::ABORT | code::INTERRUPT | code::SCHEMA | code::PROTOCOL => {
            FaultKind::Retryable
        }
        code::PERM
        | code::NOMEM
        | code::READONLY
        | code::IOERR
        | code::CORRUPT
        | code::FULL
        | code::CANTOPEN
        | code::NOLFS
        | code::NOTADB => FaultKind::Unavailable,
        _ => FaultKind::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_helps_against_locks_and_the_disk_but_not_against_mistakes() {
        for passes_soon in [code::BUSY, 517 & 0xff, code::LOCKED, code::INTERRUPT] {
            assert_eq!(kind_of_code(passes_soon), FaultKind::Retryable, "{passes_soon}");
        }
        let disk = [code::FULL, code::IOERR, 778 & 0xff, 8458 & 0xff, code::CORRUPT, code::READONLY]
            .into_iter()
            .chain([code::CANTOPEN, code::NOMEM, code::PERM, code::NOTADB]);
        for disk in disk {
            assert_eq!(kind_of_code(disk), FaultKind::Unavailable, "{disk}");
        }
        for mistake in [0, 1, code::CONSTRAINT, code::TOOBIG] {
            assert_eq!(kind_of_code(mistake), FaultKind::Permanent, "{mistake}");
        }
    }

    #[test]
    fn full_disk_refuses_writes_and_a_row_or_a_lock_does_not() {
        for disk in [code::FULL, code::IOERR, 778 & 0xff] {
            assert!(refuses_writes(disk), "{disk}");
        }
        for other in [0, code::BUSY, code::CONSTRAINT, code::MISMATCH, code::TOOBIG, code::CANTOPEN] {
            assert!(!refuses_writes(other), "{other}");
        }
    }

    #[test]
    fn a_connection_that_is_not_as_it_should_be_is_no_mistake_of_the_caller() {
        for error in [
            sqlx::Error::PoolTimedOut,
            sqlx::Error::WorkerCrashed,
            sqlx::Error::BeginFailed,
            sqlx::Error::InvalidSavePointStatement,
        ] {
            assert_eq!(kind(&error), FaultKind::Unavailable, "{error}");
        }
        assert_eq!(kind(&sqlx::Error::RowNotFound), FaultKind::Permanent);
    }
}
