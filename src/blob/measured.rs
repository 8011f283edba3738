//! A blob store that counts each call under its own name and changes nothing else.

use std::sync::Arc;

use async_trait::async_trait;

use super::blob_store::{BlobStore, BlobTarget, KeyFault};
use crate::fault::Fault;
use crate::measure::BackendCalls;

/// A store with its counters.
struct Measured<S> {
    store: S,
    calls: BackendCalls,
}

/// Wraps a store so that calls are counted for this engine.
pub(super) fn measured(store: impl BlobStore, engine: &'static str) -> Arc<dyn BlobStore> {
    Arc::new(Measured { store, calls: BackendCalls::to("storage", engine) })
}

#[async_trait]
impl<S: BlobStore> BlobStore for Measured<S> {
    fn target(&self) -> &BlobTarget {
        self.store.target()
    }

    fn max_keys(&self) -> usize {
        self.store.max_keys()
    }

    fn bulk_refusal(&self) -> Option<String> {
        self.store.bulk_refusal()
    }

    async fn put(&self, key: &str, content: &[u8]) -> Result<(), Fault> {
        self.calls.timed("put", self.store.put(key, content)).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, Fault> {
        self.calls.timed("size", self.store.size(key)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<Vec<KeyFault>, Fault> {
        let answer = self.calls.timed("delete", self.store.delete(keys)).await;
        for left in answer.iter().flatten() {
            self.calls.fault("delete", &left.fault);
        }
        answer
    }

    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<String>, Fault> {
        self.calls.timed("list", self.store.list(prefix, max)).await
    }

    async fn check(&self) -> Result<(), Fault> {
        self.calls.timed("check", self.store.check()).await
    }
}
