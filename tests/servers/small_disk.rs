//! A disk so small that a test can fill it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A disk laid over a folder; gone when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where mounting is not allowed. `size` is as in `6m`.
    pub fn over(folder: &Path, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder);
        let done = mount.stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }

    /// Takes its last byte.
    pub fn fill(&self) {
        let mut filling = fs::File::create(self.filling()).unwrap();
        for piece in [1 << 20, 4096, 1] {
            while filling.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    /// Takes all but so many bytes.
    pub fn fill_but(&self, bytes: u64) {
        let free = rustix::fs::statvfs(&self.0).unwrap();
        let taken = usize::try_from(free.f_bavail * free.f_frsize - bytes).unwrap();
        fs::write(self.filling(), vec![0; taken]).unwrap();
    }

    pub fn make_room(&self) {
        fs::remove_file(self.filling()).unwrap();
    }

    fn filling(&self) -> PathBuf {
        self.0.join("filling")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Takes away what was laid over a folder, though somebody may still use it.
pub fn unmount(folder: &Path) {
    let _ = Command::new("umount").arg("--lazy").arg(folder).stderr(Stdio::null()).status();
}
