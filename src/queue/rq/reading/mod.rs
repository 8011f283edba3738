//! Reads jobs without changing them: one by its id, lists with filters, searches, and attempts.

pub(super) mod attempts;
pub(super) mod listing;
pub(super) mod look;
mod outline;
pub(super) mod search;
