//! Objects in a bucket of S3, of R2, or of anything else that speaks S3's protocol.
//!
//! Where a bucket lies and with which keys it opens is in `place`; [`Bucket`] is the adapter. Deletions
//! go in bulk (`bulk`) or one by one (`single`), refusals are put into words in `refusal`.

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
