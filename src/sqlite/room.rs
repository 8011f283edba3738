//! The room that the disk of a file has left.

use std::io;
use std::path::Path;

use rustix::fs::statvfs;
use rustix::process::geteuid;

/// With less the logs are kept short, so that they do not take what the files need: four times the longest that the
/// busiest of our files lets gather.
const SCARCE: u64 = 64 * 1024 * 1024;
/// With less the disk counts as full: a small write may still find room in a log, where a request or a batch does not.
const FULL: u64 = 1024 * 1024;

/// Whether the disk of `file` has little room left.
pub(super) fn is_scarce(file: &Path) -> bool {
    left(file).is_some_and(|bytes| bytes < SCARCE)
}

/// Fails if the disk of `file` is full.
pub(super) fn check(file: &Path) -> io::Result<()> {
    match left(file).filter(|bytes| *bytes < FULL) {
        None => Ok(()),
        Some(bytes) => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("the disk is full: {bytes} bytes are left for {}", file.display()),
        )),
    }
}

/// The bytes that this user may still write; `None` if the file system does not say.
fn left(file: &Path) -> Option<u64> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let disk = statvfs(folder.unwrap_or(Path::new("."))).ok().filter(|disk| disk.f_blocks > 0)?;
    let blocks = if geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
    Some(blocks.saturating_mul(disk.f_frsize))
}
