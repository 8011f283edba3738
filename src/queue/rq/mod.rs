//! The broker on Redis, in the format of Python's RQ.

#[cfg_attr(not(test), expect(dead_code, reason = "the broker that reads and writes with it comes next"))]
#[expect(unused_imports, reason = "the broker that reads and writes with it comes next")]
mod codec;
