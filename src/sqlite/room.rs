//! The room that the disk of a file has left.

use std::path::Path;
use std::sync::LazyLock;
use std::{fs, io};

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open, statvfs};
use rustix::io::Errno;
use rustix::process::geteuid;

/// With less the logs are kept short, so that they do not take what the files need: four times the longest that the
/// busiest of our files lets gather.
const SCARCE: u64 = 64 * 1024 * 1024;

/// Whether the disk of `file` has little room left.
pub(super) fn is_scarce(file: &Path) -> bool {
    left(file).is_some_and(|bytes| bytes < SCARCE)
}

/// The length of the log of `file`, in whose room more is written once it was copied.
pub(super) fn log(file: &Path) -> u64 {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).map_or(0, |log| log.len())
}

/// Fails if the disk of `file` has less than `needed` bytes left, or a quota on it, which only those notice who take
/// room. May wait as long as the disk does.
pub(super) fn check(file: &Path, needed: u64) -> io::Result<()> {
    let found = left(file)
        .filter(|bytes| *bytes < needed)
        .map(|bytes| format!("{bytes} bytes are left and {needed} needed"));
    let refused = || take(file, needed).err().filter(|error| matches!(*error, Errno::NOSPC | Errno::DQUOT));
    match found.or_else(|| Some(format!("{needed} bytes more are refused ({})", refused()?))) {
        None => Ok(()),
        Some(found) => {
            let text = format!("the disk is full: {found} for {}", file.display());
            Err(io::Error::new(io::ErrorKind::StorageFull, text))
        }
    }
}

/// The bytes that this user may still write; `None` if the file system does not say. The file alone may lie on another
/// disk than its log, as one that is mounted into a container.
fn left(file: &Path) -> Option<u64> {
    [file, folder(file)].into_iter().filter_map(left_at).min()
}

fn left_at(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok().filter(|disk| disk.f_blocks > 0)?;
    let blocks = if may_use_reserved() { disk.f_bfree } else { disk.f_bavail };
    Some(blocks.saturating_mul(disk.f_frsize))
}

/// Takes the room of a file without a name, and gives it back.
fn take(file: &Path, bytes: u64) -> Result<(), Errno> {
    let unnamed = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let unnamed = match open(folder(file), unnamed, Mode::RUSR | Mode::WUSR) {
        // Says nothing about bytes: the files that are written to are there already.
        Err(Errno::NOSPC) if takes_no_file(folder(file)) => return Ok(()),
        opened => opened?,
    };
    fallocate(unnamed, FallocateFlags::empty(), 0, bytes)
}

/// Whether a disk that bounds the number of its files has reached it.
fn takes_no_file(folder: &Path) -> bool {
    statvfs(folder).is_ok_and(|disk| disk.f_files > 0 && disk.f_favail == 0)
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether this user may write to the blocks that a file system keeps for root.
fn may_use_reserved() -> bool {
    static OF_HOST: LazyLock<bool> =
        LazyLock::new(|| fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| is_of_host(&map)));
    geteuid().is_root() && *OF_HOST
}

/// Whether users are those of the host. The root of a container that maps them is an ordinary user to the disk.
fn is_of_host(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_of_a_container_that_maps_users_may_not_use_what_is_kept_for_root() {
        assert!(is_of_host("         0          0 4294967295\n"));
        for mapped in ["0 1000 1\n", "0 100000 65536\n", "0 0 65536\n", "0 1000 1\n1 100000 65536\n", ""] {
            assert!(!is_of_host(mapped), "{mapped}");
        }
    }

    #[test]
    fn room_is_taken_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file.db");
        check(&file, 1 << 20).unwrap();
        assert_ne!(take(&file, 1 << 20), Err(Errno::NOSPC));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn disk_is_full_for_what_is_larger_than_it() {
        let folder = tempfile::tempdir().unwrap();
        let full = check(&folder.path().join("file.db"), 1 << 60).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    }
}
