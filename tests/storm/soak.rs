//! Hours of load with a trouble now and then: what a process takes of the machine does not grow, and no job is lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use tikkun::job::{Limit, NewJob};

use super::accounts::{self, Accounts};
use super::fleet::{Fleet, Footprint};
use super::load::Load;
use super::place::Place;
use super::trouble::{self, Trouble};
use super::{PATIENCE, Plan, postgres_server, report};
use crate::lost_redis::place::size;
use crate::torture::figures::{Figures, writes_report};
use crate::torture::load::{ending, plain};

const HEADING: &str = "Hours of load";
const TEXT: &str = "\
Three processes live for hours while jobs and deletions come in and a trouble befalls a line or a server each minute. Every job is
looked for once it should have ended. What each process takes of the machine is measured after each tenth of the time.
Made by `SOAK_SECONDS=7200 SOAK_RATE=500 SOAK_PAUSE=60 TORTURE_REPORT=1 cargo test --release --locked --features failpoints --test
suite storm::soak -- --nocapture`.
";
/// So many jobs in one call.
const SLICE: usize = 50;
/// How long a job is kept on record after its end: longer than it takes until somebody looks for it.
const KEPT: Limit = Limit::After(Duration::from_mins(5));
/// How old jobs are when they are looked for.
const AGE: Duration = Duration::from_secs(20);
/// Every such part of the time is measured. After the first a process has warmed up.
const PART: u32 = 10;
/// Jobs that a process runs at once: a fifth of them sleep for a quarter of a second.
const SLOTS: u32 = 32;
/// What the last measurement may be above the first, in MiB.
const GROWTH: u64 = 24;

/// A job, and when it was put in.
type Open = (usize, Instant);

struct Soak<'a> {
    place: &'a Place<'a>,
    span: Duration,
    rate: u64,
    /// Not seen in its end yet, the oldest first.
    open: Mutex<VecDeque<Open>>,
    ended: Mutex<usize>,
    wrong: Mutex<Vec<String>>,
}

#[tokio::test]
async fn soak_of_jobs_and_troubles_takes_no_more_in_the_end_than_in_the_beginning() {
    let span = Duration::from_secs(size("SOAK_SECONDS", 40));
    let pause = size("SOAK_PAUSE", 4) * 1000;
    let server = postgres_server::Server::start();
    let place = Place::on(&server).await;
    let mut troubles = trouble::all(&place);
    // A process that is started anew has not grown.
    troubles.retain(|one| !matches!(one, Trouble::Killed | Trouble::Drained));
    let seconds_a_deletion = (span.as_secs() / 100).max(8);
    let plan = Plan {
        span,
        pause: pause..pause + 1,
        jobs_a_second: 0,
        seconds_a_deletion,
        slots: SLOTS,
        ..Plan::of(troubles)
    };
    let (load, fleet) = (Load::new(&place, &plan).await, Fleet::new(&place, &plan));
    let soak = Soak::new(&place, span, size("SOAK_RATE", 100));
    accounts::watch_effects(&place.ground).await;
    fleet.is_well().await;
    let measure = async {
        let mut beat = tokio::time::interval(span / PART);
        beat.tick().await;
        let mut all = Vec::new();
        for _ in 1..PART {
            beat.tick().await;
            all.push(fleet.footprint());
            println!("{:?}; {} jobs have ended", all.last(), soak.ended.lock());
        }
        all
    };
    let ((), (), (), (), mut footprints) =
        tokio::join!(load.comes_in(), soak.comes_in(), soak.looks(), fleet.goes_through(&plan), measure);
    assert_eq!(accounts::all_has_ended(&place, &fleet, plan.patience).await, Ok(()));
    soak.looks_for_the_rest().await;
    footprints.push(fleet.footprint());
    assert_eq!(*soak.wrong.lock(), Vec::<String>::new());
    assert_eq!(Accounts::take(&place, &load).await.violations(), Vec::<String>::new());
    load.deletions_are_whole(&place).await;
    assert_eq!(fleet.restarts(), 0, "actors that were restarted");
    fleet.must_have_recovered();
    let figures = soak.figures(&fleet, &footprints);
    println!("{}", figures.table());
    for (warm, end) in footprints[0].iter().zip(&footprints[PART as usize - 1]) {
        assert!(end.descriptors <= warm.descriptors + 16, "descriptors: {warm:?}, {end:?}");
        assert!(end.resident_kib / 1024 <= warm.resident_kib / 1024 + GROWTH, "memory: {warm:?}, {end:?}");
    }
    fleet.leave().await;
    if writes_report() {
        figures.write(HEADING, TEXT);
    }
}

impl<'a> Soak<'a> {
    fn new(place: &'a Place<'a>, span: Duration, rate: u64) -> Self {
        let (open, ended, wrong) = Default::default();
        Self { place, span, rate, open, ended, wrong }
    }

    async fn comes_in(&self) {
        let mut chance = fastrand::Rng::with_seed(1);
        let count = usize::try_from(self.rate * self.span.as_secs()).unwrap();
        let mut beat =
            tokio::time::interval(Duration::from_secs(1) * SLICE as u32 / u32::try_from(self.rate).unwrap());
        for first in (0..count).step_by(SLICE) {
            beat.tick().await;
            let jobs: Vec<_> = (first..first + SLICE).map(|number| soaked(number, &mut chance)).collect();
            let ask = async || self.place.broker.enqueue(&jobs).await.ok().map(drop);
            self.place.until("the queue to take jobs", ask).await;
            let now = Instant::now();
            self.open.lock().extend((first..first + SLICE).map(|number| (number, now)));
        }
    }

    /// Looks for jobs that should have ended, until the time is over.
    async fn looks(&self) {
        let began = Instant::now();
        while began.elapsed() < self.span {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.look(AGE).await;
        }
    }

    async fn looks_for_the_rest(&self) {
        let began = Instant::now();
        while !self.open.lock().is_empty() {
            assert!(began.elapsed() < PATIENCE, "they do not end: {:?}", self.open.lock());
            self.look(Duration::ZERO).await;
        }
    }

    /// Looks once for all jobs of this age. One that has not ended is looked for again; one that is not there is lost.
    async fn look(&self, age: Duration) {
        let due: Vec<_> = {
            let mut open = self.open.lock();
            let count = open.iter().take_while(|(_, since)| since.elapsed() >= age).count();
            open.drain(..count).collect()
        };
        for some in due.chunks(500) {
            let found = self.place.until("the states of jobs", async || self.states(some).await.ok()).await;
            for ((number, since), state) in some.iter().zip(found) {
                match state.as_deref() {
                    Some("finished" | "failed") if state.as_deref() == Some(ending(*number)) => {
                        *self.ended.lock() += 1
                    }
                    Some("queued" | "started" | "scheduled") => self.open.lock().push_back((*number, *since)),
                    other => self.wrong.lock().push(format!("soak-{number} is {other:?}")),
                }
            }
        }
    }

    /// As RQ has them.
    async fn states(&self, jobs: &[Open]) -> redis::RedisResult<Vec<Option<String>>> {
        let url = self.place.redis.lock().url();
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        let mut commands = redis::pipe();
        for (number, _) in jobs {
            commands.hget(format!("rq:job:soak-{number}"), "status");
        }
        commands.query_async(&mut connection).await
    }

    /// The most that a process took is told, at the end of each part of the time.
    fn figures(&self, fleet: &Fleet<'_>, footprints: &[Vec<Footprint>]) -> Figures {
        let most = |of: fn(&Footprint) -> u64| {
            footprints.iter().filter_map(|all| all.iter().map(of).max()).collect::<Vec<_>>()
        };
        let mut figures = report::engines();
        figures.extend([
            ("soak_seconds", "seconds", json!(self.span.as_secs())),
            ("rate", "jobs put in each second", json!(self.rate)),
            ("ended", "jobs that ended as they should", json!(*self.ended.lock())),
            ("lost", "… lost, or ended in another way", json!(self.wrong.lock().len())),
        ]);
        figures.extend(report::recoveries(fleet));
        let mib = most(|one| one.resident_kib / 1024);
        figures.push(("mib", "resident MiB of a process, at most, after each tenth of the time", json!(mib)));
        let descriptors = most(|one| one.descriptors as u64);
        figures.push(("descriptors", "open descriptors of a process, likewise", json!(descriptors)));
        Figures(figures)
    }
}

/// As plain jobs are, in a queue of their own, and on record for a while.
fn soaked(number: usize, chance: &mut fastrand::Rng) -> NewJob {
    NewJob {
        id: format!("soak-{number}").into(),
        queue: "high".into(),
        result_ttl: Some(KEPT),
        failure_ttl: Some(KEPT),
        ..plain(number, chance)
    }
}
