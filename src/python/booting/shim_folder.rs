//! The private folder that holds the Python side, first on the path of the team's command.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::other_user::OtherUser;

/// The folder, which is removed with its owner.
#[derive(Debug)]
pub(in crate::python) struct ShimFolder(TempDir);

impl ShimFolder {
    /// Writes `files` (name, text) to a new folder that only `owner` can read, without one this user.
    pub(in crate::python) fn write(files: &[(&str, &str)], owner: Option<&OtherUser>) -> io::Result<Self> {
        let private = fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("tikkun-python-").permissions(private).tempdir()?;
        for (name, text) in files {
            let path = folder.path().join(name);
            if let Some(parent) = path.parent().filter(|parent| *parent != folder.path()) {
                fs::create_dir_all(parent)?;
                fs::set_permissions(parent, fs::Permissions::from_mode(0o755))?;
            }
            fs::write(&path, text)?;
            // Whatever the umask: the folder keeps others out.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
        if let Some(owner) = owner {
            owner.give_path(folder.path())?;
        }
        Ok(Self(folder))
    }

    /// `PYTHONPATH` with the folder in front of what was there.
    pub(in crate::python) fn python_path(&self, before: Option<&OsString>) -> OsString {
        let mut path = self.path().as_os_str().to_owned();
        if let Some(before) = before.filter(|before| !before.is_empty()) {
            path.push(":");
            path.push(before);
        }
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_private_and_goes_with_its_owner() {
        let folder =
            ShimFolder::write(&[("sitecustomize.py", "x = 1"), ("part/inner.py", "")], None).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(path.join("sitecustomize.py")).unwrap(), "x = 1");
        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("sitecustomize.py"), mode("part"), mode("part/inner.py")), (0o644, 0o755, 0o644));
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn python_path_keeps_what_was_there() {
        let folder = ShimFolder::write(&[], None).unwrap();
        let own = folder.path().to_str().unwrap().to_owned();
        assert_eq!(folder.python_path(Some(&"/app:/lib".into())), OsString::from(format!("{own}:/app:/lib")));
        assert_eq!(folder.python_path(None), OsString::from(&own));
        assert_eq!(folder.python_path(Some(&OsString::new())), OsString::from(&own));
    }
}
