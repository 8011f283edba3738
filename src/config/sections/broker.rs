//! `[broker]`: the queue engine.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::config::private::{Address, EMBEDDED};
use crate::config::reader::Reader;
use crate::config::redis;
use crate::config::size::ByteSize;
use crate::job::QueueName;

/// The queue engine. Another one needs one more variant here and one more arm below.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BrokerEngine {
    /// The embedded queue, in a SQLite file.
    Embedded {
        /// The file.
        file: PathBuf,
    },
    /// Redis, in RQ's format.
    Redis(RedisSettings),
}

/// The access to a Redis, and the limits for payloads.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// The URL for the adapter; may contain a password.
    pub url: SecretString,
    /// The prefix of all keys of RQ.
    pub key_prefix: String,
    /// The queues whose jobs are handed over with all fields of their hashes, for code in another language. No key sets it.
    pub whole_hashes: Vec<QueueName>,
    /// What RQ's readers call the workers of this process, if not by host and process. No key sets it.
    pub worker_name: Option<String>,
    /// The longest payload as stored, in bytes.
    pub payload_limit: ByteSize,
    /// The longest payload after decompression, in bytes.
    pub expanded_limit: ByteSize,
}

/// `[broker]`.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// The engine selected by the URL.
    pub engine: BrokerEngine,
    /// The URL with its password masked; empty for the embedded engine.
    pub shown: String,
}

/// The file of the embedded queue, inside the data folder.
const FILE: &str = "queue.db";

impl BrokerSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>, data: &Path, ca_file: Option<&Path>) -> Self {
        let url: Address = reader.get("broker.url");
        let target = match url.scheme().as_deref() {
            Some("redis" | "rediss" | "unix" | "redis+unix") => redis::target(reader, &url, ca_file),
            _ if matches!(url.expose(), "" | EMBEDDED) => None,
            _ => {
                let (named, masked) = (reader.name("broker.url"), url.masked());
                reader.refuse(format!(
                    "{named} is `{masked}`, expected `embedded`, `redis://host:6379/0`, `rediss://…` or \
                     `unix:///path/of/the.sock`"
                ));
                None
            }
        };
        let key_prefix = reader.read("broker.key_prefix", "text without spaces", |prefix: &String| {
            !prefix.is_empty() && !prefix.contains(char::is_whitespace)
        });
        let payload_limit = reader.get("broker.payload_limit");
        let expanded_limit = reader.get("broker.expanded_limit");
        let engine = match target {
            Some(url) => {
                let (whole_hashes, worker_name) = (Vec::new(), None);
                BrokerEngine::Redis(RedisSettings {
                    url,
                    key_prefix,
                    whole_hashes,
                    worker_name,
                    payload_limit,
                    expanded_limit,
                })
            }
            None => BrokerEngine::Embedded { file: data.join(FILE) },
        };
        Self { engine, shown: url.masked() }
    }
}
