//! What the broker does for jobs whose code is in another language.

mod ends;
mod hashes;
