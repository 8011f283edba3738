//! `[diagnostics]`: whether the test jobs `tikkun.*` are registered.

use crate::config::reader::Reader;

/// `[diagnostics]`.
#[derive(Clone, Debug)]
pub struct DiagnosticsSettings {
    /// Whether the jobs `tikkun.*` are registered.
    pub enabled: bool,
}

impl DiagnosticsSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self { enabled: reader.get("diagnostics.enabled") }
    }
}
