//! Every kind that Tikkun brings along, by its name.

use super::diagnostics;
use crate::deletion::{DeleteReceipts, DeleteReceiptsArgs};
use crate::job::{BackgroundJobId, Job as _, JobRecord, KindClash, KindName, Registry};

/// Every kind of job of a process: its `own`, and those that Tikkun brings along, of which those for trying
/// it out only with `diagnostics`.
#[must_use]
pub fn registry(own: Registry, delete_receipts: DeleteReceipts, diagnostics: bool) -> Registry {
    let registry = own.with(delete_receipts);
    if diagnostics { diagnostics::register(registry) } else { registry }
}

/// Whether a process's own kinds leave Tikkun's alone, those that are turned off included.
///
/// # Errors
/// The first name that is Tikkun's.
pub fn check_own(own: &Registry) -> Result<(), KindClash> {
    diagnostics::register(Registry::default()).apart_from(own)?;
    own.free_for::<DeleteReceipts>()
}

/// Whether this build runs a function, under its full name or its last part.
#[must_use]
pub fn is_registered(function: &KindName, diagnostics: bool) -> bool {
    is_deletion(function.as_str())
        || (diagnostics && diagnostics::register(Registry::default()).find(function).is_ok())
}

/// Whether a function, under its full name or its last part, is the deletion of receipts.
#[must_use]
pub fn is_deletion(function: &str) -> bool {
    function == DeleteReceipts::NAME || DeleteReceipts::NAME.rsplit('.').next() == Some(function)
}

/// The row of `background_jobs` that a queue job carries; none for jobs of other kinds.
#[must_use]
pub fn carried_row(entry: &JobRecord) -> Option<BackgroundJobId> {
    let args = entry.args.as_ref().ok().filter(|_| is_deletion(entry.kind.as_str()))?;
    let read = args.read::<DeleteReceiptsArgs>(DeleteReceipts::PARAMETERS).ok()?;
    Some(BackgroundJobId(read.background_job_id))
}
