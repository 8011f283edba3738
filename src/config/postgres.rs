//! PostgreSQL's part of `[store]`: its address, time limits and number of connections.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use super::libpq::Given;
use super::private::Address;
use super::reader::Reader;

/// How to reach a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// `postgres://…` with the parameters that the driver knows; contains the password.
    pub url: SecretString,
    /// `host:port/database`, for messages.
    pub place: String,
    /// The most connections of this process.
    pub max_connections: u32,
    /// The longest wait for a connection from the pool.
    pub acquire_timeout: Duration,
    /// The time limit of a statement.
    pub statement_timeout: Duration,
    /// The longest wait for a lock.
    pub lock_timeout: Duration,
    /// Whether the statements of a batch are prepared once per connection, unless a pooler is in between.
    pub prepared_statements: bool,
}

/// PostgreSQL's default port.
const PORT: u16 = 5432;

impl PostgresSettings {
    /// Reads the rest of the section. `None` if the address is not PostgreSQL's, or was refused.
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

/// Whether the scheme is PostgreSQL's. SQLAlchemy appends the driver: `postgresql+psycopg2`.
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
