//! The connections: how they are opened, and how dead ones are detected.
//!
//! Nothing is kept in a session, so that a pooler may use another session for each transaction. The message
//! that begins a transaction sets what it needs ([`Openings`]), locks end with it, and statements are named
//! only if there is known to be no pooler ([`Between`]). The first connection through a pooler that appears
//! later is recognised, and from then on no statement is named.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool, Row as _,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::fault::{During, kind, may_come_up, not_begun, refuses_our_start, shuts_out, turns_away};
use super::openings::Openings;
use super::references::ReferenceCache;
use super::statement::Tx;
use crate::config::PostgresSettings;
use crate::fault::{Fault, FaultKind};

/// The lifetime of a connection, so that all of them find a new primary or use a new password.
const LIFETIME: Duration = Duration::from_secs(1800);
/// The number of named statements that a connection keeps, more than a batch has.
const NAMED: usize = 16;
/// The pause between two attempts to reach a server that is not up yet.
const PAUSE: Duration = Duration::from_millis(100);
/// While there are no errors, a connection that was idle for less than this is not tested before use.
const FRESH: Duration = Duration::from_secs(1);
/// Our name among the server's sessions.
const APPLICATION_NAME: &str = "tikkun";
/// Whether a connection cannot write: it leads to a standby, or to a former primary.
const CAN_WRITE: &str = "show transaction_read_only";

/// The connection's search path for tables.
const PATH: &str = "select current_setting('search_path')";

/// A setting of ours in a session of the server. A pooler rejects or drops it, because it is unknown to it.
const MARK: &str = "tikkun.mark";
/// The server's value of this setting.
const READ_MARK: &str = "select coalesce(current_setting('tikkun.mark', true), '')";

/// What is between this process and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// Nothing: a connection is a session of the server, identified by this mark, and may keep statements.
    Nothing(Uuid),
    /// Possibly a pooler: statements kept in a session would reach another client.
    Pooler,
}

/// One database.
pub(super) struct Database {
    pool: PgPool,
    /// The options for connecting through a pooler.
    pooled: PgConnectOptions,
    openings: Openings,
    place: String,
    patience: Duration,
    /// Whether the last batch was committed. Until an error occurs, recently used connections are not tested.
    calm: Arc<AtomicBool>,
    /// Whether there is no pooler, as far as is known.
    direct: Arc<AtomicBool>,
    /// Connections opened before this time have outdated prepared statements.
    outgrown: Arc<Mutex<Option<Instant>>>,
    /// The policies of row security that bound this role when the last batch began.
    bound_by: Mutex<Option<String>>,
    /// The foreign keys that refer to attachments.
    pub(super) references: ReferenceCache,
}

impl Database {
    /// Opens connections on demand, with this search path.
    pub(super) fn new(settings: &PostgresSettings, between: Between, path: &str) -> Result<Self, Fault> {
        let calm = Arc::new(AtomicBool::new(false));
        let direct = Arc::new(AtomicBool::new(between != Between::Pooler));
        let outgrown = Arc::new(Mutex::new(None::<Instant>));
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .max_lifetime(LIFETIME)
            .test_before_acquire(false)
            .after_connect({
                let direct = Arc::clone(&direct);
                move |connection, _| {
                    let direct = Arc::clone(&direct);
                    Box::pin(async move { look_between(connection, between, &direct).await })
                }
            })
            .before_acquire({
                let (calm, outgrown) = (Arc::clone(&calm), Arc::clone(&outgrown));
                move |connection, rested| {
                    let made = Instant::now().checked_sub(rested.age);
                    let usable = outgrown.lock().is_none_or(|since| made.is_some_and(|made| made > since));
                    let trusted = rested.idle_for < FRESH && calm.load(Ordering::Acquire);
                    Box::pin(async move { Ok(usable && (trusted || can_write(connection).await?)) })
                }
            })
            .after_release({
                // A server that is there ends a statement in that time.
                let longest = settings.statement_timeout.max(settings.acquire_timeout);
                move |connection, _| Box::pin(has_answered(connection, longest))
            })
            .connect_lazy_with(options(settings, between)?);
        Ok(Self {
            pool,
            pooled: options(settings, Between::Pooler)?,
            openings: Openings::new(settings, path),
            place: settings.place.clone(),
            patience: settings.acquire_timeout,
            calm,
            direct,
            outgrown,
            bound_by: Mutex::default(),
            references: ReferenceCache::default(),
        })
    }

    /// Whether the statements of a batch are named, so that each connection plans them only once.
    pub(super) fn named(&self) -> bool {
        self.direct.load(Ordering::Acquire)
    }

    /// Begins a writing transaction.
    pub(super) async fn write(&self, what: &str) -> Result<Tx, Fault> {
        self.begin(&self.openings.write, what).await
    }

    /// Begins the transaction of a batch.
    pub(super) async fn batch(&self, what: &str) -> Result<Tx, Fault> {
        let begun = self.begin(&self.openings.batch, what).await;
        self.calm.store(false, Ordering::Release);
        begun
    }

    /// Stops using all present connections and their prepared statements.
    pub(super) fn forget_statements(&self) {
        tracing::info!(
            "the tables, or the policies that bind this role, have changed: statements are prepared anew"
        );
        *self.outgrown.lock() = Some(Instant::now());
    }

    /// Whether statements of a connection that was taken then may have been planned under other policies than these.
    pub(super) fn is_bound_anew(&self, taken: Instant, bound_by: &str) -> bool {
        let mut known = self.bound_by.lock();
        if known.replace(bound_by.to_owned()).is_some_and(|before| before != bound_by) && self.named() {
            self.forget_statements();
        }
        self.named() && self.outgrown.lock().is_some_and(|since| since >= taken)
    }

    /// Records that a batch was committed.
    pub(super) fn went_well(&self) {
        self.calm.store(true, Ordering::Release);
    }

    /// Begins a read-only transaction with one snapshot.
    pub(super) async fn read(&self, what: &str) -> Result<Tx, Fault> {
        self.begin(&self.openings.read, what).await
    }

    async fn begin(&self, opening: &Arc<str>, what: &str) -> Result<Tx, Fault> {
        let begin = || self.pool.begin_with(AssertSqlSafe(Arc::clone(opening)));
        let mut begun = begin().await;
        // The connection was not tested, and may have been lost meanwhile.
        if begun.as_ref().is_err_and(is_lost) && self.calm.swap(false, Ordering::AcqRel) {
            begun = begin().await;
        }
        // Most poolers reject a mark.
        if begun.as_ref().is_err_and(refuses_our_start) && self.named() {
            pooler_appeared(&self.direct);
            self.pool.set_connect_options(self.pooled.clone());
            begun = begin().await;
        }
        match begun {
            Err(sqlx::Error::PoolTimedOut) => {
                let within = humantime::format_duration(self.patience);
                let text = format!("{what}: no connection to {} within {within}", self.place);
                Err(Fault::new(FaultKind::Unavailable, text))
            }
            begun => begun.map_err(|error| not_begun(error, what)),
        }
    }
}

/// Whether another connection may succeed.
fn is_lost(error: &sqlx::Error) -> bool {
    kind(error) == FaultKind::Unavailable && !matches!(error, sqlx::Error::PoolTimedOut)
}

/// Whether an idle connection is alive and its server accepts writes. After a failover the old primary may
/// continue to answer for long; a new connection reaches the new one.
async fn can_write(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let answer = connection.fetch_one(sqlx::raw_sql(CAN_WRITE)).await?;
    let read_only: String = answer.try_get(0)?;
    Ok(read_only == "off")
}

/// Waits until the server has answered everything, a pending rollback included. A call that was given up may have been
/// on a connection that a firewall or a failover has forgotten, without a word to either side: no answer ever comes, the
/// kernel gives up after a quarter of an hour, and meanwhile the pool would count it as one of its connections.
async fn has_answered(connection: &mut PgConnection, longest: Duration) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(longest, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        // An error closes it without a last word to the server.
        Err(_) => Err(sqlx::Error::Io(ErrorKind::TimedOut.into())),
    }
}

/// Checks that a new connection still leads to the server directly. If not, it may not keep statements.
async fn look_between(
    connection: &mut PgConnection,
    between: Between,
    direct: &AtomicBool,
) -> Result<(), sqlx::Error> {
    let Between::Nothing(mark) = between else { return Ok(()) };
    if direct.load(Ordering::Acquire) && !has_mark(connection, mark).await? {
        pooler_appeared(direct);
    }
    Ok(())
}

fn pooler_appeared(direct: &AtomicBool) {
    if direct.swap(false, Ordering::AcqRel) {
        tracing::warn!("a pooler stands before the database now: statements have no names from here on");
    }
}

async fn has_mark(connection: &mut PgConnection, mark: Uuid) -> Result<bool, sqlx::Error> {
    let answer = connection.fetch_one(sqlx::raw_sql(READ_MARK)).await?;
    Ok(answer.try_get::<String, _>(0)? == mark.to_string())
}

/// The search path of this connection.
pub(super) async fn search_path(connection: &mut PgConnection, place: &str) -> Result<String, Fault> {
    let path = connection.fetch_one(sqlx::raw_sql(PATH)).await.and_then(|answer| answer.try_get(0));
    path.during(&format!("look at {place}"))
}

/// Opens a single connection for work at the start, and finds out whether there is a pooler. It waits for a
/// server that is starting as long as for a connection of the pool.
pub(super) async fn connect(settings: &PostgresSettings) -> Result<(PgConnection, Between), Fault> {
    let what = format!("connect to {}", settings.place);
    let mut between =
        if settings.prepared_statements { Between::Nothing(Uuid::new_v4()) } else { Between::Pooler };
    let deadline = Instant::now() + settings.acquire_timeout;
    loop {
        let options = options(settings, between)?;
        match tokio::time::timeout_at(deadline, connect_with(&options, between)).await {
            Err(_) => {
                let within = humantime::format_duration(settings.acquire_timeout);
                return Err(Fault::new(FaultKind::Unavailable, format!("{what}: no answer within {within}")));
            }
            Ok(Err(error)) if may_come_up(&error) && Instant::now() + PAUSE < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            // Whatever the cause, a connection without the mark gives the better error.
            Ok(Err(sqlx::Error::Database(_))) if between != Between::Pooler => between = Between::Pooler,
            Ok(Err(error)) if turns_away(&error) => {
                let text = format!("{what}: it answers, but not to this address; check DATABASE_URL");
                return Err(Fault::new(FaultKind::Permanent, text).because(error));
            }
            Ok(Err(error)) if shuts_out(&error) => return Err(not_begun(error, &what)),
            Ok(connected) => return connected.during(&what),
        }
    }
}

async fn connect_with(
    options: &PgConnectOptions,
    between: Between,
) -> Result<(PgConnection, Between), sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    match between {
        Between::Nothing(mark) if has_mark(&mut connection, mark).await? => Ok((connection, between)),
        _ => Ok((connection, Between::Pooler)),
    }
}

fn options(settings: &PostgresSettings, between: Between) -> Result<PgConnectOptions, Fault> {
    let options: PgConnectOptions =
        settings.url.expose_secret().parse().during(&format!("read the address of {}", settings.place))?;
    let named = options.get_application_name().is_some();
    let options = if named { options } else { options.application_name(APPLICATION_NAME) };
    let options = match between {
        Between::Nothing(mark) => options.statement_cache_capacity(NAMED).options([(MARK, mark)]),
        Between::Pooler => options.statement_cache_capacity(0),
    };
    // Poolers reject unknown settings at the start of a session.
    Ok(options.extra_float_digits(None).disable_statement_logging())
}
