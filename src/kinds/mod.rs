//! Tikkun's own kinds of jobs: the deletion of receipts, and small ones for testing a service.

mod diagnostics;
mod registry;

pub use diagnostics::Echo;
pub use registry::{check_own, is_deletion, is_registered, names, registry};
