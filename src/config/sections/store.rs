//! `[store]`: the database with the tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::postgres::{PostgresSettings, is_postgres};
use crate::config::private::Address;
use crate::config::reader::Reader;

/// Which engine keeps the tables. The next one is one more variant and one more arm below.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreEngine {
    /// A file of our own.
    Sqlite {
        /// The file.
        file: PathBuf,
    },
    /// A database with the application's tables in it.
    Postgres(PostgresSettings),
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The engine that the URL asks for.
    pub engine: StoreEngine,
    /// The URL with its password masked; empty for the default.
    pub shown: String,
    /// Whether missing tables are made at the start.
    pub migrate: bool,
    /// Whether a missing table or column stops the start.
    pub strict_schema: bool,
}

/// Least time for one transaction that reads or changes many rows: large batches on slow disks need more than one
/// answer.
const TRANSACTION: Duration = Duration::from_secs(60);

/// The database in the data folder.
const FILE: &str = "tikkun.db";

impl StoreSettings {
    /// Longest wait for one transaction that reads or changes many rows. It is no shorter than what two of its
    /// statements may take: where their limit is raised, it must count.
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

/// The engine that the URL asks for; none: the default, or something that was refused.
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

/// The file that the URL names; none: it was refused.
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
