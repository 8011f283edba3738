//! The line in the log that a change by a command leaves, as one by HTTP does.

use super::OK;
use super::ending::Complaint;
use crate::operations::AuditLine;

/// Who types commands, for the record.
pub(super) const COMMAND_LINE: &str = "command line";

/// Carries out what the words of the command ask for, and leaves the line with its exit code.
pub(super) async fn audited(
    (who, words): (&str, String),
    change: impl Future<Output = Result<(), Complaint>>,
) -> Result<(), Complaint> {
    let line = AuditLine::begin(who, words, None);
    let ended = change.await;
    line.end(ended.as_ref().map_or_else(Complaint::code, |()| OK).into());
    ended
}
