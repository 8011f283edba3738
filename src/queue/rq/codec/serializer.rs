//! RQ's serializers.

use super::limits::Limits;
use super::refusal::Refusal;
use super::{json, pickle};
use crate::job::exact::Exact;

/// The serializer of a job. Redis does not store its name; the result must be written with the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serializer {
    /// RQ's default.
    #[default]
    Pickle,
    /// RQ's `JSONSerializer`.
    Json,
}

impl Serializer {
    /// Detects the serializer by the first byte; `None` if it is neither.
    #[must_use]
    pub fn detect(payload: &[u8]) -> Option<Self> {
        match payload.first()? {
            0x80 => Some(Self::Pickle),
            b'[' | b'{' => Some(Self::Json),
            _ => None,
        }
    }

    /// Reads a payload.
    pub(super) fn read(self, payload: &[u8], limits: &Limits) -> Result<Exact, Refusal> {
        match self {
            Self::Pickle => pickle::read(payload, limits).map_err(|stopped| stopped.refusal),
            Self::Json => json::read(payload, limits),
        }
    }

    /// Writes a value.
    pub(super) fn write(self, value: &Exact) -> Vec<u8> {
        match self {
            Self::Pickle => pickle::write(value),
            Self::Json => json::write(value).into_bytes(),
        }
    }

    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pickle => "pickle",
            Self::Json => "JSON",
        }
    }
}
