//! How transactions begin.

use std::sync::Arc;

use crate::config::PostgresSettings;
use crate::store::keep_rules::text;

/// A commit is answered when it is on the disk, also where the database does not wait for that: what is deleted from
/// storage afterwards may not come back with a crash of the server.
const DURABLE: &str =
    "select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'";

/// What begins a transaction: one message, answered once.
pub(super) struct Openings {
    /// For a transaction that writes.
    pub(super) write: Arc<str>,
    /// For a batch of a deletion.
    pub(super) batch: Arc<str>,
    /// For reads that must agree with each other.
    pub(super) read: Arc<str>,
}

impl Openings {
    pub(super) fn new(settings: &PostgresSettings, path: &str) -> Self {
        // Not every pooler passes on which zone a session asks for, and times without a zone are read in it. Somebody else
        // may have left a path in a pooler's session that leads to other tables of the same names.
        let path = text(path);
        let limits = format!(
            "set local timezone = 'UTC'; set local statement_timeout = {}; set local lock_timeout = {}; \
             select set_config('search_path', {path}, true) where current_setting('search_path') <> {path}",
            settings.statement_timeout.as_millis(),
            settings.lock_timeout.as_millis()
        );
        // Each statement sees what was committed before it began, whatever the database's default: what is
        // read under a lock is the newest there is.
        let write = format!("begin isolation level read committed; {limits}; {DURABLE}");
        Self {
            // A constraint that waits for the commit would blame the whole batch instead of a row.
            batch: format!("{write}; set constraints all immediate").into(),
            write: write.into(),
            // All statements see one moment.
            read: format!("begin isolation level repeatable read read only; {limits}").into(),
        }
    }
}
