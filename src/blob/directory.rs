//! Objects as files in one folder, for a single machine and for tests.
//!
//! A key never leads outside the root: its parts are checked as text, and its real folder, with links
//! resolved, must be inside. An object appears under its key completely or not at all, and is on disk when
//! `put` returns. Empty folders stay, since removing one could race with a `put`.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::blob_store::{BlobStore, BlobTarget, KeyFault};
use super::key_path;
use super::own_threads::OwnThreads;
use super::root::{Root, holds_anything, may_be_elsewhere, unavailable};
use crate::failpoint;
use crate::fault::{Fault, FaultKind};

/// The same number of keys as in one call of S3, so that all stores behave alike.
const MAX_KEYS: usize = 1000;

/// The prefix of a half-written object's name, which is not allowed in keys.
const UNFINISHED: &str = key_path::RESERVED;

/// The name of the file that shows whether the folder can be written to; it is reserved, too.
const TRIAL: &str = ".tikkun-trial";

/// A store in a folder, which is resolved once, on opening.
pub(super) struct Directory {
    root: Arc<Root>,
    threads: OwnThreads,
    target: BlobTarget,
}

impl Directory {
    /// Opens the folder, and creates it if missing.
    pub(super) async fn open(folder: &Path) -> Result<Self, Fault> {
        let folder = folder.to_owned();
        let threads = OwnThreads::new();
        let open = move || {
            failpoint::reach("directory.open");
            Root::open(&folder)
        };
        let root = threads.run(open).await?;
        let target = BlobTarget { driver: "local".to_owned(), bucket: root.path.display().to_string() };
        Ok(Self { root: root.into(), threads, target })
    }

    /// Checks the root, then runs the work in it.
    async fn on_root<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let root = Arc::clone(&self.root);
        let call = move || {
            root.check()?;
            work(&root.path)
        };
        self.threads.run(call).await
    }
}

#[async_trait]
impl BlobStore for Directory {
    fn target(&self) -> &BlobTarget {
        &self.target
    }

    fn max_keys(&self) -> usize {
        MAX_KEYS
    }

    async fn put(&self, key: &str, content: &[u8]) -> Result<(), Fault> {
        let (key, content) = (key.to_owned(), content.to_owned());
        self.on_root(move |root| put(root, &key, &content)).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, Fault> {
        let key = key.to_owned();
        self.on_root(move |root| size(root, &key)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<Vec<KeyFault>, Fault> {
        if keys.len() > MAX_KEYS {
            let text = format!("delete {} objects in one call: at most {MAX_KEYS} are taken", keys.len());
            return Err(Fault::new(FaultKind::Permanent, text));
        }
        let keys = keys.to_owned();
        self.on_root(move |root| delete_all(root, &keys)).await
    }

    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<String>, Fault> {
        let prefix = prefix.to_owned();
        self.on_root(move |root| list(root, &prefix, max)).await
    }

    async fn check(&self) -> Result<(), Fault> {
        self.on_root(|root| try_write(root).map_err(|e| unavailable(&writing(root), e))).await
    }
}

/// Creates a half-written object that others may read, as far as the process's umask allows.
fn unfinished(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mode = Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(UNFINISHED).permissions(mode).tempfile_in(folder)
}

/// Makes a file and removes it. It always has the same name: where files can be made but not be removed, as in a bucket
/// that is mounted without leave to delete, one stays and no more.
fn try_write(root: &Path) -> std::io::Result<()> {
    let trial = root.join(TRIAL);
    match File::create_new(&trial) {
        // Left by another try, or of another process that is about to remove it.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        made => drop(made?),
    }
    match fs::remove_file(&trial) {
        Err(e) if is_missing(&e) => Ok(()),
        removed => removed,
    }
}

fn writing(root: &Path) -> String {
    format!("make and remove a file in the attachments folder {}", root.display())
}

fn put(root: &Path, key: &str, content: &[u8]) -> Result<(), Fault> {
    let path = key_path::lexical(root, key)?;
    let folder = make_parents(root, key, &path)?;
    let write = || {
        let mut file = unfinished(&folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(path.file_name().unwrap_or_default()))?;
        make_durable(&folder)
    };
    write().map_err(|e| of_key(root, "write", key, e))
}

/// Creates the key's folders one by one. Each is checked before the next is made in it, and made durable.
fn make_parents(root: &Path, key: &str, path: &Path) -> Result<PathBuf, Fault> {
    let parent = path.parent().unwrap_or(root);
    let parts = parent.strip_prefix(root).unwrap_or(Path::new(""));
    let mut folder = root.to_owned();
    for part in parts {
        let next = folder.join(part);
        match fs::create_dir(&next) {
            Ok(()) => make_durable(&folder).map_err(|e| of_key(root, "write", key, e))?,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(of_key(root, "write", key, e)),
        }
        folder = key_path::inside(root, &next, key)?
            .ok_or_else(|| of_key(root, "write", key, ErrorKind::NotADirectory.into()))?;
    }
    Ok(folder)
}

fn size(root: &Path, key: &str) -> Result<Option<u64>, Fault> {
    let Some(path) = key_path::existing(root, key)? else { return Ok(None) };
    match fs::symlink_metadata(&path) {
        Ok(meta) => Ok(meta.is_file().then_some(meta.len())),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(of_key(root, "look at", key, e)),
    }
}

/// Deletes what can be deleted, then makes the deletions durable: an object that came back after a power
/// failure would stay for ever, because no record of it is left.
fn delete_all(root: &Path, keys: &[String]) -> Result<Vec<KeyFault>, Fault> {
    let mut faults = Vec::new();
    let mut changed = BTreeSet::new();
    let mut missing = false;
    for (index, key) in keys.iter().enumerate() {
        match delete(root, key) {
            Ok(Some(folder)) => drop(changed.insert(folder)),
            Ok(None) => missing |= may_be_elsewhere(key),
            Err(fault) => faults.push(KeyFault { index, fault }),
        }
    }
    if missing {
        holds_anything(root)?;
    }
    for folder in changed {
        match make_durable(&folder) {
            Err(e) if !is_missing(&e) => {
                return Err(unavailable(&format!("make deletions durable in {}", folder.display()), e));
            }
            _ => {}
        }
    }
    Ok(faults)
}

/// Makes what was created and deleted in a folder durable. Some file systems know this for files only, such as
/// shares of Windows and of virtual machines: there it is as durable as it can be.
fn make_durable(folder: &Path) -> std::io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

/// Removes the directory entry itself: of a link, not its target. Returns the folder that changed.
fn delete(root: &Path, key: &str) -> Result<Option<PathBuf>, Fault> {
    let Some(path) = key_path::existing(root, key)? else { return Ok(None) };
    if path.is_dir() && !path.is_symlink() {
        return Ok(None);
    }
    match fs::remove_file(&path) {
        Ok(()) => Ok(path.parent().map(Path::to_owned)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(of_key(root, "delete", key, e)),
    }
}

fn list(root: &Path, prefix: &str, max: usize) -> Result<Vec<String>, Fault> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |e| unavailable(&format!("list the attachments folder {}", folder.display()), e);
        let entries = match fs::read_dir(&folder) {
            Err(e) if is_missing(&e) && folder != root => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            let Some(key) = key_path::key_of(root, &path) else { continue };
            if kind.is_dir() && may_hold(&key, prefix) {
                folders.push(path);
            } else if kind.is_file() && key.starts_with(prefix) {
                found.push(key);
            }
        }
    }
    found.sort_unstable();
    found.truncate(max);
    Ok(found)
}

/// Whether keys below this folder can begin with the prefix.
fn may_hold(folder: &str, prefix: &str) -> bool {
    let folder = format!("{folder}/");
    folder.starts_with(prefix) || prefix.starts_with(&folder)
}

/// Whether a part of the path is missing, or is a file instead of a folder.
fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The fault of one key. If the system refuses this one file, it is permanent until someone acts; any other
/// error (full or read-only disk, input/output error, a root that takes no files) is a state to wait out.
fn of_key(root: &Path, what: &str, key: &str, error: std::io::Error) -> Fault {
    let kind = match error.kind() {
        ErrorKind::PermissionDenied if try_write(root).is_err() => FaultKind::Unavailable,
        ErrorKind::PermissionDenied
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput => FaultKind::Permanent,
        ErrorKind::NotFound | ErrorKind::Interrupted => FaultKind::Retryable,
        _ => FaultKind::Unavailable,
    };
    Fault::new(kind, format!("{what} object `{key}`")).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_made_durable_is_as_good_as_it_can_be() {
        let folder = Path::new("/proc/self/task");
        let error = File::open(folder).and_then(|folder| folder.sync_all()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "of files alone, as on a share of Windows");
        make_durable(folder).unwrap();
        assert!(is_missing(&make_durable(&folder.join("no")).unwrap_err()));
    }
}
