//! The `-shm` file beside an SQLite file, on a file system that copies what is written to another place.
//!
//! Every process that has the file open maps its `-shm` into memory, and stores into it even in order to read. On
//! btrfs such a store needs a new block once the page was written to the disk. While there is none, the kernel
//! ends the process with SIGBUS. A file that is written in place keeps its blocks, and a file can be made such
//! only while it is empty: so it is made here, before SQLite would.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags, statfs};
use sqlx::sqlite::SqliteConnectOptions;

/// The type of btrfs in statfs(2).
const BTRFS: i64 = 0x9123_683E;
/// The mode in which SQLite makes a new file.
const NEW_FILE: u32 = 0o644;

/// A `-shm` file that SQLite must not make itself.
#[derive(Clone, Debug)]
pub(super) struct WalIndex {
    database: PathBuf,
    path: PathBuf,
}

impl WalIndex {
    /// That of the file `database`, if it lies where every write is copied. A file that is missing is made, empty,
    /// because the other one has its owner and mode.
    pub(super) fn copied_on_write(database: &Path) -> Option<Self> {
        let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
        let there = statfs(folder.unwrap_or(Path::new("."))).ok()?;
        if there.f_type != BTRFS {
            return None;
        }
        // Whoever may not make it is refused by SQLite, too, with the words for people.
        let _ = OpenOptions::new().write(true).create_new(true).mode(NEW_FILE).open(database);
        Some(Self::beside(database))
    }

    fn beside(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-shm");
        Self { database: database.to_owned(), path: path.into() }
    }

    /// Makes it before each connection, because the last one that is closed removes it. sqlx asks for the name of
    /// a thread before it opens a file on that thread, and has nothing else that is called so early.
    pub(super) fn before_each(self, options: SqliteConnectOptions) -> SqliteConnectOptions {
        options.thread_name(move |id| {
            self.make();
            format!("sqlx-sqlite-worker-{id}")
        })
    }

    /// Makes it if it is missing. SQLite needs none of this while there is room, so no error ends anything.
    fn make(&self) {
        match self.try_make() {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let path = self.path.display();
                tracing::debug!(
                    "{path} is not written in place, so a full disk may end this process: {error}"
                );
            }
            _ => {}
        }
    }

    fn try_make(&self) -> io::Result<()> {
        let database = fs::metadata(&self.database)?;
        let mode = database.mode() & 0o777;
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&self.path)?;
        let written_in_place =
            ioctl_getflags(&file).and_then(|flags| ioctl_setflags(&file, flags | IFlags::NOCOW));
        // As SQLite does: what root has made is of use to the service's user. Others may not give files away.
        let _ = fchown(&file, Some(database.uid()), Some(database.gid()));
        file.set_permissions(database.permissions())?;
        Ok(written_in_place?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use sqlx::{ConnectOptions as _, Connection as _};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    /// Most file systems refuse the flag, and here it is asked for on any.
    #[tokio::test]
    async fn missing_index_has_the_mode_of_its_file_before_a_connection_opens_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("file.db");
        fs::write(&database, "").unwrap();
        fs::set_permissions(&database, fs::Permissions::from_mode(0o662)).unwrap();
        let index = WalIndex::beside(&database);
        assert_eq!(index.path, folder.path().join("file.db-shm"));
        let options = index.clone().before_each(SqliteConnectOptions::new().filename(&database));
        let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
        for _ in 0..2 {
            index.make();
            assert_eq!((mode(&index.path), fs::metadata(&index.path).unwrap().len()), (0o662, 0));
            let before = fs::metadata(&index.path).unwrap().ino();
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql("CREATE TABLE IF NOT EXISTS t (a); INSERT INTO t VALUES (1)")
                .execute(&mut connection)
                .await
                .unwrap();
            let used = fs::metadata(&index.path).unwrap();
            assert!(used.ino() == before && used.len() > 0, "SQLite uses the file that is there");
            // Another connection changes nothing about it.
            options.connect().await.unwrap().close().await.unwrap();
            assert_eq!(fs::metadata(&index.path).unwrap().ino(), before);
            connection.close().await.unwrap();
            assert!(!index.path.exists(), "the last connection has removed it");
        }
    }

    #[tokio::test]
    async fn index_is_made_anew_for_a_connection_after_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("file.db");
        fs::write(&database, "").unwrap();
        let index = WalIndex::beside(&database);
        // In this mode SQLite never makes one itself.
        let options = index.clone().before_each(SqliteConnectOptions::new().filename(&database));
        drop(options.connect().await.unwrap());
        assert!(index.path.exists());
        fs::remove_file(&index.path).unwrap();
        drop(options.connect().await.unwrap());
        assert!(index.path.exists());
    }

    #[test]
    fn nothing_is_made_for_a_file_that_is_gone_and_no_refusal_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let index = WalIndex::beside(&folder.path().join("file.db"));
        index.make();
        assert!(!index.path.exists());
        WalIndex::beside(Path::new("/proc/self/mem")).make();
        // Whatever is there stays as it is.
        fs::write(&index.database, "").unwrap();
        fs::write(&index.path, "index").unwrap();
        index.make();
        assert_eq!(fs::read(&index.path).unwrap(), b"index");
    }
}
