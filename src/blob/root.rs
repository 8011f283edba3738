//! The root folder of a directory store: whether it exists, and is still the folder of the start.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, FaultKind};

/// The folder and its disk: after an unmount another disk's folder appears at the same path.
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// The path as configured, with its links.
    named: PathBuf,
    device: u64,
}

impl Root {
    /// Resolves the folder, and creates it if missing.
    pub(super) fn open(folder: &Path) -> Result<Self, Fault> {
        let failed =
            |what: &str, e| unavailable(&format!("{what} the attachments folder {}", folder.display()), e);
        fs::create_dir_all(folder).map_err(|e| failed("make", e))?;
        let path = folder.canonicalize().map_err(|e| failed("resolve", e))?;
        let device = fs::metadata(&path).map_err(|e| failed("look into", e))?.dev();
        let named = std::path::absolute(folder).map_err(|e| failed("resolve", e))?;
        Ok(Self { path, named, device })
    }

    /// Checks that the root is unchanged. A folder that is missing or not mounted must not look like one
    /// whose objects are all deleted; neither must another folder after its link was changed.
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

/// Folders that are no sign of objects: one that `mkfs` creates in an ext2, ext3 or ext4 file system, and one that our
/// self-test leaves.
const NO_SIGN: [&str; 2] = ["lost+found", "tikkun-selftest"];

/// Whether an object of this key that is missing may lie on a disk that is not mounted: not one of the self-test, which
/// works in a folder that is no sign of objects.
pub(super) fn may_be_elsewhere(key: &str) -> bool {
    key.split_once('/').is_some_and(|(folder, _)| !NO_SIGN.contains(&folder))
}

/// Fails if the store is empty, because then the disk with the objects is probably not mounted, and no object
/// may be reported as gone. Folders of earlier objects remain, so they show a used store. Hidden names do not count:
/// half-written objects, and what applications and systems keep in empty folders, such as `.gitkeep`.
pub(super) fn holds_anything(root: &Path) -> Result<(), Fault> {
    let place = format!("delete objects in the attachments folder {}", root.display());
    let entries = fs::read_dir(root).map_err(|e| unavailable(&place, e))?;
    let is_sign = |name: std::ffi::OsString| {
        !name.as_encoded_bytes().starts_with(b".") && NO_SIGN.iter().all(|none| name != *none)
    };
    if entries.flatten().any(|entry| is_sign(entry.file_name())) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Unavailable, place)
        .because("it is empty: the disk that holds the objects may not be mounted"))
}

pub(super) fn unavailable(what: &str, error: std::io::Error) -> Fault {
    Fault::new(FaultKind::Unavailable, what).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_where_a_disk_is_not_mounted_is_no_sign_of_objects() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["lost+found", "tikkun-selftest", ".snapshot", ".tikkun-check"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join(".gitkeep"), "").unwrap();
        let fault = holds_anything(folder.path()).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable);
        assert!(fault.chain().contains("may not be mounted"), "{}", fault.chain());
        fs::create_dir(folder.path().join("7")).unwrap();
        holds_anything(folder.path()).unwrap();
    }
}
