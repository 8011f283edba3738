//! Where attachments lie: the port [`BlobStore`] and its adapters.

mod blob_store;

pub use blob_store::{BlobStore, BlobTarget, KeyFault};
