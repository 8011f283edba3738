//! `[broker]`: where jobs wait.

use std::path::{Path, PathBuf};

use super::private::{Address, EMBEDDED};
use super::reader::Reader;

/// Which engine keeps the queues. The next one is one more variant and one more arm below.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerEngine {
    /// A file of our own.
    Embedded {
        /// The file.
        file: PathBuf,
    },
}

/// `[broker]`.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// The engine that the URL asks for.
    pub engine: BrokerEngine,
    /// The URL with its password masked; empty for the embedded engine.
    pub shown: String,
}

/// The embedded queue's file in the data folder.
const FILE: &str = "queue.db";

impl BrokerSettings {
    pub(super) fn read(reader: &mut Reader<'_>, data: &Path) -> Self {
        let url: Address = reader.get("broker.url");
        let engine = BrokerEngine::Embedded { file: data.join(FILE) };
        match (url.expose(), url.scheme().as_deref()) {
            ("" | EMBEDDED, _) => {}
            (_, Some("redis" | "rediss")) => {
                let (named, masked) = (reader.name("broker.url"), url.masked());
                reader.refuse(format!(
                    "{named} asks for `{masked}`, but this build has no engine for Redis yet: leave it empty \
                     (REDIS_URL included) for the embedded queue"
                ));
            }
            _ => {
                let (named, masked) = (reader.name("broker.url"), url.masked());
                reader.refuse(format!(
                    "{named} is `{masked}`, expected `embedded`, `redis://host:6379/0` or `rediss://…`"
                ));
            }
        }
        Self { engine, shown: url.masked() }
    }
}
