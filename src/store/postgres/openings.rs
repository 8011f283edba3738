//! The statements that begin transactions.

use std::sync::Arc;

use crate::config::PostgresSettings;
use crate::store::keep_rules::text;

/// A commit returns only after it is on disk, even if the database is configured otherwise: objects are
/// deleted from storage afterwards, and their rows must not come back after a crash of the server.
const DURABLE: &str =
    "select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'";

/// The statements that begin a transaction, sent as one message with one answer.
pub(super) struct Openings {
    /// For a writing transaction.
    pub(super) write: Arc<str>,
    /// For a deletion batch.
    pub(super) batch: Arc<str>,
    /// For reads that must be consistent with each other.
    pub(super) read: Arc<str>,
}

impl Openings {
    pub(super) fn new(settings: &PostgresSettings, path: &str) -> Self {
        // Not every pooler forwards the session's time zone, in which times without a zone are read. Another
        // client may have left a search path in a pooler's session that leads to other tables of the same
        // names, or temporary tables, which come first unless the path says otherwise.
        let path = text(&temporary_last(path));
        // A session whose connection a firewall or a failover has forgotten waits for us for hours, and keeps the locks
        // that our next tries need. A limit that somebody has set holds as it is.
        let limits = format!(
            "set local timezone = 'UTC'; set local statement_timeout = {longest}; set local lock_timeout = {}; \
             select case current_setting('idle_in_transaction_session_timeout') when '0' then \
             set_config('idle_in_transaction_session_timeout', '{longest}', true) end, \
             case current_setting('search_path') when {path} then null else set_config('search_path', {path}, true) end",
            settings.lock_timeout.as_millis(),
            longest = settings.statement_timeout.as_millis(),
        );
        // Each statement sees everything committed before it began, whatever the database's default: reads
        // under a lock return the newest data.
        let write = format!("begin isolation level read committed; {limits}; {DURABLE}");
        Self {
            // A deferred constraint would blame the whole batch at the commit instead of a row.
            batch: format!("{write}; set constraints all immediate").into(),
            write: write.into(),
            // All statements see one snapshot.
            read: format!("begin isolation level repeatable read read only; {limits}").into(),
        }
    }
}

/// The search path with the session's temporary tables at its end.
fn temporary_last(path: &str) -> String {
    if path.trim().is_empty() { "pg_temp".to_owned() } else { format!("{path}, pg_temp") }
}
