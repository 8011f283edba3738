//! The fields of a frame as what they stand for.

use serde::de::DeserializeOwned;

use super::frame::{Frame, FrameError};

/// Reads the fields of a frame.
pub(super) struct Fields<'a>(pub(super) &'a Frame);

impl Fields<'_> {
    pub(super) fn wrong(&self, expected: &str) -> FrameError {
        FrameError::NotUnderstood { kind: self.0.kind, what: format!("expected {expected}") }
    }

    fn bytes(&self, at: usize) -> &[u8] {
        self.0.fields.get(at).map_or(&[], Vec::as_slice)
    }

    /// Text that Python wrote with `surrogateescape`; what is not UTF-8 is shown as such.
    pub(super) fn text(&self, at: usize) -> String {
        String::from_utf8_lossy(self.bytes(at)).into_owned()
    }

    pub(super) fn number<N: std::str::FromStr>(&self, at: usize, expected: &str) -> Result<N, FrameError> {
        self.text(at).parse().map_err(|_| self.wrong(&format!("{expected}, not `{}`", self.text(at))))
    }

    /// The id of a process that may be signalled: never 0 or 1, which would mean others.
    pub(super) fn pid(&self, at: usize) -> Result<u32, FrameError> {
        let pid: u32 = self.number(at, "a process id")?;
        let is_sound = pid > 1 && i32::try_from(pid).is_ok();
        is_sound.then_some(pid).ok_or_else(|| self.wrong(&format!("a process id, not `{pid}`")))
    }

    pub(super) fn json<T: DeserializeOwned>(&self, at: usize, expected: &str) -> Result<T, FrameError> {
        serde_json::from_slice(self.bytes(at)).map_err(|e| self.wrong(&format!("{expected} as JSON: {e}")))
    }
}
