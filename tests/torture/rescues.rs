//! How long the jobs of a killed process wait until they are back in their queue, and until they run again.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

use super::ground::{self, Ground};

/// Between two looks: how exact the times are.
const LOOK: Duration = Duration::from_millis(20);

/// What happened to a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Killed,
    Frozen,
}

/// A delivery whose process was killed or frozen.
struct Victim {
    job: String,
    execution: String,
    fate: Fate,
    since: Instant,
    is_back: bool,
}

pub struct Rescues {
    queue: SqlitePool,
    open: Mutex<Vec<Victim>>,
    /// Times until a job was taken from the dead process.
    pub back: Mutex<Vec<Duration>>,
    /// Jobs in hand when their process was frozen.
    pub frozen: Mutex<usize>,
    /// Times until one was taken from it.
    pub taken: Mutex<Vec<Duration>>,
    /// Times until a plain job was delivered anew, or had ended for good. A retry waits behind all others.
    pub plain_again: Mutex<Vec<Duration>>,
    /// The same for deletions, which come back to the head of their queue.
    pub deletions_again: Mutex<Vec<Duration>>,
}

impl Rescues {
    pub async fn new(ground: &Ground) -> Self {
        let options = ground::file(&ground.path().join("queue.db"));
        let queue = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        Self {
            queue,
            open: Mutex::default(),
            back: Mutex::default(),
            frozen: Mutex::default(),
            taken: Mutex::default(),
            plain_again: Mutex::default(),
            deletions_again: Mutex::default(),
        }
    }

    /// Under which name a process fetches; none while it has no lease yet.
    pub async fn process_of(&self, pid: u32) -> Option<String> {
        let named =
            "select id from tikkun_processes where pid = ?1 and not lost order by started_at desc limit 1";
        sqlx::query_scalar(named).bind(pid).fetch_optional(&self.queue).await.unwrap()
    }

    /// Notes what a process had in hand when it met its fate.
    pub async fn struck(&self, process: Option<String>, fate: Fate, since: Instant) {
        let Some(process) = process else { return };
        let held = "select id, execution from tikkun_jobs where state = 'started' and process = ?1";
        let held: Vec<(String, String)> =
            sqlx::query_as(held).bind(process).fetch_all(&self.queue).await.unwrap();
        if fate == Fate::Frozen {
            *self.frozen.lock() += held.len();
        }
        let victim = |(job, execution)| Victim { job, execution, fate, since, is_back: false };
        self.open.lock().extend(held.into_iter().map(victim));
    }

    /// Looks after them, for ever.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let jobs: Vec<String> = self.open.lock().iter().map(|victim| victim.job.clone()).collect();
            if jobs.is_empty() {
                continue;
            }
            let now =
                "select id, execution, state from tikkun_jobs where id in (select value from json_each(?1))";
            let jobs = serde_json::to_string(&jobs).unwrap();
            let now: Vec<(String, String, String)> =
                sqlx::query_as(now).bind(jobs).fetch_all(&self.queue).await.unwrap();
            self.look(&now);
        }
    }

    fn look(&self, now: &[(String, String, String)]) {
        self.open.lock().retain_mut(|victim| {
            let Some((_, execution, state)) = now.iter().find(|(job, ..)| *job == victim.job) else {
                return true;
            };
            let (elsewhere, lent) = (*execution != victim.execution, state == "started");
            let took = victim.since.elapsed();
            if !victim.is_back && (elsewhere || !lent) {
                victim.is_back = true;
                // A frozen process that wakes up in time ends its jobs itself.
                match victim.fate {
                    Fate::Killed => self.back.lock().push(took),
                    Fate::Frozen if elsewhere || matches!(state.as_str(), "queued" | "scheduled") => {
                        self.taken.lock().push(took)
                    }
                    Fate::Frozen => {}
                }
            }
            let over = elsewhere || matches!(state.as_str(), "finished" | "failed");
            if over && victim.fate == Fate::Killed {
                let plain = victim.job.starts_with("plain-");
                let again = if plain { &self.plain_again } else { &self.deletions_again };
                again.lock().push(took);
            }
            !over
        });
    }
}
