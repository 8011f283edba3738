//! The root folder of a directory store: whether it exists, and is still the folder of the start.

use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::fault::{Fault, FaultKind};

/// The folder and its disk: after an unmount another disk's folder appears at the same path.
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// The path as configured, with its links.
    named: PathBuf,
    disk: Mutex<Disk>,
}

/// A disk that is mounted. A network file system gets another device number each time, and is known by its source.
struct Disk {
    device: u64,
    source: Option<String>,
    /// No sign of objects was ever there: the disk that holds them may be mounted later.
    is_vacant: bool,
}

impl Disk {
    fn of(device: u64, folder: &Path) -> Self {
        Self { device, source: source_of(device), is_vacant: matches!(shows_objects(folder), Ok(false)) }
    }

    /// Whether what is there now may hold the objects of this disk.
    fn may_be(&self, now: &Self) -> bool {
        self.is_vacant || (now.source.is_some() && now.source == self.source)
    }
}

impl Root {
    /// Resolves the folder, and creates it if missing.
    pub(super) fn open(folder: &Path) -> Result<Self, Fault> {
        let failed =
            |what: &str, e| unavailable(&format!("{what} the attachments folder {}", folder.display()), e);
        fs::create_dir_all(folder).map_err(|e| failed("make", e))?;
        let path = folder.canonicalize().map_err(|e| failed("resolve", e))?;
        let device = look_into(&path).map_err(|e| failed("look into", e))?.dev();
        let named = std::path::absolute(folder).map_err(|e| failed("resolve", e))?;
        let disk = Disk::of(device, &path).into();
        Ok(Self { path, named, disk })
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
        let meta = look_into(&self.path).map_err(|e| unavailable(&place, e))?;
        if !meta.is_dir() {
            return Err(unavailable(&place, ErrorKind::NotADirectory.into()));
        }
        let mut disk = self.disk.lock();
        if meta.dev() != disk.device || disk.is_vacant {
            let now = Disk::of(meta.dev(), &self.path);
            if meta.dev() != disk.device && !disk.may_be(&now) {
                let why = "another disk is mounted there now; if it holds the objects, restart the service";
                return Err(Fault::new(FaultKind::Unavailable, place).because(why));
            }
            *disk = now;
        }
        Ok(())
    }
}

/// Opens the folder if that is allowed, because only that mounts a file system that is mounted on demand.
fn look_into(folder: &Path) -> std::io::Result<Metadata> {
    match File::open(folder) {
        Ok(folder) => folder.metadata(),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => fs::metadata(folder),
        Err(e) => Err(e),
    }
}

/// Where the file system with this device number comes from, as a line of the system's table of mounts says.
fn source_of(device: u64) -> Option<String> {
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(|line| network_source(line, &number))
}

/// The type, the source and the mounted part of a network file system, which name the same files wherever and
/// whenever it is mounted; `None` of another device number, and of other file systems.
fn network_source(line: &str, number: &str) -> Option<String> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let part = mount.next().filter(|device| *device == number).and_then(|_| mount.next())?;
    let (kind, rest) = system.split_once(' ')?;
    let source = rest.split(' ').next()?;
    let is_network = source.contains(':') || source.starts_with("//");
    is_network.then(|| format!("{kind} {source} {part}"))
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
    if shows_objects(root).map_err(|e| unavailable(&place, e))? {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Unavailable, place)
        .because("it is empty: the disk that holds the objects may not be mounted"))
}

fn shows_objects(root: &Path) -> std::io::Result<bool> {
    let is_sign = |name: std::ffi::OsString| {
        !name.as_encoded_bytes().starts_with(b".") && NO_SIGN.iter().all(|none| name != *none)
    };
    Ok(fs::read_dir(root)?.flatten().any(|entry| is_sign(entry.file_name())))
}

pub(super) fn unavailable(what: &str, error: std::io::Error) -> Fault {
    Fault::new(FaultKind::Unavailable, what).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_known_by_its_source() {
        let nfs = "36 35 0:52 / /srv/a rw,noatime shared:1 - nfs4 files:/export/a rw,addr=192.0.2.7";
        assert_eq!(network_source(nfs, "0:52").unwrap(), "nfs4 files:/export/a /");
        assert_eq!(network_source(nfs, "0:5"), None);
        let share = "37 35 0:53 /in /srv/a rw - cifs //files/a rw";
        assert_eq!(network_source(share, "0:53").unwrap(), "cifs //files/a /in");
        for other in
            ["38 35 0:54 / / rw - overlay overlay rw", "39 35 8:1 / / rw - ext4 /dev/sda1 rw", "", "1 - a"]
        {
            assert_eq!(network_source(other, "0:54").or(network_source(other, "8:1")), None, "{other}");
        }
        assert!(source_of(u64::MAX).is_none());
    }

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
