//! Servers of the tests' own, each on a free port in a folder of its own.

pub mod postgres;
pub mod redis;
pub mod s3;
