//! The size of a run, and its settings.

use std::env;
use std::time::Duration;

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
}

impl Plan {
    #[expect(clippy::disallowed_methods, reason = "the size of a test is no setting of the service")]
    pub fn from_environment() -> Self {
        let full = env::var("TORTURE").is_ok_and(|size| size == "full");
        let seed = env::var("TORTURE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        let write_report = env::var_os("TORTURE_REPORT").is_some();
        let (fire, plain_jobs, deletions, receipts, freeze) =
            if full { (120, 10_000, 20, 800, 25) } else { (16, 1_500, 6, 200, 7) };
        Self {
            full,
            seed,
            write_report,
            processes: 3,
            fire: Duration::from_secs(fire),
            plain_jobs,
            deletions,
            receipts,
            freeze: Duration::from_secs(freeze),
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
            .set("TIKKUN_DELETION__RESULT_TTL", "never");
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
