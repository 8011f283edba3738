//! The jobs that Tikkun brings along: one file each, and one line in [`registry`].

mod delete_receipts;
mod deletion_pace;

use crate::job::Registry;

pub use delete_receipts::{DeleteReceipts, DeletionSettings};

/// Every kind of job of this build.
#[must_use]
pub fn registry(delete_receipts: DeleteReceipts) -> Registry {
    Registry::default().with(delete_receipts)
}
