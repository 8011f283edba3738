//! Processes that replace each other, and the load that keeps all of them busy on every queue.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tikkun::job::{NewJob, Retries};

use super::ground::Tenant;
use super::place::{Place, QUEUES, sleep};
use super::process::{Process, Start};
use super::registers::{self, Seen};

/// The promise: so long after its process was killed a job is dealt with by its policy.
const PROMISED: Duration = Duration::from_secs(30);
/// Plain jobs that wait in each queue: more than a process has slots for it.
const STOCK: u64 = 5;
const RECEIPTS: i64 = 400;

/// How large a run is, and with what settings.
pub struct Plan {
    pub kills: u64,
    pub seed: u64,
}

impl Plan {
    /// A long run changes no setting that has to do with rescue.
    fn is_full(&self) -> bool {
        self.kills >= 100
    }

    /// Deletions that are under way at a time: those of dead processes, too, which wait for their lease to run out.
    fn deletions(&self) -> i64 {
        if self.is_full() { 12 } else { 4 }
    }

    /// Tenants that are there before anything runs: more than there is time to delete.
    fn tenants(&self) -> i64 {
        if self.is_full() { 90 } else { 10 }
    }

    /// How long a plain job takes, in milliseconds.
    fn spans(&self) -> Range<u32> {
        if self.is_full() { 1500..6000 } else { 300..2500 }
    }

    fn start(&self, place: &Place) -> Start {
        let caps: Vec<_> = QUEUES.iter().map(|queue| format!("{queue}=2")).collect();
        let start = place
            .service()
            .set("LOG_LEVEL", "INFO")
            .set("TIKKUN_WORKER__QUEUE_CAPS", &caps.join(","))
            .set("TIKKUN_DELETION__RUNTIME_LIMIT", "5s")
            .set("TIKKUN_DELETION__RESULT_TTL", "never");
        if self.is_full() {
            return start
                .set("TIKKUN_LEASE__TTL", "15s")
                .set("TIKKUN_LEASE__RENEW", "5s")
                .set("TIKKUN_RESCUER__INTERVAL", "3s")
                .set("TIKKUN_DELETION__THROTTLE", "1s");
        }
        start
            .set("TIKKUN_RESCUER__INTERVAL", "500ms")
            .set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "2s")
            .set("TIKKUN_DELETION__THROTTLE", "200ms")
    }
}

/// A delivery whose process was killed.
struct Victim {
    member: String,
    since: Instant,
}

pub struct Fleet<'a> {
    plan: &'a Plan,
    place: &'a Place,
    connection: MultiplexedConnection,
    start: Start,
    workers: Vec<Process>,
    victims: Vec<Victim>,
    /// Every job that was put in.
    pub jobs: Vec<String>,
    /// Tenants whose deletion was asked for, with its row.
    pub deletions: Vec<(Tenant, i64)>,
    /// Tenants whose turn has not come.
    rest: Vec<Tenant>,
    pub kills: u64,
    /// Jobs in hand when their process was killed.
    pub in_hand: usize,
    /// The longest that one of them waited.
    pub longest: Duration,
    /// Looks at all registers.
    pub looks: u64,
}

impl<'a> Fleet<'a> {
    pub async fn new(plan: &'a Plan, place: &'a Place, processes: usize) -> Self {
        let start = plan.start(place);
        let mut rest = Vec::new();
        for number in 1..=plan.tenants() {
            rest.push(place.ground.tenant(10 * number, RECEIPTS).await);
        }
        Self {
            plan,
            place,
            connection: registers::connect(&place.redis.url()).await,
            workers: (0..processes).map(|_| start.spawn()).collect(),
            start,
            victims: Vec::new(),
            jobs: Vec::new(),
            deletions: Vec::new(),
            rest,
            kills: 0,
            in_hand: 0,
            longest: Duration::ZERO,
            looks: 0,
        }
    }

    /// Brings in what keeps every queue busy.
    pub async fn stock_up(&mut self, chance: &mut fastrand::Rng) {
        let counts = self.place.broker.counts().await.unwrap();
        for queue in QUEUES.iter().filter(|queue| **queue != "maintenance") {
            let waiting = counts.get(&(*queue).into()).map_or(0, |counts| counts.queued);
            let missing = STOCK.saturating_sub(waiting);
            let jobs: Vec<_> = (0..missing).map(|_| self.next_job(queue, chance)).collect();
            if !jobs.is_empty() {
                self.place.enqueue(&jobs).await;
                self.jobs.extend(jobs.iter().map(|job| job.id.to_string()));
            }
        }
        let active = "select count(*) from background_jobs where status in ('queued', 'running', 'paused')";
        for _ in self.place.ground.number(active).await..self.plan.deletions() {
            let tenant = self.rest.pop().expect("more tenants than there is time to delete");
            let row = self.place.ground.plain_row(&tenant).await;
            self.place.enqueue_row(&format!("row-{row}"), row).await;
            self.deletions.push((tenant, row));
        }
    }

    /// Every third job may not run twice: its name says so.
    fn next_job(&self, queue: &str, chance: &mut fastrand::Rng) -> NewJob {
        let once = chance.u8(0..3) == 0;
        let id = format!("{}-{}", if once { "once" } else { "again" }, fastrand::u64(..));
        let seconds = f64::from(chance.u32(self.plan.spans())) / 1000.0;
        let retries = if once { None } else { Some(Retries { left: 1000, intervals: vec![] }) };
        NewJob { retries, ..sleep(&id, queue, seconds) }
    }

    /// Looks at everything: no job is in no list, and what a killed process held is dealt with in time.
    pub async fn look(&mut self) -> Seen {
        let seen = registers::look(&mut self.connection, &self.jobs).await;
        self.looks += 1;
        assert!(seen.astray.is_empty(), "not in exactly one list: {:#?}", seen.astray);
        let longest = &mut self.longest;
        self.victims.retain(|victim| {
            let waits = seen.deliveries.contains_key(&victim.member);
            let took = victim.since.elapsed();
            assert!(
                took < PROMISED,
                "{} was held by a killed process and is not dealt with after {took:?}",
                victim.member
            );
            *longest = (*longest).max(took);
            waits
        });
        seen
    }

    /// Kills a process as soon as one holds jobs on every queue, at a moment that the dice choose; another takes its
    /// place.
    pub async fn kill_one(&mut self, chance: &mut fastrand::Rng) {
        let began = Instant::now();
        let mut moment = None;
        loop {
            self.stock_up(chance).await;
            let seen = self.look().await;
            let on_all = |process: &&Process| {
                let queues: BTreeSet<_> =
                    seen.of(process.pid()).into_iter().map(|(_, queue)| queue.to_owned()).collect();
                queues.len() == QUEUES.len()
            };
            let full: Vec<_> = self.workers.iter().filter(on_all).map(Process::pid).collect();
            let due = moment.is_some_and(|moment| Instant::now() >= moment);
            match chance.choice(full) {
                Some(pid) if due => return self.kill(pid).await,
                Some(_) if moment.is_none() => {
                    moment = Some(Instant::now() + Duration::from_millis(chance.u64(0..700)));
                }
                _ => {}
            }
            let tails = || self.workers.iter().map(Process::tail).collect::<Vec<_>>().join("\n---\n");
            assert!(
                began.elapsed() < PROMISED * 2,
                "no process came to hold jobs on every queue:\n{}",
                tails()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn kill(&mut self, pid: u32) {
        let place = self.workers.iter().position(|process| process.pid() == pid).unwrap();
        self.workers[place].kill();
        let since = Instant::now();
        let seen = self.look().await;
        let held: Vec<_> = seen.of(pid).into_iter().map(|(member, _)| member.to_owned()).collect();
        self.in_hand += held.len();
        self.victims.extend(held.into_iter().map(|member| Victim { member, since }));
        self.kills += 1;
        self.workers[place] = self.start.spawn();
    }

    /// Waits until everything that came in has ended.
    pub async fn all_has_ended(&mut self) {
        let began = Instant::now();
        loop {
            self.look().await;
            let counts = self.place.broker.counts().await.unwrap();
            let open: u64 = counts.values().map(|one| one.queued + one.scheduled + one.started).sum();
            if open == 0 {
                return;
            }
            let tails = || self.workers.iter().map(Process::tail).collect::<Vec<_>>().join("\n---\n");
            assert!(began.elapsed() < PROMISED * 4, "{open} jobs have not ended:\n{}", tails());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One that lives, for those who wait by its log.
    pub async fn survivor(&mut self) -> super::process::Service {
        let mut process = self.workers.remove(0);
        let address = process.until("`tikkun serves`", async |process| process.address()).await;
        super::process::Service { process, address }
    }
}
