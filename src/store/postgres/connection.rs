//! The connections: how they are made, told apart from dead ones, and how their transactions begin.
//!
//! Nothing is kept in a session, so that a pooler may hand each transaction another one: timeouts are set
//! in the message that begins the transaction, locks end with the transaction, and statements have no name
//! unless the settings say that nobody stands between.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool, Postgres,
    Row as _, Transaction,
};
use tokio::time::Instant;

use super::fault::{During, may_come_up};
use super::references::ReferenceCache;
use crate::config::PostgresSettings;
use crate::fault::{Fault, FaultKind};

/// A connection is closed after this time, so that a new primary or a new password is found by all.
const LIFETIME: Duration = Duration::from_secs(1800);
/// Named statements that a connection keeps: more than a batch has.
const NAMED: usize = 16;
/// Pause between two tries to reach a server that is not up yet.
const PAUSE: Duration = Duration::from_millis(100);
/// How we are called among the server's sessions.
const APPLICATION_NAME: &str = "tikkun";
/// What a connection answers that cannot write: a standby, or a primary that has become one.
const CAN_WRITE: &str = "show transaction_read_only";

/// A transaction.
pub(super) type Tx = Transaction<'static, Postgres>;

/// One database.
pub(super) struct Database {
    pool: PgPool,
    openings: Openings,
    place: String,
    patience: Duration,
    /// Whether the statements of a batch have names, so that each connection plans them once.
    pub(super) prepared: bool,
    /// Which foreign keys lead to attachments.
    pub(super) references: ReferenceCache,
}

/// What begins a transaction: one message, answered once.
struct Openings {
    write: Arc<str>,
    batch: Arc<str>,
    read: Arc<str>,
}

impl Openings {
    fn new(settings: &PostgresSettings) -> Self {
        let limits = format!(
            "set local statement_timeout = {}; set local lock_timeout = {}",
            settings.statement_timeout.as_millis(),
            settings.lock_timeout.as_millis()
        );
        // Each statement sees what was committed before it began, whatever the database's default: what is
        // read under a lock is the newest there is.
        let write = format!("begin isolation level read committed; {limits}");
        Self {
            // A constraint that waits for the commit would blame the whole batch instead of a row.
            batch: format!("{write}; set constraints all immediate").into(),
            write: write.into(),
            // All statements see one moment.
            read: format!("begin isolation level repeatable read read only; {limits}").into(),
        }
    }
}

impl Database {
    /// On connections that are made when they are needed.
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self, Fault> {
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .max_lifetime(LIFETIME)
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(can_write(connection)))
            .connect_lazy_with(options(settings)?);
        Ok(Self {
            pool,
            openings: Openings::new(settings),
            place: settings.place.clone(),
            patience: settings.acquire_timeout,
            prepared: settings.prepared_statements,
            references: ReferenceCache::default(),
        })
    }

    /// Begins a writing transaction.
    pub(super) async fn write(&self, what: &str) -> Result<Tx, Fault> {
        self.begin(&self.openings.write, what).await
    }

    /// Begins the transaction of a batch.
    pub(super) async fn batch(&self, what: &str) -> Result<Tx, Fault> {
        self.begin(&self.openings.batch, what).await
    }

    /// Begins a transaction that only reads, and sees one moment.
    pub(super) async fn read(&self, what: &str) -> Result<Tx, Fault> {
        self.begin(&self.openings.read, what).await
    }

    async fn begin(&self, opening: &Arc<str>, what: &str) -> Result<Tx, Fault> {
        match self.pool.begin_with(AssertSqlSafe(Arc::clone(opening))).await {
            Err(sqlx::Error::PoolTimedOut) => {
                let within = humantime::format_duration(self.patience);
                let text = format!("{what}: no connection to {} within {within}", self.place);
                Err(Fault::new(FaultKind::Unavailable, text))
            }
            begun => begun.during(what),
        }
    }
}

/// Whether an idle connection is alive and leads to a server that takes writes. After a failover the old
/// primary may go on answering for long; a new connection finds the new one.
async fn can_write(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let answer = connection.fetch_one(sqlx::raw_sql(CAN_WRITE)).await?;
    let read_only: String = answer.try_get(0)?;
    Ok(read_only == "off")
}

/// One connection of its own, for what is done once. A server that is about to come up is waited for as long
/// as for a connection of the pool.
pub(super) async fn connect(settings: &PostgresSettings) -> Result<PgConnection, Fault> {
    let what = format!("connect to {}", settings.place);
    let (options, deadline) = (options(settings)?, Instant::now() + settings.acquire_timeout);
    loop {
        match tokio::time::timeout_at(deadline, PgConnection::connect_with(&options)).await {
            Err(_) => {
                let within = humantime::format_duration(settings.acquire_timeout);
                return Err(Fault::new(FaultKind::Unavailable, format!("{what}: no answer within {within}")));
            }
            Ok(Err(error)) if may_come_up(&error) && Instant::now() + PAUSE < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            Ok(connected) => return connected.during(&what),
        }
    }
}

fn options(settings: &PostgresSettings) -> Result<PgConnectOptions, Fault> {
    let options: PgConnectOptions =
        settings.url.expose_secret().parse().during(&format!("read the address of {}", settings.place))?;
    let named = options.get_application_name().is_some();
    let options = if named { options } else { options.application_name(APPLICATION_NAME) };
    // Poolers refuse what they do not know about at the start of a session.
    Ok(options
        .statement_cache_capacity(if settings.prepared_statements { NAMED } else { 0 })
        .extra_float_digits(None)
        .disable_statement_logging())
}
