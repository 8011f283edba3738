//! Where attachments lie: the port [`BlobStore`] and its adapters.

mod blob_store;
mod directory;
mod key_path;

use std::path::Path;
use std::sync::Arc;

pub use blob_store::{BlobStore, BlobTarget, KeyFault};

use crate::fault::Fault;

/// Opens a folder as a store, making it if it is not there.
///
/// # Errors
/// Unavailable when the folder can be neither made nor resolved.
pub async fn open_directory(folder: &Path) -> Result<Arc<dyn BlobStore>, Fault> {
    Ok(Arc::new(directory::Directory::open(folder).await?))
}
