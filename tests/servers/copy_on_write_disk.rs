//! A disk of its own for a test, on a file system that copies what is written to another place.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::small_disk::unmount;

/// The smallest that btrfs takes without mixing data and metadata is a little over 100 MiB.
const SIZE: u64 = 260 * 1024 * 1024;

/// A btrfs in a file, mounted until it is dropped.
pub struct CopyOnWriteDisk {
    mounted: PathBuf,
    /// The file that it is in.
    _image: tempfile::NamedTempFile,
}

impl CopyOnWriteDisk {
    /// One over this folder; `None`, and a line that says so, where none may be mounted.
    pub fn over(folder: &Path) -> Option<Self> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(SIZE).unwrap();
        let made = Command::new("mkfs.btrfs").arg("--quiet").arg(image.path()).output();
        let made = made.expect("mkfs.btrfs, which tests/run installs");
        assert!(made.status.success(), "{made:?}");
        let mount = Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(folder).output();
        let refused = match mount {
            Ok(done) if done.status.success() => {
                return Some(Self { mounted: folder.to_owned(), _image: image });
            }
            Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        // Past the capture of the test's output, because nothing fails.
        let mut out = std::io::stderr();
        writeln!(out, "NOT RUN: a test on a full btrfs, which cannot be mounted here: {refused}").unwrap();
        None
    }

    /// Takes all room, and what each write to the disk gives back, until nothing is left after one.
    pub fn fill(&self) {
        self.take_room();
        for _ in 0..20 {
            self.sync();
            if self.take_room() == 0 {
                return;
            }
        }
    }

    fn take_room(&self) -> usize {
        let mut taken = 0;
        let path = self.mounted.join(format!("filling-{}", self.fillings().len()));
        let mut filling = fs::File::create(path).unwrap();
        for piece in [1 << 20, 4096, 1] {
            while filling.write_all(&vec![1; piece]).is_ok() {
                taken += piece;
            }
        }
        taken
    }

    pub fn make_room(&self) {
        for filling in self.fillings() {
            fs::remove_file(filling).unwrap();
        }
        self.sync();
    }

    fn fillings(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.mounted).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("filling-")).collect()
    }

    /// Whatever is refused stays as it is, and the disk is as full.
    fn sync(&self) {
        let _ = Command::new("sync").arg("--file-system").arg(&self.mounted).stderr(Stdio::null()).status();
    }
}

impl Drop for CopyOnWriteDisk {
    fn drop(&mut self) {
        unmount(&self.mounted);
    }
}
