//! The three servers, each behind a line.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tikkun::queue::{Broker, open_rq};
use tikkun::store::migrate_postgres;

use super::ground::Ground;
use super::line::{Line, Server as Far};
use super::postgres_server::Server;
use super::process::Start;
use super::redis_server::Redis;
use super::s3::{self, BUCKET, KEY_ID};

/// Only a failing test waits so long for a server of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// The queues that are served.
pub const QUEUES: [&str; 3] = ["high", "maintenance", "default"];

pub struct Place<'a> {
    pub ground: Ground<'a>,
    pub redis: Mutex<Redis>,
    pub lines: Lines,
    /// The queue as a program beside the service uses it, past the line.
    pub broker: Arc<dyn Broker>,
}

/// How the processes reach the servers.
pub struct Lines {
    pub redis: Line,
    pub postgres: Line,
    pub s3: Line,
}

impl<'a> Place<'a> {
    pub async fn on(server: &'a Server) -> Self {
        let ground = Ground::with_bucket(server).await;
        migrate_postgres(&server.settings(&ground.database), false).await.unwrap();
        let redis = Redis::start_keeping();
        let lines = Lines {
            redis: Line::to(Far::Socket(redis.socket())),
            postgres: Line::to(Far::Port(server.port())),
            s3: Line::to(Far::Port(ground.bucket().port())),
        };
        let broker = open_rq(&redis.settings(0)).unwrap();
        Self { ground, lines, broker, redis: Mutex::new(redis) }
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
            .set("TIKKUN_WORKER__SLOTS", "8")
            .set("TIKKUN_DIAGNOSTICS__ENABLED", "true")
            .set("TIKKUN_DELETION__THROTTLE", "500ms")
            .set("TIKKUN_DELETION__RESULT_TTL", "never")
    }

    /// Asks a server that may be away just now, until it answers.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        crate::lost_redis::place::within(PATIENCE, what, look).await
    }
}
