//! Another user for the team's command and its children, so that no job may do what Tikkun may.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{chown, fchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{User, geteuid};

use super::boot_error::BootError;

/// The user.
pub(in crate::python) struct OtherUser {
    name: String,
    id: u32,
    group: u32,
    home: PathBuf,
}

impl OtherUser {
    /// Finds a user by name; `None`: it is the one that this process runs as, and nothing is to be done.
    ///
    /// # Errors
    /// There is no such user, or this process may start nothing as another one.
    pub(in crate::python) fn find(name: &str) -> Result<Option<Self>, BootError> {
        let unusable = |why: String| BootError::User { user: name.to_owned(), why };
        let found = User::from_name(name).map_err(|e| unusable(format!("the users cannot be read: {e}")))?;
        let user = found.ok_or_else(|| unusable("there is no user of this name".to_owned()))?;
        let own = geteuid();
        if user.uid == own {
            return Ok(None);
        }
        if !own.is_root() {
            return Err(unusable(format!(
                "only root may start processes of another user, and this is user {own}"
            )));
        }
        let (id, group) = (user.uid.as_raw(), user.gid.as_raw());
        Ok(Some(Self { name: user.name, id, group, home: user.dir }))
    }

    /// Has the command started as this user, in its group alone.
    pub(in crate::python) fn start(&self, command: &mut Command) {
        command.uid(self.id).gid(self.group);
        command.env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
    }

    /// Gives a descriptor away, for who opens it anew by its number.
    pub(in crate::python) fn give(&self, descriptor: impl AsFd) -> io::Result<()> {
        fchown(descriptor, Some(self.id), Some(self.group))
    }

    /// Gives a file or folder away.
    pub(in crate::python) fn give_path(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.id), Some(self.group))
    }
}
