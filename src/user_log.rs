//! The lines that people and scripts know by heart.

/// The tracing target of those lines: in text mode they are written letter for letter, without fields;
/// in JSON mode the same facts are fields.
pub const USER_LOG: &str = "tikkun::story";
