//! Encodes and decodes the contents of RQ's fields: pure functions, without Redis.
//!
//! Read in this order: `call` (a job's `data`) and `head` (only its function), `outcome` (return values,
//! tracebacks and `meta`), `fields` (times and lists). Beneath them: `serializer` (pickle or JSON, detected
//! by the first byte), `pickle` (an interpreter that executes nothing), `json`, `zlib`, and `limits`, which
//! apply to all decoding.
//!
//! Every decoding error is a [`Refusal`]: a sentence that names the problem and never contains the payload.

mod call;
mod fields;
mod head;
mod json;
mod limits;
mod outcome;
mod pickle;
mod refusal;
mod serializer;
mod zlib;

#[cfg(test)]
mod tests;

pub use call::{decode_call, encode_call};
pub use fields::{parse_intervals, parse_timestamp, write_intervals};
pub use head::Heads;
pub use json::write as write_json;
pub use limits::Limits;
pub use outcome::{
    decode_exc, decode_meta, decode_result, encode_exc, encode_meta, encode_payload, encode_result,
    encode_retry,
};
pub use serializer::Serializer;
