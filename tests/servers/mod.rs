//! Servers for the tests, each on a free port and in its own folder.

pub mod clock;
pub mod copy_on_write_disk;
pub mod http;
pub mod line;
pub mod postgres;
pub mod redis;
pub mod s3;
pub mod small_disk;
