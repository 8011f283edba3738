//! The folder that a store of files lies in: whether it is there, and still what it was when the service began.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, FaultKind};

/// The folder, and the disk it was on: after an unmount another one shows through at the same path.
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// As it was named, links and all.
    named: PathBuf,
    device: u64,
}

impl Root {
    /// Resolves the folder, making it if need be.
    pub(super) fn open(folder: &Path) -> Result<Self, Fault> {
        let failed =
            |what: &str, e| unavailable(&format!("{what} the attachments folder {}", folder.display()), e);
        fs::create_dir_all(folder).map_err(|e| failed("make", e))?;
        let path = folder.canonicalize().map_err(|e| failed("resolve", e))?;
        let device = fs::metadata(&path).map_err(|e| failed("look into", e))?.dev();
        let named = std::path::absolute(folder).map_err(|e| failed("resolve", e))?;
        Ok(Self { path, named, device })
    }

    /// Without its root nothing can be said about any key: a folder that is gone or not mounted must not
    /// look like one whose objects are all deleted, and one that was moved by turning a link not like the one that is in
    /// use.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let place = format!("look into the attachments folder {}", self.path.display());
        let now = self.named.canonicalize().map_err(|e| unavailable(&place, e))?;
        if now != self.path {
            let why = format!(
                "{} leads to {} now: a link was turned; restart the service to go on there",
                self.named.display(),
                now.display()
            );
            return Err(Fault::new(FaultKind::Unavailable, place).because(why));
        }
        let meta = fs::metadata(&self.path).map_err(|e| unavailable(&place, e))?;
        if !meta.is_dir() {
            return Err(unavailable(&place, ErrorKind::NotADirectory.into()));
        }
        if meta.dev() != self.device {
            return Err(
                Fault::new(FaultKind::Unavailable, place).because("another disk is mounted there now")
            );
        }
        Ok(())
    }
}

/// What `mkfs` puts into a file system of ext2, ext3 or ext4.
const NEW_DISK: &str = "lost+found";

/// A store with nothing in it says of no key that its object is gone: more likely the disk is not mounted that holds
/// them. What has ever held an object in a folder still has that folder. A half-written object, whose name begins with
/// `unfinished`, does not count, nor what a disk has that was made anew.
pub(super) fn holds_anything(root: &Path, unfinished: &str) -> Result<(), Fault> {
    let place = format!("delete objects in the attachments folder {}", root.display());
    let entries = fs::read_dir(root).map_err(|e| unavailable(&place, e))?;
    let is_none = |name: std::ffi::OsString| {
        name.as_encoded_bytes().starts_with(unfinished.as_bytes()) || name == NEW_DISK
    };
    if entries.flatten().any(|entry| !is_none(entry.file_name())) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Unavailable, place)
        .because("it is empty: the disk that holds the objects may not be mounted"))
}

pub(super) fn unavailable(what: &str, error: std::io::Error) -> Fault {
    Fault::new(FaultKind::Unavailable, what).because(error)
}
