//! The connections: how they are made and told apart from dead ones.
//!
//! Nothing is kept in a session, so that a pooler may hand each transaction another one: what a transaction needs is set
//! in the message that begins it ([`Openings`]), locks end with it, and statements have no name unless it was seen that
//! nobody stands between ([`Between`]). A pooler that appears later is seen by the first connection that leads to it: from
//! then on no statement has a name.

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

use super::fault::{During, kind, may_come_up, refuses_our_start, turns_away};
use super::openings::Openings;
use super::references::ReferenceCache;
use super::statement::Tx;
use crate::config::PostgresSettings;
use crate::fault::{Fault, FaultKind};

/// A connection is closed after this time, so that a new primary or a new password is found by all.
const LIFETIME: Duration = Duration::from_secs(1800);
/// Named statements that a connection keeps: more than a batch has.
const NAMED: usize = 16;
/// Pause between two tries to reach a server that is not up yet.
const PAUSE: Duration = Duration::from_millis(100);
/// A connection that has rested for less is taken on trust while all goes well.
const FRESH: Duration = Duration::from_secs(1);
/// How we are called among the server's sessions.
const APPLICATION_NAME: &str = "tikkun";
/// What a connection answers that cannot write: a standby, or a primary that has become one.
const CAN_WRITE: &str = "show transaction_read_only";

/// The path on which a connection finds its tables.
const PATH: &str = "select current_setting('search_path')";

/// A setting of ours in a session of the server. A pooler refuses it or drops it, for it cannot know it.
const MARK: &str = "tikkun.mark";
/// What the server has under that name.
const READ_MARK: &str = "select coalesce(current_setting('tikkun.mark', true), '')";

/// What stands between us and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// Nothing: a connection is a session of the server, known by this mark, and may keep statements.
    Nothing(Uuid),
    /// A pooler, perhaps: what a session keeps would turn up in somebody else's.
    Pooler,
}

/// One database.
pub(super) struct Database {
    pool: PgPool,
    /// How to connect when a pooler stands between.
    pooled: PgConnectOptions,
    openings: Openings,
    place: String,
    patience: Duration,
    /// Whether the last batch was committed: until something goes wrong, connections are taken on trust.
    calm: Arc<AtomicBool>,
    /// Whether nothing stands between, as far as was seen.
    direct: Arc<AtomicBool>,
    /// Connections that were made before keep statements that the tables have outgrown.
    outgrown: Arc<Mutex<Option<Instant>>>,
    /// Which foreign keys lead to attachments.
    pub(super) references: ReferenceCache,
}

impl Database {
    /// On connections that are made when they are needed, with the tables on this path.
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
            references: ReferenceCache::default(),
        })
    }

    /// Whether the statements of a batch have names, so that each connection plans them once.
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

    /// Uses no connection any more that was made until now, nor any statement that one keeps.
    pub(super) fn forget_statements(&self) {
        tracing::info!("the tables have changed: statements are prepared anew");
        *self.outgrown.lock() = Some(Instant::now());
    }

    /// A batch was committed.
    pub(super) fn went_well(&self) {
        self.calm.store(true, Ordering::Release);
    }

    /// Begins a transaction that only reads, and sees one moment.
    pub(super) async fn read(&self, what: &str) -> Result<Tx, Fault> {
        self.begin(&self.openings.read, what).await
    }

    async fn begin(&self, opening: &Arc<str>, what: &str) -> Result<Tx, Fault> {
        let begin = || self.pool.begin_with(AssertSqlSafe(Arc::clone(opening)));
        let mut begun = begin().await;
        // A connection that was taken on trust may have been lost meanwhile.
        if begun.as_ref().is_err_and(is_lost) && self.calm.swap(false, Ordering::AcqRel) {
            begun = begin().await;
        }
        // Most poolers refuse a mark.
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
            begun => begun.during(what),
        }
    }
}

/// Whether another connection may do better.
fn is_lost(error: &sqlx::Error) -> bool {
    kind(error) == FaultKind::Unavailable && !matches!(error, sqlx::Error::PoolTimedOut)
}

/// Whether an idle connection is alive and leads to a server that takes writes. After a failover the old
/// primary may go on answering for long; a new connection finds the new one.
async fn can_write(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let answer = connection.fetch_one(sqlx::raw_sql(CAN_WRITE)).await?;
    let read_only: String = answer.try_get(0)?;
    Ok(read_only == "off")
}

/// Sees whether a new connection leads to the server itself still. One that does not may not keep statements.
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

/// The path on which this connection finds its tables.
pub(super) async fn search_path(connection: &mut PgConnection, place: &str) -> Result<String, Fault> {
    let path = connection.fetch_one(sqlx::raw_sql(PATH)).await.and_then(|answer| answer.try_get(0));
    path.during(&format!("look at {place}"))
}

/// One connection of its own, for what is done once, and what stands between. A server that is about to come up
/// is waited for as long as for a connection of the pool.
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
            // Whatever is the matter, the plain way tells it better.
            Ok(Err(sqlx::Error::Database(_))) if between != Between::Pooler => between = Between::Pooler,
            Ok(Err(error)) if turns_away(&error) => {
                let text = format!("{what}: it answers, but not to this address; check DATABASE_URL");
                return Err(Fault::new(FaultKind::Permanent, text).because(error));
            }
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
    // Poolers refuse what they do not know about at the start of a session.
    Ok(options.extra_float_digits(None).disable_statement_logging())
}
