//! `[diagnostics]`: whether the service may be tried out from outside.

use crate::config::reader::Reader;

/// `[diagnostics]`.
#[derive(Clone, Debug)]
pub struct DiagnosticsSettings {
    /// Whether the jobs `tikkun.…` are there.
    pub enabled: bool,
}

impl DiagnosticsSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self { enabled: reader.get("diagnostics.enabled") }
    }
}
