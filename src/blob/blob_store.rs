//! The port for an object store.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// The identity of a store, so that a key can still be deleted after the configuration has changed.
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
    /// Its index in the request's list.
    pub index: usize,
    /// The reason.
    pub fault: Fault,
}

/// A store of objects under keys.
///
/// A key that the store does not support is refused as permanent: a folder takes relative paths inside it, S3
/// any text. A key is never reused, so deleting is safe to repeat, and a missing object counts as deleted.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// The identity of this store.
    fn target(&self) -> &BlobTarget;

    /// The most keys for one call of [`delete`](Self::delete) at this time. It may change: a bucket that
    /// deletes keys only one by one takes fewer, and so does a store that did not answer in time.
    fn max_keys(&self) -> usize;

    /// The store's error text when it refused to delete many objects in one request; `None` if it accepts
    /// that or was not asked.
    fn bulk_refusal(&self) -> Option<String> {
        None
    }

    /// Writes an object. After success it survives a crash of the machine.
    async fn put(&self, key: &str, content: &[u8]) -> Result<(), Fault>;

    /// The object's size in bytes; `None` if there is no such object.
    async fn size(&self, key: &str) -> Result<Option<u64>, Fault>;

    /// Deletes objects; returns the keys that still exist. A fault of the whole call says nothing about
    /// single keys.
    async fn delete(&self, keys: &[String]) -> Result<Vec<KeyFault>, Fault>;

    /// Keys that begin with `prefix`, in order, at most `max`.
    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<String>, Fault>;

    /// Returns `Ok` if the store answers and accepts writes.
    async fn check(&self) -> Result<(), Fault>;
}
