//! The storage of attachments: the port [`BlobStore`] and its adapters.

mod blob_store;
mod directory;
mod key_path;
mod measured;
mod own_threads;
mod paced;
mod root;
mod s3;

use std::path::Path;
use std::sync::Arc;

pub use blob_store::{BlobStore, BlobTarget, KeyFault};
pub use s3::{S3Keys, S3Place, S3Way};

use crate::failpoint;
use crate::fault::Fault;
use measured::measured;
use own_threads::OwnThreads;
use paced::Paced;

/// Opens a folder as a store, and creates it if missing.
///
/// # Errors
/// Unavailable when the folder can be neither created nor resolved.
pub async fn open_directory(folder: &Path) -> Result<Arc<dyn BlobStore>, Fault> {
    Ok(measured(Paced::new(directory::Directory::open(folder).await?), "directory"))
}

/// Whether there is a folder. This takes as long as the disk takes to answer, and may be dropped at any time.
///
/// # Errors
/// Retryable when no thread can be had.
pub async fn is_directory(folder: &Path) -> Result<bool, Fault> {
    let folder = folder.to_owned();
    let look = move || {
        failpoint::reach("directory.open");
        Ok(folder.is_dir())
    };
    OwnThreads::new().run(look).await
}

/// Opens a bucket as a store. It sends no request, so an outage does not show here.
///
/// # Errors
/// Permanent when the bucket's region is unknown.
pub async fn open_s3(place: S3Place) -> Result<Arc<dyn BlobStore>, Fault> {
    Ok(measured(Paced::new(s3::Bucket::open(place).await?), "s3"))
}
