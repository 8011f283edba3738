//! The port: what Tikkun needs of a place where objects lie.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// Which store, so that a key can still be deleted after the configuration has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobTarget {
    /// `local`, `r2` or `s3`.
    pub driver: String,
    /// The bucket; for `local` the folder.
    pub bucket: String,
}

/// A key that could not be deleted.
#[derive(Debug)]
pub struct KeyFault {
    /// Its place in the list that was asked for.
    pub index: usize,
    /// Why.
    pub fault: Fault,
}

/// A place where objects lie under keys.
///
/// What a store cannot hold under a key is refused as permanent: a folder takes relative paths that stay inside, S3
/// takes any text. A key is never used twice, so deleting is safe to repeat, and a missing object counts as deleted.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Which store this is.
    fn target(&self) -> &BlobTarget;

    /// The most keys that one call of [`delete`](Self::delete) should be given now. It may change: a bucket
    /// that takes keys only one by one wants fewer.
    fn max_keys(&self) -> usize;

    /// The words with which the store has refused to delete many objects in one request; none while it takes that,
    /// or has not been asked.
    fn bulk_refusal(&self) -> Option<String> {
        None
    }

    /// Writes an object. After success it survives a crash of the machine.
    async fn put(&self, key: &str, content: &[u8]) -> Result<(), Fault>;

    /// The object's size in bytes; none: no such object.
    async fn size(&self, key: &str) -> Result<Option<u64>, Fault>;

    /// Deletes objects; the answer names the keys that are still there. A fault of the whole call
    /// says nothing about any key.
    async fn delete(&self, keys: &[String]) -> Result<Vec<KeyFault>, Fault>;

    /// Keys that begin with `prefix`, in order, at most `max`.
    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<String>, Fault>;

    /// Completes when the store answers and can be written to.
    async fn check(&self) -> Result<(), Fault>;
}
