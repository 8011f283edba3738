//! PostgreSQL's part of `[store]`: the address as the database's own client takes it, and how patient and
//! how greedy we are.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use super::libpq::Given;
use super::private::Address;
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

/// PostgreSQL's own.
const PORT: u16 = 5432;

impl PostgresSettings {
    /// Reads the rest of the section; none: the address is no PostgreSQL's, or was refused.
    pub(super) fn read(reader: &mut Reader<'_>, address: &Address, ca_file: Option<&Path>) -> Option<Self> {
        let max_connections = reader.within("store.max_connections", 1..=1000);
        let acquire_timeout = reader.duration("store.acquire_timeout");
        let statement_timeout = reader.duration("store.statement_timeout");
        let lock_timeout = reader.duration("store.lock_timeout");
        let prepared_statements = reader.get("store.prepared_statements");
        address.scheme().filter(|scheme| is_postgres(scheme))?;
        let target = target(reader, address, ca_file);
        let (url, place) = target
            .map_err(|why| {
                let named = reader.name("store.url");
                reader.refuse(format!("{named} is `{}`, {why}", address.masked()));
            })
            .ok()?;
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

fn target(
    reader: &mut Reader<'_>,
    address: &Address,
    ca_file: Option<&Path>,
) -> Result<(SecretString, String), String> {
    let parsed = address.url().filter(|url| url.fragment().is_none());
    let mut url = parsed.ok_or("expected `postgres://user:password@host:5432/database`")?;
    url.set_scheme("postgres").map_err(|()| "expected a scheme that can be read".to_owned())?;
    let mut given = Given::of(reader, &url)?;
    url.set_query(None);
    given.protect(reader, ca_file)?;
    given.choose_host(&url)?;
    let path = url.path().trim_start_matches('/').to_owned();
    let database = given.get("dbname").unwrap_or(&path);
    if database.is_empty() {
        return Err("expected the name of the database at its end: `postgres://host/database`".to_owned());
    }
    let host = given.get("host").or(given.get("hostaddr")).or(url.host_str()).unwrap_or("localhost");
    let port = match given.get("port") {
        Some(port) => port.parse().map_err(|_| "expected `port` to be one number".to_owned())?,
        None => url.port().unwrap_or(PORT),
    };
    let place = format!("{host}:{port}/{database}");
    if !given.is_empty() {
        url.query_pairs_mut().extend_pairs(given.pairs());
    }
    Ok((SecretString::from(url.as_str()), place))
}
