//! From keys to paths and back, never outside the root.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::fault::{Fault, FaultKind};

/// Names that begin with this are the store's own.
pub(super) const RESERVED: &str = ".tikkun-";

/// The path of a key, by its text alone: relative, `/` between parts, no part empty, `.` or `..`.
/// A backslash is refused: on some systems it separates, and no key of ours has one.
pub(super) fn lexical(root: &Path, key: &str) -> Result<PathBuf, Fault> {
    let part_fits = |part: &str| {
        !part.starts_with(RESERVED)
            && !part.contains(['\\', '\0'])
            && matches!(Path::new(part).components().next(), Some(Component::Normal(name)) if name == part)
    };
    if key.split('/').all(part_fits) {
        Ok(root.join(key))
    } else {
        Err(refused(key, "expected a relative path without empty parts, `.`, `..`, backslash or NUL"))
    }
}

/// The path at which the object lies, with the links in its folders resolved; none when its folder is
/// not there, and so neither is the object.
pub(super) fn existing(root: &Path, key: &str) -> Result<Option<PathBuf>, Fault> {
    let path = lexical(root, key)?;
    let parent = path.parent().unwrap_or(root);
    let folder = inside(root, parent, key)?;
    Ok(folder.map(|folder| folder.join(path.file_name().unwrap_or_default())))
}

/// The folder with links resolved, if it exists and is a folder; refused when that is outside the root. Of what lies behind
/// a link that leads nowhere, nothing can be said.
pub(super) fn inside(root: &Path, folder: &Path, key: &str) -> Result<Option<PathBuf>, Fault> {
    match folder.canonicalize() {
        Ok(real) if !real.starts_with(root) => Err(refused(key, "a link in its path leads outside")),
        Ok(real) => match fs::metadata(&real) {
            Ok(meta) if meta.is_dir() => Ok(Some(real)),
            _ => Ok(None),
        },
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            match folder.ancestors().find(|part| part.is_symlink() && !part.exists()) {
                None => Ok(None),
                Some(link) => {
                    let what = format!("resolve the folder of object `{key}`");
                    let why = format!(
                        "the link {} leads nowhere: the disk behind it may not be mounted",
                        link.display()
                    );
                    Err(Fault::new(FaultKind::Unavailable, what).because(why))
                }
            }
        }
        Err(e) => {
            let is_loop = e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
            let kind = match e.kind() {
                ErrorKind::PermissionDenied | ErrorKind::InvalidFilename => FaultKind::Permanent,
                _ if is_loop => FaultKind::Permanent,
                _ => FaultKind::Unavailable,
            };
            Err(Fault::new(kind, format!("resolve the folder of object `{key}`")).because(e))
        }
    }
}

/// The key of a path below the root; none for the store's own files and for names that are no text.
pub(super) fn key_of(root: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> =
        path.strip_prefix(root).ok()?.components().map(|part| part.as_os_str().to_str()).collect();
    let parts = parts?;
    let own = parts.last().is_none_or(|name| name.starts_with(RESERVED));
    (!own).then(|| parts.join("/"))
}

fn refused(key: &str, why: &str) -> Fault {
    Fault::new(FaultKind::Permanent, format!("refuse the key {key:?}: {why}"))
}
