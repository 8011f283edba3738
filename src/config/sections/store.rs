//! `[store]`: the database with the tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::postgres::{PostgresSettings, is_postgres};
use crate::config::private::Address;
use crate::config::reader::Reader;

/// The database engine. Another one needs one more variant here and one more arm below.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreEngine {
    /// A SQLite file of our own.
    Sqlite {
        /// The file.
        file: PathBuf,
    },
    /// A PostgreSQL database that contains the application's tables.
    Postgres(PostgresSettings),
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The engine selected by the URL.
    pub engine: StoreEngine,
    /// The URL with its password masked; empty for the default.
    pub shown: String,
    /// Whether missing tables are created at start-up.
    pub migrate: bool,
    /// Whether a missing table or column stops the start.
    pub strict_schema: bool,
}

/// The shortest time limit of a transaction that reads or changes many rows. Large batches on slow disks need
/// more than the limit of one statement.
const TRANSACTION: Duration = Duration::from_secs(60);

/// The default file, inside the data folder.
const FILE: &str = "tikkun.db";

impl StoreSettings {
    /// The time limit of a transaction that reads or changes many rows: at least twice the statement timeout,
    /// so that a raised statement timeout takes effect.
    #[must_use]
    pub fn transaction_deadline(&self) -> Duration {
        match &self.engine {
            StoreEngine::Postgres(told) => TRANSACTION.max(told.statement_timeout * 2),
            StoreEngine::Sqlite { .. } => TRANSACTION,
        }
    }

    pub(in crate::config) fn read(reader: &mut Reader<'_>, data: &Path, ca_file: Option<&Path>) -> Self {
        let url: Address = reader.get("store.url");
        let engine = engine(reader, &url, ca_file);
        Self {
            engine: engine.unwrap_or_else(|| StoreEngine::Sqlite { file: data.join(FILE) }),
            shown: url.masked(),
            migrate: reader.get("store.migrate"),
            strict_schema: reader.get("store.strict_schema"),
        }
    }
}

/// The engine selected by the URL; `None` for the default or a refused URL.
fn engine(reader: &mut Reader<'_>, url: &Address, ca_file: Option<&Path>) -> Option<StoreEngine> {
    let postgres = PostgresSettings::read(reader, url, ca_file);
    if url.expose().is_empty() {
        return None;
    }
    match url.scheme().as_deref() {
        Some("sqlite") => sqlite_file(reader, url).map(|file| StoreEngine::Sqlite { file }),
        Some(scheme) if is_postgres(scheme) => postgres.map(StoreEngine::Postgres),
        _ => {
            let (named, masked) = (reader.name("store.url"), url.masked());
            reader.refuse(format!(
                "{named} is `{masked}`, expected `sqlite://path` or `postgres://user:password@host/database`"
            ));
            None
        }
    }
}

/// The file named by the URL; `None` if the URL was refused.
fn sqlite_file(reader: &mut Reader<'_>, url: &Address) -> Option<PathBuf> {
    let path = url.expose().split_once("://").map_or("", |(_, path)| path);
    if !path.is_empty() && !path.ends_with('/') && !path.contains(['?', '#', '\0']) && path != ":memory:" {
        return Some(PathBuf::from(path));
    }
    let (named, masked) = (reader.name("store.url"), url.masked());
    reader.refuse(format!(
        "{named} is `{masked}`, expected `sqlite://` and the path of a file, without parameters"
    ));
    None
}
