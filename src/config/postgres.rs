//! PostgreSQL's part of `[store]`: the address as the database's own client takes it, and how patient and
//! how greedy we are.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::private::Address;
use super::problem::Warning;
use super::reader::Reader;

/// How to reach a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// `postgres://…` with what the driver knows; holds the password.
    pub url: SecretString,
    /// `host:port/database`, for people.
    pub place: String,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Longest wait for one of them.
    pub acquire_timeout: Duration,
    /// Longest time for one statement.
    pub statement_timeout: Duration,
    /// Longest wait for one lock.
    pub lock_timeout: Duration,
    /// Whether statements of a batch are prepared once a connection, where nothing stands between.
    pub prepared_statements: bool,
}

/// What an address may say behind its `?`, as libpq spells it; `ssl` is asyncpg's word for `sslmode`.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
/// libpq's modes of TLS.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// PostgreSQL's own.
const PORT: u16 = 5432;

impl PostgresSettings {
    /// Reads the rest of the section; none: the address is no PostgreSQL's, or was refused.
    pub(super) fn read(reader: &mut Reader<'_>, address: &Address) -> Option<Self> {
        let max_connections = reader.within("store.max_connections", 1..=1000);
        let acquire_timeout = reader.duration("store.acquire_timeout");
        let statement_timeout = reader.duration("store.statement_timeout");
        let lock_timeout = reader.duration("store.lock_timeout");
        let prepared_statements = reader.get("store.prepared_statements");
        address.scheme().filter(|scheme| is_postgres(scheme))?;
        let (url, place) = target(reader, address)?;
        Some(Self {
            url,
            place,
            max_connections,
            acquire_timeout,
            statement_timeout,
            lock_timeout,
            prepared_statements,
        })
    }
}

/// SQLAlchemy names its driver too: `postgresql+psycopg2`.
pub(super) fn is_postgres(scheme: &str) -> bool {
    matches!(scheme.split('+').next(), Some("postgres" | "postgresql"))
}

fn target(reader: &mut Reader<'_>, address: &Address) -> Option<(SecretString, String)> {
    let Ok(mut url) = Url::parse(&with_host(address.expose())) else {
        refuse(reader, address, "expected `postgres://user:password@host:5432/database`");
        return None;
    };
    let given: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut kept = Vec::new();
    for (name, value) in given {
        let plain = if name == "ssl" { "sslmode" } else { name.as_str() };
        if plain == "sslmode" && !SSL_MODES.contains(&value.as_str()) {
            refuse(reader, address, &format!("expected `sslmode` to be one of {}", SSL_MODES.join(", ")));
            return None;
        }
        if PARAMETERS.contains(&plain) {
            kept.push((plain.to_owned(), value));
        } else {
            let named = reader.name("store.url");
            reader.warnings.push(Warning::warn(format!("{named} says `{name}`, which means nothing here")));
        }
    }
    url.set_query(None);
    let said =
        |name: &str| kept.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let path = url.path().trim_start_matches('/').to_owned();
    let Some(database) = said("dbname").or(Some(path.as_str())).filter(|name| !name.is_empty()) else {
        refuse(reader, address, "expected the name of the database at its end: `postgres://host/database`");
        return None;
    };
    let host = said("host").or(said("hostaddr")).or(url.host_str()).unwrap_or("localhost");
    let port = said("port").and_then(|port| port.parse().ok()).or(url.port()).unwrap_or(PORT);
    let place = format!("{host}:{port}/{database}");
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(&kept);
    }
    Some((SecretString::from(url.as_str()), place))
}

/// The address with the plain scheme. A user without a host is libpq's way to name the host behind the `?`,
/// which no URL may be without.
fn with_host(address: &str) -> String {
    let rest = address.split_once("://").map_or("", |(_, rest)| rest);
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = if authority.ends_with('@') { "localhost" } else { "" };
    format!("postgres://{authority}{host}{tail}")
}

fn refuse(reader: &mut Reader<'_>, address: &Address, expected: &str) {
    let named = reader.name("store.url");
    reader.refuse(format!("{named} is `{}`, {expected}", address.masked()));
}
