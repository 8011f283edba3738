//! The log lines that users and scripts rely on.

/// The tracing target of those lines. In text mode they are written unchanged and without fields; in JSON
/// mode with their fields.
pub const USER_LOG: &str = "tikkun::story";
