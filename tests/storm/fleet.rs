//! The processes, and what befalls them and their servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::Signal;

use super::Plan;
use super::client::{self, Answer};
use super::place::Place;
use super::process::{Process, SECRET, Start};
use super::trouble::{self, AHEAD, Trouble};
use crate::servers::clock;

const PROCESSES: usize = 3;
/// How long a trouble lasts, in milliseconds.
const LASTS: std::ops::Range<u64> = 300..4500;
/// How long a process stands still: longer than its lease.
const STANDSTILL: Duration = Duration::from_secs(18);
/// The promise: so long after the end of a trouble the service does its work again.
const PROMISED: Duration = Duration::from_secs(30);

pub struct Fleet<'a> {
    place: &'a Place<'a>,
    start: Start,
    /// How many were started so far.
    started: AtomicUsize,
    workers: Mutex<Vec<Process>>,
    chance: Mutex<fastrand::Rng>,
    /// How often each trouble was there, and the longest time from its end until everything worked.
    pub troubles: Mutex<BTreeMap<String, (u32, Duration)>>,
    /// Times from the end of a trouble until everything worked.
    pub recoveries: Mutex<Vec<Duration>>,
    /// The most restarts that a process told of when all was well, by the role of the actor.
    pub restarts: Mutex<BTreeMap<String, u64>>,
}

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    pub descriptors: usize,
    pub resident_kib: u64,
}

impl<'a> Fleet<'a> {
    /// Starts all of them.
    pub fn new(place: &'a Place<'a>, plan: &Plan) -> Self {
        let start = place
            .service()
            .set("TIKKUN_WORKER__SLOTS", &plan.slots.to_string())
            .set("TIKKUN_DELETION__BATCH", &plan.batch.to_string())
            .failing(plan.off);
        let fleet = Self {
            place,
            start: match &plan.file {
                Some(file) => start.set("TIKKUN_CONFIG", file),
                None => start,
            },
            started: AtomicUsize::default(),
            workers: Mutex::default(),
            chance: Mutex::new(fastrand::Rng::with_seed(plan.seed)),
            troubles: Mutex::default(),
            recoveries: Mutex::default(),
            restarts: Mutex::default(),
        };
        fleet.workers.lock().extend((0..PROCESSES).map(|_| fleet.spawn()));
        fleet
    }

    /// Starts one, which tells the database which one it is. Of three in a row the clock of one is right, that of another is
    /// ahead, and that of the third behind.
    fn spawn(&self) -> Process {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}?application_name=process-{number}", self.place.database());
        let start = self.start.clone().set("DATABASE_URL", &url);
        let variables = match number % 3 {
            0 => Vec::new(),
            1 => clock::ahead(AHEAD).to_vec(),
            _ => clock::ahead(-AHEAD).to_vec(),
        };
        variables.into_iter().fold(start, |start, (name, value)| start.set(name, &value)).spawn()
    }

    /// One trouble after the other until the time is over, each after the last is overcome.
    pub async fn goes_through(&self, plan: &Plan) {
        let began = Instant::now();
        let mut next: Vec<_> = plan.troubles.iter().rev().copied().filter(|_| plan.once).collect();
        while began.elapsed() < plan.span {
            if next.is_empty() && !plan.once {
                next.clone_from(&plan.troubles);
                self.chance.lock().shuffle(&mut next);
            }
            let Some(one) = next.pop() else {
                tokio::time::sleep(plan.span.saturating_sub(began.elapsed())).await;
                return;
            };
            let (pause, lasts) = {
                let mut chance = self.chance.lock();
                (
                    Duration::from_millis(chance.u64(plan.pause.clone())),
                    Duration::from_millis(chance.u64(LASTS)),
                )
            };
            tokio::time::sleep(pause).await;
            match one {
                Trouble::Killed => self.kill(),
                Trouble::Stopped => self.stand_still().await,
                Trouble::Drained => self.drain().await,
                other => {
                    trouble::befalls(self.place, other, lasts).await;
                    self.lives(other).await;
                }
            }
            let over = Instant::now();
            self.is_well().await;
            let took = over.elapsed();
            println!("{one:?} for {lasts:.1?}: overcome after {took:.1?}");
            self.recoveries.lock().push(took);
            let mut troubles = self.troubles.lock();
            let (times, longest) = troubles.entry(one.words()).or_default();
            *times += 1;
            *longest = took.max(*longest);
        }
    }

    /// No trouble of a server is a crash, or a reason for an orchestrator to restart anything.
    pub async fn lives(&self, after: impl std::fmt::Debug) {
        for address in self.addresses() {
            let alive = ask(address, "/healthz").await;
            let alive = alive.is_some_and(|answer| answer.status == 200);
            assert!(alive, "/healthz after {after:?}:\n{}", self.tails());
        }
    }

    /// Waits until every process is ready and finds nothing wrong.
    pub async fn is_well(&self) {
        let began = Instant::now();
        loop {
            let addresses = self.addresses();
            let mut well = addresses.len() == PROCESSES;
            for address in addresses {
                well = well && self.is_well_at(address).await;
            }
            if well {
                return;
            }
            assert!(
                began.elapsed() < PROMISED * 2,
                "not well after {:?}:\n{}",
                began.elapsed(),
                self.tails()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_well_at(&self, address: SocketAddr) -> bool {
        if ask(address, "/readyz").await.is_none_or(|answer| answer.status != 200) {
            return false;
        }
        let Some(health) = ask(address, "/api/jobs/health").await.filter(|answer| answer.status == 200)
        else {
            return false;
        };
        let health = health.json();
        let roles = health["supervision"]["roles"].as_array().unwrap();
        let mut restarts = self.restarts.lock();
        for role in roles {
            let most = restarts.entry(role["role"].as_str().unwrap().to_owned()).or_default();
            *most = role["restarts"].as_u64().unwrap().max(*most);
        }
        true
    }

    /// Where the processes serve that do so; none of them ends by itself.
    fn addresses(&self) -> Vec<SocketAddr> {
        let mut workers = self.workers.lock();
        workers
            .iter_mut()
            .filter_map(|worker| {
                let ended = worker.ended();
                assert!(
                    ended.is_none(),
                    "a process ended by itself: {ended:?}; its log's end:\n{}",
                    worker.tail()
                );
                worker.address()
            })
            .collect()
    }

    fn kill(&self) {
        let victim = self.chance.lock().usize(..PROCESSES);
        let worker = &mut self.workers.lock()[victim];
        worker.kill();
        *worker = self.spawn();
    }

    async fn stand_still(&self) {
        let victim = self.chance.lock().usize(..PROCESSES);
        self.workers.lock()[victim].signal(Signal::STOP);
        tokio::time::sleep(STANDSTILL).await;
        self.workers.lock()[victim].signal(Signal::CONT);
    }

    async fn drain(&self) {
        let mut leaving = {
            let victim = self.chance.lock().usize(..PROCESSES);
            std::mem::replace(&mut self.workers.lock()[victim], self.spawn())
        };
        leaves(&mut leaving).await;
    }

    pub fn tails(&self) -> String {
        self.workers.lock().iter().map(Process::tail).collect::<Vec<_>>().join("\n---\n")
    }

    /// Of each process.
    pub fn footprint(&self) -> Vec<Footprint> {
        self.workers.lock().iter().map(|worker| Footprint::of(worker.pid())).collect()
    }

    /// All leave in peace.
    pub async fn leave(&self) {
        let mut workers = std::mem::take(&mut *self.workers.lock());
        for worker in &mut workers {
            leaves(worker).await;
        }
    }

    pub fn restarts(&self) -> u64 {
        self.restarts.lock().values().sum()
    }

    /// What is promised of the time from a trouble's end.
    pub fn must_have_recovered(&self) {
        let longest = self.recoveries.lock().iter().max().copied().unwrap_or_default();
        assert!(longest < PROMISED, "{longest:?}; {:#?}", self.troubles.lock());
    }
}

async fn leaves(worker: &mut Process) {
    worker.signal(Signal::TERM);
    let status = worker.exited().await;
    assert_eq!(status.code(), Some(0), "the log's end:\n{}", worker.tail());
}

/// None when nobody listens.
async fn ask(address: SocketAddr, path: &'static str) -> Option<Answer> {
    let headers = [("X-Internal-Secret", SECRET)];
    let call = move || client::try_call(address, "GET", path, &headers);
    tokio::task::spawn_blocking(call).await.unwrap()
}

impl Footprint {
    fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}
