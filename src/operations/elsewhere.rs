//! Whether the objects of attachments lie where this service would delete them. A store counts a missing object as
//! deleted, so with another bucket, folder or prefix than the application's every file would stay, without an error.

use crate::blob::{BlobStore, BlobTarget};
use crate::fault::Fault;
use crate::store::Receipts;

/// How many of the newest attachments are looked at.
const LOOK_AT: u32 = 10;
/// Fewer that are all missing may be lost, or not uploaded yet.
const ENOUGH: usize = 3;

/// The store in which none of the objects of the newest attachments is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    target: BlobTarget,
    keys: Vec<String>,
}

impl Elsewhere {
    /// Looks at some of them; `None` if one is there, or too few are known. A request for each until one is found.
    ///
    /// # Errors
    /// If the database or the store does not answer, or does not let us look.
    pub async fn look(receipts: &dyn Receipts, blobs: &dyn BlobStore) -> Result<Option<Self>, Fault> {
        let keys = receipts.newest_keys(LOOK_AT).await?;
        for key in &keys {
            if blobs.size(key).await?.is_some() {
                return Ok(None);
            }
        }
        Ok((keys.len() >= ENOUGH).then(|| Self { target: blobs.target().clone(), keys }))
    }

    /// In words, with an example.
    #[must_use]
    pub fn in_words(&self) -> String {
        let (BlobTarget { driver, bucket }, count) = (&self.target, self.keys.len());
        let place =
            if driver == "local" { format!("the folder {bucket}") } else { format!("the bucket `{bucket}`") };
        let example = self.keys.first().map(String::as_str).unwrap_or_default();
        format!("none of the objects of the newest {count} attachments is in {place}, {example:?} for one")
    }
}
