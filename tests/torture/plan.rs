//! The size of a run, and its settings.

use std::env;
use std::time::Duration;

use super::figures;
use super::ground::Ground;
use super::process::Start;

/// One run.
pub struct Plan {
    pub full: bool,
    pub seed: u64,
    pub write_report: bool,
    pub processes: usize,
    /// How long the fire lasts.
    pub fire: Duration,
    pub plain_jobs: usize,
    pub deletions: i64,
    /// Receipts of each.
    pub receipts: i64,
    /// How long a frozen process stays so: longer than its lease.
    pub freeze: Duration,
    /// So many kills for each process that is frozen.
    pub kills_a_freeze: u32,
    /// What is switched off in the processes, as `FAILPOINTS` says it.
    pub off: &'static str,
}

impl Plan {
    #[expect(clippy::disallowed_methods, reason = "the size of a test is no setting of the service")]
    pub fn from_environment() -> Self {
        let full = env::var("TORTURE").is_ok_and(|size| size == "full");
        let seed = env::var("TORTURE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        let write_report = figures::writes_report();
        let short = Self { write_report, ..Self::short(seed) };
        if !full {
            return short;
        }
        Self {
            full,
            fire: Duration::from_secs(120),
            plain_jobs: 10_000,
            deletions: 20,
            receipts: 800,
            freeze: Duration::from_secs(25),
            ..short
        }
    }

    /// A short run.
    pub fn short(seed: u64) -> Self {
        Self {
            full: false,
            seed,
            write_report: false,
            processes: 3,
            fire: Duration::from_secs(16),
            plain_jobs: 1_500,
            deletions: 6,
            receipts: 200,
            freeze: Duration::from_secs(7),
            kills_a_freeze: 12,
            off: "",
        }
    }

    /// How each process is started. The full run changes no setting that has to do with rescue.
    pub fn start(&self, ground: &Ground) -> Start {
        let start = Start::bare(ground.path())
            .set("LOG_LEVEL", "INFO")
            .set("RQ_QUEUES", "maintenance,default")
            .set("TIKKUN_WORKER__SLOTS", "8")
            .set("TIKKUN_DIAGNOSTICS__ENABLED", "true")
            .set("TIKKUN_DELETION__BATCH", "20")
            .set("TIKKUN_DELETION__THROTTLE", "100ms")
            .set("TIKKUN_DELETION__RUNTIME_LIMIT", "2s")
            .set("TIKKUN_DELETION__RESULT_TTL", "never")
            .failing(self.off);
        if self.full {
            return start;
        }
        start
            .set("TIKKUN_LEASE__TTL", "3s")
            .set("TIKKUN_LEASE__RENEW", "1s")
            .set("TIKKUN_RESCUER__INTERVAL", "500ms")
            .set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "1s")
            .set("TIKKUN_RESCUER__RECONCILE_GRACE", "1s")
    }
}
