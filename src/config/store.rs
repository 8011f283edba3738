//! `[store]`: the database with the tables.

use std::path::{Path, PathBuf};

use super::private::Address;
use super::reader::Reader;

/// Which engine keeps the tables. The next one is one more variant and one more arm below.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreEngine {
    /// A file of our own.
    Sqlite {
        /// The file.
        file: PathBuf,
    },
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

/// The database in the data folder.
const FILE: &str = "tikkun.db";

impl StoreSettings {
    pub(super) fn read(reader: &mut Reader<'_>, data: &Path) -> Self {
        let url: Address = reader.get("store.url");
        let file = sqlite_file(reader, &url).unwrap_or_else(|| data.join(FILE));
        Self {
            engine: StoreEngine::Sqlite { file },
            shown: url.masked(),
            migrate: reader.get("store.migrate"),
            strict_schema: reader.get("store.strict_schema"),
        }
    }
}

/// The file that the URL names; none: the default, or something that was refused.
fn sqlite_file(reader: &mut Reader<'_>, url: &Address) -> Option<PathBuf> {
    if url.expose().is_empty() {
        return None;
    }
    let (named, masked) = (reader.name("store.url"), url.masked());
    match url.scheme().as_deref() {
        Some("sqlite") => {
            let path = url.expose().split_once("://").map_or("", |(_, path)| path);
            if !path.is_empty()
                && !path.ends_with('/')
                && !path.contains(['?', '#', '\0'])
                && path != ":memory:"
            {
                return Some(PathBuf::from(path));
            }
            reader.refuse(format!(
                "{named} is `{masked}`, expected `sqlite://` and the path of a file, without parameters"
            ));
        }
        Some(scheme) if is_postgres(scheme) => reader.refuse(format!(
            "{named} asks for `{masked}`, but this build has no engine for PostgreSQL yet: leave it empty \
             (DATABASE_URL included) or give `sqlite://path`"
        )),
        _ => reader.refuse(format!("{named} is `{masked}`, expected `sqlite://path` or `postgres://…`")),
    }
    None
}

/// SQLAlchemy names its driver too: `postgresql+psycopg2`.
fn is_postgres(scheme: &str) -> bool {
    matches!(scheme.split('+').next(), Some("postgres" | "postgresql"))
}
