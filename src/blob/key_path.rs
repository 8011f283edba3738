//! Converts keys to paths below the root, and back.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::fault::{Fault, FaultKind};

/// Names with this prefix are reserved for the store.
pub(super) const RESERVED: &str = ".tikkun-";

/// The path of a key, checked as text: relative, parts separated by `/`, and no part empty, `.` or `..`. A
/// backslash is refused: it is a separator on some systems, and our keys contain none.
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

/// The path of the object, with the links in its folders resolved; `None` if its folder does not exist, and
/// so neither does the object.
pub(super) fn existing(root: &Path, key: &str) -> Result<Option<PathBuf>, Fault> {
    let path = lexical(root, key)?;
    let parent = path.parent().unwrap_or(root);
    let folder = inside(root, parent, key)?;
    Ok(folder.map(|folder| folder.join(path.file_name().unwrap_or_default())))
}

/// The folder with links resolved, if it exists and is a folder; refused if it is outside the root. A link
/// whose target is missing is a fault, because the state of the objects behind it is unknown.
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

/// The key of a path below the root; `None` for the store's own files and for names that are no text.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::fuzz;

    #[test]
    fn fuzz_keys() {
        let keys = [
            "7/receipt_source/2026/01/12.pdf",
            "a",
            "../../etc/passwd",
            "/etc/passwd",
            "a//b",
            "a/./b",
            "a/",
            "c:\\d",
            "\u{202e}fdp",
        ];
        let root = Path::new("/srv/files");
        fuzz("keys", keys.map(|key| key.as_bytes().to_vec()), |bytes| {
            let key = String::from_utf8_lossy(bytes);
            match lexical(root, &key) {
                Ok(path) => {
                    let below = path.strip_prefix(root).expect("it stays below the root");
                    assert!(below.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
                    assert_eq!(
                        key_of(root, &path).as_deref(),
                        Some(&*key),
                        "the key is its path, and no other key's"
                    );
                }
                Err(refused) => assert_eq!(refused.chain().lines().count(), 1, "{refused}"),
            }
        });
    }
}
