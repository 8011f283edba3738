//! The processes, and the faults that are injected.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::Signal;
use sqlx::Connection as _;

use super::ground::Ground;
use super::plan::Plan;
use super::process::{Process, Start};
use super::rescues::{Fate, Rescues};

/// Between two strokes.
const PAUSE: std::ops::Range<u64> = 150..1300;
/// How long a place stays empty that is not filled at once: longer than others take to notice.
const ABSENCE: Duration = Duration::from_secs(5);
/// Only a failing test waits so long for a drain.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a process is going through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    FrozenUntil(Instant),
    DrainingSince(Instant),
    /// Killed, and not replaced before then.
    GoneUntil(Instant),
}

struct Worker {
    process: Process,
    state: State,
}

/// What was done, counted.
#[derive(Clone, Copy, Default)]
pub struct Strokes {
    pub kills: u32,
    pub freezes: u32,
    pub drains: u32,
    pub starts: u32,
    /// Ends that a process told after it had been frozen, and that were refused.
    pub late_ends: usize,
}

pub struct Fleet<'a> {
    pub ground: &'a Ground,
    rescues: &'a Rescues,
    start: Start,
    fire: Duration,
    freeze: Duration,
    kills_a_freeze: u32,
    workers: Mutex<Vec<Worker>>,
    /// Spared while another is frozen: a lease is over for who has watched it stand still for its whole time.
    witness: Mutex<Option<usize>>,
    chance: Mutex<fastrand::Rng>,
    strokes: Mutex<Strokes>,
}

impl<'a> Fleet<'a> {
    pub fn new(plan: &Plan, ground: &'a Ground, rescues: &'a Rescues) -> Self {
        let start = plan.start(ground);
        let workers =
            (0..plan.processes).map(|_| Worker { process: start.spawn(), state: State::Alive }).collect();
        Self {
            ground,
            rescues,
            start,
            fire: plan.fire,
            freeze: plan.freeze,
            kills_a_freeze: plan.kills_a_freeze,
            workers: Mutex::new(workers),
            witness: Mutex::default(),
            chance: Mutex::new(fastrand::Rng::with_seed(plan.seed ^ 1)),
            strokes: Mutex::default(),
        }
    }

    pub fn strokes(&self) -> Strokes {
        *self.strokes.lock()
    }

    /// The address of a process that serves, if there is one.
    pub fn somebody(&self) -> Option<SocketAddr> {
        let workers = self.workers.lock();
        let alive = workers.iter().filter(|one| one.state == State::Alive);
        let serving: Vec<_> = alive.filter_map(|one| one.process.address()).collect();
        self.chance.lock().choice(serving)
    }

    /// One stroke after the other until the time is over.
    pub async fn under_fire(&self) {
        let began = Instant::now();
        while began.elapsed() < self.fire {
            let pause = self.chance.lock().u64(PAUSE);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.look_after();
            let Some(victim) = self.victim() else { continue };
            let Strokes { kills, freezes, drains, .. } = self.strokes();
            // Kills are the rule; of the others each run gets its share, whatever the dice say.
            if freezes * self.kills_a_freeze < kills && !self.anybody_frozen() {
                self.freeze(victim).await;
            } else if drains * 6 < kills {
                self.drain(victim);
            } else {
                self.kill(victim).await;
            }
        }
    }

    /// One that lives, if there is one.
    fn victim(&self) -> Option<usize> {
        let workers = self.workers.lock();
        let witness = *self.witness.lock();
        let alive = (0..workers.len()).filter(|one| workers[*one].state == State::Alive);
        let alive: Vec<_> = alive.filter(|one| Some(*one) != witness).collect();
        self.chance.lock().choice(alive)
    }

    fn anybody_frozen(&self) -> bool {
        self.workers.lock().iter().any(|one| matches!(one.state, State::FrozenUntil(_)))
    }

    /// Wakes who slept long enough, replaces who has drained, and lets nobody end by itself.
    pub fn look_after(&self) {
        if !self.anybody_frozen() {
            *self.witness.lock() = None;
        }
        for worker in self.workers.lock().iter_mut() {
            let ended = worker.process.ended();
            match (worker.state, ended) {
                (State::Alive, None) => {}
                (State::FrozenUntil(end), None) if Instant::now() >= end => {
                    worker.process.signal(Signal::CONT);
                    worker.state = State::Alive;
                }
                (State::FrozenUntil(_), None) => {}
                (State::GoneUntil(end), _) if Instant::now() >= end => self.replace(worker),
                (State::GoneUntil(_), _) => {}
                (State::DrainingSince(since), None) => assert!(
                    since.elapsed() < DEADLINE,
                    "waited in vain for a drain; the log's end:\n{}",
                    worker.process.tail()
                ),
                (State::DrainingSince(_), Some(status)) if status.code() == Some(0) => self.replace(worker),
                (_, Some(status)) => {
                    panic!("a process ended by itself: {status:?}; the log's end:\n{}", worker.process.tail())
                }
            }
        }
    }

    fn replace(&self, worker: &mut Worker) {
        let mut strokes = self.strokes.lock();
        strokes.late_ends += late_ends(&worker.process);
        strokes.starts += 1;
        *worker = Worker { process: self.start.spawn(), state: State::Alive };
    }

    async fn kill(&self, victim: usize) {
        let pid = self.workers.lock()[victim].process.pid();
        let doomed = self.rescues.process_of(pid).await;
        let killed = Instant::now();
        {
            let worker = &mut self.workers.lock()[victim];
            worker.process.kill();
            let mut strokes = self.strokes.lock();
            strokes.kills += 1;
            // Every fifth place stays empty for a while: then the others must notice by themselves.
            let gone = if strokes.kills.is_multiple_of(5) { ABSENCE } else { Duration::ZERO };
            worker.state = State::GoneUntil(killed + gone);
        }
        self.look_after();
        self.rescues.struck(doomed, Fate::Killed, killed).await;
    }

    /// Freezes a process for longer than its lease, at a moment when it holds no lock on a file: SQLite's
    /// locks know no lease.
    async fn freeze(&self, victim: usize) {
        let pid = self.workers.lock()[victim].process.pid();
        let frozen = self.rescues.process_of(pid).await;
        for _ in 0..50 {
            self.workers.lock()[victim].process.signal(Signal::STOP);
            if writable(self.ground).await {
                let end = Instant::now() + self.freeze;
                self.workers.lock()[victim].state = State::FrozenUntil(end);
                *self.witness.lock() = self.victim().filter(|other| *other != victim);
                self.strokes.lock().freezes += 1;
                self.rescues.struck(frozen, Fate::Frozen, Instant::now()).await;
                return;
            }
            self.workers.lock()[victim].process.signal(Signal::CONT);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn drain(&self, victim: usize) {
        let worker = &mut self.workers.lock()[victim];
        // One that is still starting has nobody yet who hears the signal.
        if worker.process.address().is_some() {
            worker.process.signal(Signal::TERM);
            worker.state = State::DrainingSince(Instant::now());
            self.strokes.lock().drains += 1;
        }
    }

    /// Whoever is frozen goes on, and every place is filled.
    pub fn calm_down(&self) {
        for worker in self.workers.lock().iter_mut() {
            if let State::FrozenUntil(end) | State::GoneUntil(end) = &mut worker.state {
                *end = Instant::now();
            }
        }
        self.look_after();
    }

    pub fn tails(&self) -> String {
        self.workers.lock().iter().map(|one| one.process.tail()).collect::<Vec<_>>().join("\n---\n")
    }

    /// All leave in peace.
    pub async fn leave(&self) {
        let mut workers = std::mem::take(&mut *self.workers.lock());
        for worker in &mut workers {
            worker.process.until("the process to serve", async |process| process.address()).await;
            worker.process.signal(Signal::TERM);
        }
        for worker in &mut workers {
            let status = worker.process.exited().await;
            assert_eq!(status.code(), Some(0), "the log's end:\n{}", worker.process.tail());
            self.strokes.lock().late_ends += late_ends(&worker.process);
        }
    }
}

fn late_ends(process: &Process) -> usize {
    process.lines("the job was taken from this process before it ended; its end is not counted").len()
}

/// Whether somebody else could write to both files now.
async fn writable(ground: &Ground) -> bool {
    for name in ["tikkun.db", "queue.db"] {
        let mut connection = ground.connect(name).await;
        sqlx::raw_sql("pragma busy_timeout = 100").execute(&mut connection).await.unwrap();
        let free = sqlx::raw_sql("begin immediate; rollback").execute(&mut connection).await.is_ok();
        connection.close().await.unwrap();
        if !free {
            return false;
        }
    }
    true
}
