//! What happens to lines, servers and processes.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::line::{Condition, Line};
use super::place::{Lines, Place};
use super::s3::Trouble as Answers;
use crate::servers::clock;

/// A server that the processes need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Redis,
    Postgres,
    Storage,
}

/// One trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Line(Server, Condition),
    /// `kill -9`, and started again on what it had on its disk.
    RedisKilled,
    /// It follows another, which is not there: it takes no writes.
    RedisFollows,
    /// It has no memory left.
    RedisFull,
    /// Its snapshot fails, as on a full disk.
    RedisCannotSave,
    /// Everything in it is gone.
    RedisWiped,
    /// Killed and started with a clock that is minutes ahead, and back again.
    RedisAhead,
    /// Every connection is closed by the server.
    RedisDisconnects,
    PostgresKilled,
    PostgresRestarts,
    /// Every session is ended by the server.
    PostgresDisconnects,
    /// Somebody holds the tables.
    PostgresLocked,
    PostgresReadOnly,
    /// Its disk is full.
    PostgresFull,
    /// What a transaction has changed finds no room, which is told only at its end.
    PostgresFullAtCommit,
    /// Every statement is canceled, as at a limit in time.
    PostgresCancels,
    /// Restarted with a clock that is minutes ahead, and back again.
    PostgresAhead,
    StorageBusy,
    /// It does as it is told, and its answers are lost.
    StorageUnanswered,
    StorageForbids,
    Killed,
    /// Stopped for longer than its lease.
    Stopped,
    Drained,
}

impl Trouble {
    /// What the report calls it.
    pub fn words(self) -> String {
        let words = match self {
            Self::Line(server, condition) => {
                return format!("line to {}: {}", server.name(), in_words(condition));
            }
            Self::RedisKilled => "Redis: killed",
            Self::RedisFollows => "Redis: a replica that takes no writes",
            Self::RedisFull => "Redis: no memory left",
            Self::RedisCannotSave => "Redis: cannot save",
            Self::RedisWiped => "Redis: forgets everything",
            Self::RedisAhead => "Redis: clock 90 seconds ahead",
            Self::RedisDisconnects => "Redis: closes all connections",
            Self::PostgresKilled => "PostgreSQL: killed",
            Self::PostgresRestarts => "PostgreSQL: restarted",
            Self::PostgresDisconnects => "PostgreSQL: ends all sessions",
            Self::PostgresLocked => "PostgreSQL: tables locked",
            Self::PostgresReadOnly => "PostgreSQL: read-only",
            Self::PostgresFull => "PostgreSQL: disk full",
            Self::PostgresFullAtCommit => "PostgreSQL: disk full at each commit",
            Self::PostgresCancels => "PostgreSQL: cancels every statement",
            Self::PostgresAhead => "PostgreSQL: clock four minutes ahead",
            Self::StorageBusy => "S3: too busy",
            Self::StorageUnanswered => "S3: its answers are lost",
            Self::StorageForbids => "S3: forbids",
            Self::Killed => "a process: killed",
            Self::Stopped => "a process: stands still for longer than its lease",
            Self::Drained => "a process: drained",
        };
        words.to_owned()
    }
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Postgres => "PostgreSQL",
            Self::Storage => "S3",
        }
    }
}

fn in_words(condition: Condition) -> &'static str {
    match condition {
        Condition::Well => "well",
        Condition::Cut => "cut",
        Condition::Frozen => "frozen",
        Condition::Forgotten => "forgotten by a gateway",
        Condition::Unanswered => "cut before each answer",
        Condition::Answered => "answered by a proxy",
        Condition::Late(_) => "late",
        Condition::Narrow(_) => "narrow",
        Condition::Short(_) => "short",
    }
}

/// All that cost nothing; a run goes through the whole list again and again, each time in another order.
pub fn all(place: &Place<'_>) -> Vec<Trouble> {
    let conditions = [
        Condition::Cut,
        Condition::Frozen,
        Condition::Forgotten,
        Condition::Unanswered,
        Condition::Answered,
        Condition::Late(Duration::from_millis(300)),
        Condition::Narrow(20_000),
    ];
    let servers = [Server::Redis, Server::Postgres, Server::Storage];
    let lines = servers.into_iter().flat_map(|server| conditions.map(|one| Trouble::Line(server, one)));
    let others = [
        Trouble::RedisKilled,
        Trouble::RedisFollows,
        Trouble::RedisFull,
        Trouble::RedisCannotSave,
        Trouble::RedisDisconnects,
        Trouble::PostgresKilled,
        Trouble::PostgresRestarts,
        Trouble::PostgresDisconnects,
        Trouble::PostgresLocked,
        Trouble::PostgresReadOnly,
        Trouble::PostgresFullAtCommit,
        Trouble::PostgresCancels,
        Trouble::PostgresAhead,
        Trouble::StorageBusy,
        Trouble::StorageUnanswered,
        Trouble::StorageForbids,
        Trouble::Stopped,
        Trouble::Drained,
        // As often as everything else on a server.
        Trouble::Killed,
        Trouble::Killed,
        Trouble::Killed,
        Trouble::Killed,
    ];
    let full = place.disk.iter().map(|_| Trouble::PostgresFull);
    lines.chain(others).chain(full).collect()
}

impl Lines {
    fn of(&self, server: Server) -> &Line {
        match server {
            Server::Redis => &self.redis,
            Server::Postgres => &self.postgres,
            Server::Storage => &self.s3,
        }
    }
}

/// Does it to a line or a server, for so long. What happens to processes is the fleet's.
pub async fn befalls(place: &Place<'_>, trouble: Trouble, lasts: Duration) {
    let holder = begins(place, trouble).await;
    match trouble {
        Trouble::RedisWiped | Trouble::RedisDisconnects | Trouble::PostgresDisconnects => {}
        Trouble::PostgresCancels => {
            let began = Instant::now();
            while began.elapsed() < lasts {
                tell(place, CANCEL_ALL).await;
            }
        }
        _ => tokio::time::sleep(lasts).await,
    }
    ends(place, trouble, holder).await;
}

/// Returns the connection that holds the tables, if one does.
async fn begins(place: &Place<'_>, trouble: Trouble) -> Option<PgConnection> {
    let redis = |words: &[&str]| drop(place.redis.lock().ask(words));
    let (server, bucket) = (place.ground.server, place.ground.bucket());
    match trouble {
        Trouble::Line(server, condition) => place.lines.of(server).becomes(condition),
        Trouble::RedisKilled => place.redis.lock().stop(),
        // Nobody listens at the first port, and what is there stays.
        Trouble::RedisFollows => redis(&["REPLICAOF", "127.0.0.1", "1"]),
        Trouble::RedisFull => redis(&["CONFIG", "SET", "maxmemory", "1"]),
        Trouble::RedisCannotSave => place.redis.lock().cannot_save(),
        Trouble::RedisWiped => {
            redis(&["FLUSHALL"]);
            *place.wiped.lock() = Some(Instant::now());
        }
        Trouble::RedisAhead => {
            place.redis.lock().stop();
            place.redis.lock().start_again_with(clock::ahead(REDIS_AHEAD));
        }
        Trouble::RedisDisconnects => redis(&["CLIENT", "KILL", "TYPE", "normal"]),
        Trouble::PostgresKilled => server.kill(),
        Trouble::PostgresRestarts => server.stop(),
        Trouble::PostgresDisconnects => tell(place, END_ALL).await,
        Trouble::PostgresLocked => return Some(locks(place).await),
        Trouble::PostgresReadOnly => {
            reconfigured(place, "alter system set default_transaction_read_only = on").await;
        }
        Trouble::PostgresFull => place.disk.as_ref().expect("a disk that can be filled").fill(),
        Trouble::PostgresFullAtCommit => tell(place, NO_COMMIT).await,
        Trouble::PostgresCancels => {}
        Trouble::PostgresAhead => {
            server.stop();
            server.start_again_with(clock::ahead(AHEAD));
        }
        Trouble::StorageBusy => {
            bucket.always(Some(Answers::Answer(503, "SlowDown", "Please slow down.")));
        }
        Trouble::StorageUnanswered => bucket.always(Some(Answers::CutAfter)),
        Trouble::StorageForbids => {
            bucket.always(Some(Answers::Answer(403, "AccessDenied", "Access denied.")));
        }
        Trouble::Killed | Trouble::Stopped | Trouble::Drained => unreachable!("the fleet's: {trouble:?}"),
    }
    None
}

async fn ends(place: &Place<'_>, trouble: Trouble, holder: Option<PgConnection>) {
    let redis = |words: &[&str]| drop(place.redis.lock().ask(words));
    let server = place.ground.server;
    match trouble {
        Trouble::Line(server, _) => place.lines.of(server).becomes(Condition::Well),
        Trouble::RedisKilled => place.redis.lock().start_again(),
        Trouble::RedisFollows => redis(&["REPLICAOF", "NO", "ONE"]),
        Trouble::RedisFull => redis(&["CONFIG", "SET", "maxmemory", "0"]),
        Trouble::RedisCannotSave => place.redis.lock().need_not_save(),
        Trouble::RedisAhead => {
            place.redis.lock().stop();
            place.redis.lock().start_again();
        }
        Trouble::PostgresKilled | Trouble::PostgresRestarts => server.start_again(),
        Trouble::PostgresLocked => holder.expect("who holds them").close().await.unwrap(),
        Trouble::PostgresReadOnly => {
            reconfigured(place, "alter system reset default_transaction_read_only").await;
        }
        Trouble::PostgresFull => place.disk.as_ref().expect("the same disk").make_room(),
        Trouble::PostgresFullAtCommit => tell(place, "drop trigger no_commit on background_jobs").await,
        Trouble::PostgresAhead => {
            server.stop();
            server.start_again();
        }
        Trouble::StorageBusy | Trouble::StorageUnanswered | Trouble::StorageForbids => {
            place.ground.bucket().always(None);
        }
        Trouble::RedisWiped
        | Trouble::RedisDisconnects
        | Trouble::PostgresDisconnects
        | Trouble::PostgresCancels => {}
        Trouble::Killed | Trouble::Stopped | Trouble::Drained => unreachable!("the fleet's: {trouble:?}"),
    }
}

/// How far Redis' clock is ahead, in seconds: more than a lease. A delayed job that is put in meanwhile waits as much longer.
const REDIS_AHEAD: i64 = 90;

/// How far a wrong clock is ahead, or behind, in seconds: more than any lease or heartbeat.
pub const AHEAD: i64 = 240;

/// Holds the tables until the connection is closed.
pub async fn locks(place: &Place<'_>) -> PgConnection {
    let mut holder = place.ground.connect().await;
    let lock = "begin; lock table receipts, background_jobs, attachments in access exclusive mode";
    // A batch that is under way may be in its way, each waiting for the other.
    while sqlx::raw_sql(lock).execute(&mut holder).await.is_err() {
        sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
    }
    holder
}

const END_ALL: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid()";

const CANCEL_ALL: &str = "select count(pg_cancel_backend(pid)) from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and state = 'active'";

const NO_COMMIT: &str = "
     create or replace function no_commit() returns trigger language plpgsql as $$ begin
         raise exception 'could not extend file' using errcode = 'disk_full'; end $$;
     create constraint trigger no_commit after update on background_jobs deferrable initially deferred
         for each row execute function no_commit()";

/// For connections that are open, too.
async fn reconfigured(place: &Place<'_>, sql: &str) {
    tell(place, sql).await;
    tell(place, "select pg_reload_conf()").await;
}

/// A statement that no trouble keeps back.
async fn tell(place: &Place<'_>, sql: &str) {
    let url = place.ground.server.url(&place.ground.database);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("set default_transaction_read_only = off").execute(&mut connection).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
