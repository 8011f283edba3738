//! The kinds of job that Tikkun brings along: the deletion of receipts, and small ones to try a service with.

mod diagnostics;
mod registry;

pub use diagnostics::Echo;
pub use registry::{check_own, is_deletion, is_registered, names, registry};
