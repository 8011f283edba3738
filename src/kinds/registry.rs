//! The registry of Tikkun's own kinds.

use super::diagnostics;
use crate::deletion::DeleteReceipts;
use crate::job::{Job as _, KindClash, KindName, Registry};

/// All kinds of jobs of a process: its `own` ones and those of Tikkun, of which the test jobs only with
/// `diagnostics`.
#[must_use]
pub fn registry(own: Registry, delete_receipts: DeleteReceipts, diagnostics: bool) -> Registry {
    let registry = own.with(delete_receipts);
    if diagnostics { diagnostics::register(registry) } else { registry }
}

/// Checks that a process's own kinds do not use Tikkun's names, even those of disabled test jobs.
///
/// # Errors
/// The first name that is Tikkun's.
pub fn check_own(own: &Registry) -> Result<(), KindClash> {
    diagnostics::register(Registry::default()).apart_from(own)?;
    own.free_for::<DeleteReceipts>()
}

/// Whether this build has registered a function, by its full name or its last part.
#[must_use]
pub fn is_registered(function: &KindName, diagnostics: bool) -> bool {
    is_deletion(function.as_str())
        || (diagnostics && diagnostics::register(Registry::default()).find(function).is_ok())
}

/// Whether a function, by its full name or its last part, is the deletion of receipts.
#[must_use]
pub fn is_deletion(function: &str) -> bool {
    function == DeleteReceipts::NAME || DeleteReceipts::NAME.rsplit('.').next() == Some(function)
}
