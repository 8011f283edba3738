//! The broker on Redis, in the format of Python's RQ.

#[allow(dead_code, unused_imports, reason = "the broker that reads and writes with it comes next")]
mod codec;
