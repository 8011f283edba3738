//! The meaning of PostgreSQL's errors for a caller.

use std::error::Error as _;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::fault::{Fault, FaultKind};
use crate::store::deletion::StepFault;

/// SQLSTATE codes (PostgreSQL manual, appendix "PostgreSQL Error Codes").
mod code {
    pub(super) const READ_ONLY: &str = "25006";
    pub(super) const SERIALIZATION_FAILURE: &str = "40001";
    pub(super) const STATEMENT_COMPLETION_UNKNOWN: &str = "40003";
    pub(super) const DEADLOCK: &str = "40P01";
    pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub(super) const QUERY_CANCELED: &str = "57014";
    pub(super) const TOO_MANY_CONNECTIONS: &str = "53300";
    pub(super) const CANNOT_CONNECT_NOW: &str = "57P03";
    pub(super) const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub(super) const NO_SUCH_STATEMENT: &str = "26000";
    pub(super) const IDLE_IN_TRANSACTION: &str = "25P03";
    pub(super) const TRANSACTION_TIMEOUT: &str = "25P04";
    pub(super) const NUMBER_TAKEN: &str = "23505";
    pub(super) const NOT_IN_STATE: &str = "55000";
    pub(super) const NO_PRIVILEGE: &str = "42501";
    pub(super) const PROTOCOL_VIOLATION: &str = "08P01";
    pub(super) const NO_SUCH_DATABASE: &str = "3D000";
    pub(super) const NO_SUCH_COLUMN: &str = "42703";
    pub(super) const NO_SUCH_TABLE: &str = "42P01";
}

/// Classes of codes, named by their first two characters.
mod class {
    /// Connection exceptions, also those of a pooler.
    pub(super) const CONNECTION: &str = "08";
    /// Invalid authorization. It may pass, since a password is rotated in two steps.
    pub(super) const AUTHORIZATION: &str = "28";
    /// Too many connections, full disk, out of memory.
    pub(super) const RESOURCES: &str = "53";
    /// Shutdown, crash of another session, or start-up.
    pub(super) const INTERVENTION: &str = "57";
    /// Disk errors.
    pub(super) const SYSTEM: &str = "58";
    /// Errors of foreign data wrappers, most of them outages of another server.
    pub(super) const FOREIGN_DATA: &str = "HV";
    /// Internal errors of PostgreSQL, and errors for which a pooler has no code.
    pub(super) const INTERNAL: &str = "XX";
    /// The classes that PostgreSQL itself does not use for an error of a single row.
    pub(super) const NEVER_A_ROW: [&str; 26] = [
        "00", "01", "02", "03", "08", "0A", "0B", "25", "26", "28", "2D", "34", "3B", "3D", "3F", "40", "42",
        "53", "54", "55", "57", "58", "72", "F0", "HV", "XX",
    ];
    /// The classes by which even a trigger's `raise` speaks of no row: to be tried again, or of what the server lacks.
    pub(super) const NEVER_A_ROW_IF_RAISED: [&str; 5] = [CONNECTION, "40", RESOURCES, INTERVENTION, SYSTEM];
}

/// Converts database errors to faults that name the action.
pub(super) trait During<T> {
    /// Converts an error while doing `what` to a fault.
    fn during(self, what: &str) -> Result<T, Fault>;
}

impl<T> During<T> for Result<T, sqlx::Error> {
    fn during(self, what: &str) -> Result<T, Fault> {
        self.map_err(|error| fault(error, what))
    }
}

/// The fault for an error while doing `what`.
pub(super) fn fault(error: sqlx::Error, what: &str) -> Fault {
    let code = error.as_database_error().map(code_of).unwrap_or_default();
    let refused = error.as_database_error().is_some_and(|answer| refuses_writes(&code, routine(answer)));
    let fault = Fault::new(kind(&error), what).because(error);
    if is_a_time_limit(&code) {
        fault.at_a_limit()
    } else if refused {
        fault.of_refused_writes()
    } else {
        fault
    }
}

/// The same, but distinguishes a refusal of single rows from all other errors.
pub(super) fn refused_or_fault(error: sqlx::Error, what: &str) -> StepFault {
    match error.as_database_error() {
        Some(answer) if says_it_of_a_row(answer) && !is_ours(answer) => {
            StepFault::Refused(answer.message().to_owned())
        }
        _ => StepFault::Fault(fault(error, what)),
    }
}

/// Other policies of row security bind this role than when the statements of this connection were planned. No server
/// rejects those: `alter role` outdates no plan, and rows that the old policies hid would stay hidden.
#[derive(Debug, thiserror::Error)]
#[error("other policies of row security bind this role than before")]
pub(super) struct BoundAnew;

/// Whether the server rejected a prepared statement because the tables have changed or the statement was
/// discarded.
pub(super) fn is_outgrown(fault: &Fault) -> bool {
    let error = fault.source().and_then(|cause| cause.downcast_ref::<sqlx::Error>());
    let answer = error.and_then(sqlx::Error::as_database_error);
    answer.is_some_and(|answer| is_stale(&code_of(answer), routine(answer)))
}

/// Whether a table or column of a statement does not exist (any more).
pub(super) fn names_something_gone(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().map(code_of);
    code.is_some_and(|code| code == code::NO_SUCH_TABLE || code == code::NO_SUCH_COLUMN)
}

/// Whether this role lacks a right that a statement needs.
pub(super) fn lacks_a_right(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|answer| code_of(answer) == code::NO_PRIVILEGE)
}

/// Whether nothing listens yet, or the server is still starting.
pub(super) fn may_come_up(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(cause) => cause.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(answer) => code_of(answer.as_ref()) == code::CANNOT_CONNECT_NOW,
        _ => false,
    }
}

/// Whether the server rejects us or has no such database. At the start this is more likely a wrong address
/// than a passing state.
pub(super) fn turns_away(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().map(code_of);
    code.is_some_and(|code| code == code::NO_SUCH_DATABASE || class_of(&code) == class::AUTHORIZATION)
}

/// Whether the server lets nobody into the database for now, as while it is restored, or a proxy cannot wake the
/// server. The severity says nothing: some proxies answer the start of a session with a mere error.
pub(super) fn shuts_out(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().map(code_of);
    code.is_some_and(|code| code == code::NOT_IN_STATE || class_of(&code) == class::INTERNAL)
}

/// The fault of a transaction that could not begin, whatever the code. Nothing of the work was tried, and sessions could
/// be started before, so it is no mistake of the work.
pub(super) fn not_begun(error: sqlx::Error, what: &str) -> Fault {
    match kind(&error) {
        FaultKind::Unavailable => fault(error, what),
        _ => Fault::new(FaultKind::Unavailable, what).because(error),
    }
}

/// Whether the start of our session was rejected, as PgBouncer does with unknown settings.
pub(super) fn refuses_our_start(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|answer| code_of(answer) == code::PROTOCOL_VIOLATION)
}

/// The reaction that an error calls for.
pub(super) fn kind(error: &sqlx::Error) -> FaultKind {
    match error {
        sqlx::Error::Database(answer) if ends_session(answer.as_ref()) => FaultKind::Unavailable,
        sqlx::Error::Database(answer) => kind_of(&code_of(answer.as_ref()), routine(answer.as_ref())),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => FaultKind::Unavailable,
        // An interrupted conversation can end in the middle of a message.
        sqlx::Error::Protocol(_) => FaultKind::Retryable,
        _ => FaultKind::Permanent,
    }
}

/// Whether an internal error ended or refused a session: the poolers of hosted databases report in this way
/// that they have no free connection.
fn ends_session(answer: &dyn DatabaseError) -> bool {
    let severity = answer.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
    let fatal = matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic));
    fatal && class_of(&code_of(answer)) == class::INTERNAL
}

fn code_of(answer: &dyn DatabaseError) -> String {
    answer.code().map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// Whether a row is refused by the server itself, or by the body of a trigger.
fn says_it_of_a_row(answer: &dyn DatabaseError) -> bool {
    let (code, routine) = (code_of(answer), routine(answer));
    refuses_a_row(&code, routine)
        || (is_in_a_function(answer) && fails_in_a_function(&code) && !GIVES_NUMBERS.contains(&routine))
}

/// What a trigger says of a row is no outage, even if its code is that of one.
fn kind_of(code: &str, routine: &str) -> FaultKind {
    match routine {
        _ if GIVES_NUMBERS.contains(&routine) => FaultKind::Unavailable,
        _ if refuses_a_row(code, routine) => FaultKind::Permanent,
        _ => kind_of_code(code),
    }
}

fn kind_of_code(code: &str) -> FaultKind {
    match code {
        code::SERIALIZATION_FAILURE
        | code::STATEMENT_COMPLETION_UNKNOWN
        | code::DEADLOCK
        | code::LOCK_NOT_AVAILABLE
        | code::QUERY_CANCELED
        | code::IDLE_IN_TRANSACTION
        | code::TRANSACTION_TIMEOUT => FaultKind::Retryable,
        code::READ_ONLY | code::NO_SUCH_DATABASE => FaultKind::Unavailable,
        _ => match class_of(code) {
            class::CONNECTION
            | class::AUTHORIZATION
            | class::RESOURCES
            | class::INTERVENTION
            | class::SYSTEM => FaultKind::Unavailable,
            _ => FaultKind::Permanent,
        },
    }
}

/// Time limits that a smaller amount of work may keep. After the two limits of an open transaction, the
/// server has closed the connection.
fn is_a_time_limit(code: &str) -> bool {
    [code::LOCK_NOT_AVAILABLE, code::QUERY_CANCELED, code::IDLE_IN_TRANSACTION, code::TRANSACTION_TIMEOUT]
        .contains(&code)
}

/// Whether the server answers but lacks what this write needs: its disk is full or fails, or it has no memory, or no
/// numbers for transactions until it is vacuumed. A smaller write may succeed, unlike on a server that is read-only. Too
/// many connections are no such refusal, since no statement was tried.
fn refuses_writes(code: &str, routine: &str) -> bool {
    let lacks_something = [class::RESOURCES, class::SYSTEM].contains(&class_of(code));
    (lacks_something && code != code::TOO_MANY_CONNECTIONS) || GIVES_NUMBERS.contains(&routine)
}

/// A constraint, a trigger's `raise` under whatever code, a policy of row security, a publication, or an unsuitable
/// value: other rows, or rows of other tables, may still be changed. A rule forbids the statement that changes
/// everything, but may allow plain ones.
fn refuses_a_row(code: &str, routine: &str) -> bool {
    match code {
        _ if routine == RAISES => {
            !is_a_time_limit(code) && !class::NEVER_A_ROW_IF_RAISED.contains(&class_of(code))
        }
        code::NOT_IN_STATE => true,
        code::NO_PRIVILEGE => routine == CHECKS_POLICIES,
        code::FEATURE_NOT_SUPPORTED => !is_stale(code, routine),
        _ => !code.is_empty() && !class::NEVER_A_ROW.contains(&class_of(code)),
    }
}

/// Whether an error inside a function concerns the rows for which that was called. Our own statements have no such
/// mistakes, and other rows may not call it.
fn fails_in_a_function(code: &str) -> bool {
    let elsewhere = class_of(code) == class::FOREIGN_DATA;
    !elsewhere
        && kind_of_code(code) == FaultKind::Permanent
        && !class::NEVER_A_ROW_IF_RAISED.contains(&class_of(code))
}

/// Whether the server was in a function when it met the error, such as that of a trigger.
fn is_in_a_function(answer: &dyn DatabaseError) -> bool {
    answer.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::r#where).is_some()
}

/// Whether a table of our own refused its row: no row of the application's is to blame. Not where a number of ours is
/// taken, since the next try takes the next one.
fn is_ours(answer: &dyn DatabaseError) -> bool {
    let of_policy = routine(answer) == CHECKS_POLICIES && answer.message().contains(OURS);
    let of_constraint = answer.table().is_some_and(|table| table.starts_with(OURS));
    of_policy || (of_constraint && code_of(answer) != code::NUMBER_TAKEN)
}

fn is_stale(code: &str, routine: &str) -> bool {
    code == code::NO_SUCH_STATEMENT || (code == code::FEATURE_NOT_SUPPORTED && routine == PLANS_ANEW)
}

/// The server's routine that raised the error; messages depend on the server's language, routines do not.
fn routine(answer: &dyn DatabaseError) -> &str {
    answer.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::routine).unwrap_or_default()
}

/// What the names of our own tables begin with.
const OURS: &str = "tikkun_";
/// Rejects a row that violates a policy of row security.
const CHECKS_POLICIES: &str = "ExecWithCheckOptions";
/// Give each transaction its number, and rows that several have locked theirs.
const GIVES_NUMBERS: [&str; 2] = ["GetNewTransactionId", "GetNewMultiXactId"];
/// Executes `raise` in PL/pgSQL.
const RAISES: &str = "exec_stmt_raise";
/// Finds that a prepared statement's result would have another form now.
const PLANS_ANEW: &str = "RevalidateCachedQuery";

fn class_of(code: &str) -> &str {
    code.get(..2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_waited_for_unlucky_tries_repeated_and_mistakes_told() {
        let table = [
            ("08006", FaultKind::Unavailable),
            ("25006", FaultKind::Unavailable),
            ("28P01", FaultKind::Unavailable),
            ("53300", FaultKind::Unavailable),
            ("57P01", FaultKind::Unavailable),
            ("57P02", FaultKind::Unavailable),
            ("57P03", FaultKind::Unavailable),
            ("58030", FaultKind::Unavailable),
            ("40001", FaultKind::Retryable),
            ("40P01", FaultKind::Retryable),
            ("55P03", FaultKind::Retryable),
            ("57014", FaultKind::Retryable),
            ("42703", FaultKind::Permanent),
            ("42501", FaultKind::Permanent),
            ("23505", FaultKind::Permanent),
            ("", FaultKind::Permanent),
        ];
        for (code, expected) in table {
            assert_eq!(kind_of_code(code), expected, "{code}");
        }
        assert_eq!(kind(&sqlx::Error::PoolTimedOut), FaultKind::Unavailable);
    }

    #[test]
    fn constraints_and_triggers_refuse_rows_and_nothing_else_does() {
        for code in ["23503", "23514", "22001", "P0001", "44000", "45000", "T0001"] {
            assert!(refuses_a_row(code, ""), "{code}");
        }
        for code in ["42703", "42501", "40P01", "55P03", "57014", "53300", "25006", "XX000", ""] {
            assert!(!refuses_a_row(code, ""), "{code}");
        }
        for code in ["55000", "28000", "25006", "54000", "42501", "42704", "XX000", "02000"] {
            assert!(refuses_a_row(code, RAISES), "{code} of a trigger's own");
            assert_eq!(kind_of(code, RAISES), FaultKind::Permanent, "{code}");
        }
        for code in ["40001", "55P03", "57014", "53400", "58030", "08000"] {
            assert!(!refuses_a_row(code, RAISES), "{code}");
            assert_eq!(kind_of(code, RAISES), kind_of_code(code), "{code}");
        }
        assert_eq!(kind_of("28000", "ClientAuthentication"), FaultKind::Unavailable);
        assert!(refuses_a_row("55000", "CheckCmdReplicaIdentity"));
        assert!(refuses_a_row("42501", CHECKS_POLICIES) && !refuses_a_row("42501", "aclcheck_error"));
        assert!(refuses_a_row("0A000", "RewriteQuery") && !refuses_a_row("0A000", PLANS_ANEW));
    }

    #[test]
    fn mistakes_inside_a_function_concern_a_row_and_outages_there_do_not() {
        for code in ["42P01", "42883", "42501", "3F000", "22012", "54001", "XX000"] {
            assert!(fails_in_a_function(code), "{code}");
        }
        for code in ["08001", "HV00N", "53100", "57014", "40P01", "28P01", "25006", "58030"] {
            assert!(!fails_in_a_function(code), "{code}");
        }
    }

    #[test]
    fn only_a_limit_in_time_asks_for_less_work() {
        for code in ["25P03", "25P04", "57014", "55P03"] {
            assert!(is_a_time_limit(code) && kind_of_code(code) == FaultKind::Retryable, "{code}");
        }
        for code in ["40P01", "25006", "57P01", "08006", ""] {
            assert!(!is_a_time_limit(code), "{code}");
        }
    }

    #[test]
    fn full_disk_refuses_writes_and_a_row_or_a_lost_connection_does_not() {
        for code in ["53000", "53100", "53200", "53400", "58030"] {
            assert!(refuses_writes(code, "") && kind_of_code(code) == FaultKind::Unavailable, "{code}");
            assert!(!refuses_a_row(code, RAISES), "{code}");
        }
        for code in [
            "25006", "53300", "08006", "28P01", "57P01", "57P03", "40P01", "57014", "23514", "P0001",
            "42501", "",
        ] {
            assert!(!refuses_writes(code, ""), "{code}");
        }
    }

    /// "Database is not accepting commands to avoid wraparound data loss".
    #[test]
    fn server_without_numbers_for_transactions_takes_no_writes() {
        for routine in GIVES_NUMBERS {
            assert!(refuses_writes("54000", routine) && !refuses_a_row("54000", routine), "{routine}");
            assert_eq!(kind_of("54000", routine), FaultKind::Unavailable, "{routine}");
        }
        assert!(!refuses_writes("54000", "heap_insert"), "a row that is too big");
        assert_eq!(kind_of("54000", "heap_insert"), FaultKind::Permanent);
    }
}
