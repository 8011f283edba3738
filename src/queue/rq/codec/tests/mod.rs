//! Tests of the codec with Python's own bytes, random data, and malicious payloads.

mod chance;
mod changed;
mod hostile;
mod python;

use serde_json::Value;

use super::limits::Limits;
use super::pickle;
use super::refusal::Refusal;
use crate::job::exact::Exact;

/// Reads a pickle with the default limits.
fn read(payload: &[u8]) -> Result<Exact, Refusal> {
    pickle::read(payload, &Limits::default()).map_err(|stopped| stopped.refusal)
}

/// Converts hex to bytes.
fn bytes(hex: &str) -> Vec<u8> {
    hex.trim()
        .as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The table of values of every kind, by name.
fn table() -> serde_json::Map<String, Value> {
    serde_json::from_str(include_str!("../../../../../tests/rq/values.json")).unwrap()
}
