//! What brings the parts together.

pub mod logging;
