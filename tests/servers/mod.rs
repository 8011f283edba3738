//! Servers for the tests, each on a free port and in its own folder.

pub mod postgres;
pub mod redis;
pub mod s3;
