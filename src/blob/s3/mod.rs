//! Objects in a bucket of S3, R2, or another store with S3's protocol.
//!
//! `place` has the bucket's location and access keys; [`Bucket`] is the adapter. Deletions are done in bulk
//! (`bulk`) or one by one (`single`); `refusal` describes errors.

mod bucket;
mod bulk;
mod key;
mod patience;
mod place;
mod refusal;
mod single;
mod versions;

pub(super) use bucket::Bucket;
pub use place::{S3Keys, S3Place, S3Way};
