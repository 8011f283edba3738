//! The three servers, each behind a line.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tikkun::queue::{Broker, open_rq};
use tikkun::store::migrate_postgres;

use super::ground::Ground;
use super::line::{Line, Server as Far};
use super::postgres_server::Server;
use super::process::Start;
use super::redis_server::Redis;
use super::s3::{self, BUCKET, KEY_ID};
use crate::servers::small_disk::SmallDisk;

/// Only a failing test waits so long for a server of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// The database's disk: more than all that a run writes.
const DISK: &str = "512m";

/// The queues that are served.
pub const QUEUES: [&str; 3] = ["high", "maintenance", "default"];

pub struct Place<'a> {
    pub ground: Ground<'a>,
    pub redis: Mutex<Redis>,
    pub lines: Lines,
    /// The disk of the database, where a test may have one that can be filled.
    pub disk: Option<SmallDisk>,
    /// The queue as a program beside the service uses it, past the line.
    pub broker: Arc<dyn Broker>,
    /// When Redis forgot everything for the last time.
    pub wiped: Mutex<Option<Instant>>,
}

/// How the processes reach the servers.
pub struct Lines {
    pub redis: Line,
    pub postgres: Line,
    pub s3: Line,
}

impl<'a> Place<'a> {
    pub async fn on(server: &'a Server) -> Self {
        Self::with(server, Redis::start_keeping()).await
    }

    pub async fn with(server: &'a Server, redis: Redis) -> Self {
        let ground = Ground::with_bucket(server).await;
        let disk = small_disk_of(server, &ground.database).await;
        migrate_postgres(&server.settings(&ground.database), false).await.unwrap();
        let lines = Lines {
            redis: Line::to(Far::Socket(redis.socket())),
            postgres: Line::to(Far::Port(server.port())),
            s3: Line::to(Far::Port(ground.bucket().port())),
        };
        let broker = open_rq(&redis.settings(0)).unwrap();
        Self { ground, lines, disk, broker, redis: Mutex::new(redis), wiped: Mutex::default() }
    }

    /// The database behind its line, as the web application writes it.
    pub fn database(&self) -> String {
        let direct = format!(":{}/", self.ground.server.port());
        let line = format!(":{}/", self.lines.postgres.port());
        self.ground.sqlalchemy_url().replacen(&direct, &line, 1)
    }

    /// How each process is started, but for its database: no setting that has to do with waiting or rescue differs from the default.
    pub fn service(&self) -> Start {
        Start::bare(self.ground.data())
            .set("LOG_LEVEL", "INFO")
            .set("REDIS_URL", &format!("redis://127.0.0.1:{}/0", self.lines.redis.port()))
            .set("ATTACHMENT_STORAGE_DRIVER", "r2")
            .set("R2_ENDPOINT", &format!("http://127.0.0.1:{}", self.lines.s3.port()))
            .set("R2_BUCKET_NAME", BUCKET)
            .set("R2_ACCESS_KEY_ID", KEY_ID)
            .set("R2_SECRET_ACCESS_KEY", s3::SECRET)
            .set("RQ_QUEUES", &QUEUES.join(","))
            .set("TIKKUN_DIAGNOSTICS__ENABLED", "true")
            .set("TIKKUN_DELETION__THROTTLE", "500ms")
            .set("TIKKUN_DELETION__RESULT_TTL", "never")
    }

    /// Asks a server that may be away just now, until it answers.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        crate::lost_redis::place::within(PATIENCE, what, look).await
    }
}

/// Moves a database to a disk that can be filled, where mounting is allowed. Nobody may be connected to it.
async fn small_disk_of(server: &Server, database: &str) -> Option<SmallDisk> {
    let folder = server.folder().join("disk");
    fs::create_dir(&folder).unwrap();
    let disk = SmallDisk::over(&folder, DISK)?;
    let owner = fs::metadata(server.folder().join("data")).unwrap();
    chown(&folder, Some(owner.uid()), Some(owner.gid())).unwrap();
    server.run("postgres", &format!("create tablespace small location '{}'", folder.display())).await;
    server.run("postgres", &format!("alter database {database} set tablespace small")).await;
    Some(disk)
}
