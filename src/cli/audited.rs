//! The audit line for a change by a command, as for a change by HTTP.

use super::OK;
use super::ending::Complaint;
use crate::operations::AuditLine;

/// The principal in audit lines of commands.
pub(super) const COMMAND_LINE: &str = "command line";

/// Makes the change, then logs an audit line with the command and its exit code.
pub(super) async fn audited(
    (who, words): (&str, String),
    change: impl Future<Output = Result<(), Complaint>>,
) -> Result<(), Complaint> {
    let line = AuditLine::begin(who, words, None);
    let ended = change.await;
    line.end(ended.as_ref().map_or_else(Complaint::code, |()| OK).into());
    ended
}
