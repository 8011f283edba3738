//! The Scheduler on a real queue, with a clock that the test sets: each due time gets exactly one job.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, Addr};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use tikkun::config::SchedulerSettings;
use tikkun::job::{Args, CronRule, JobState, Limit, Missed, NewJob, Schedule};
use tikkun::maintenance::{Clock, SCHEDULER_ROLE, Scheduler};
use tikkun::queue::{
    Broker, Budget, Disposition, JobFilter, ProcessRecord, Settlement, open_embedded, open_rq,
};
use tikkun::supervision::Turns;

use crate::servers::redis::Redis;

/// Longer than anything takes that works.
const DEADLINE: Duration = Duration::from_secs(20);
/// Time between two looks of a scheduler under test.
const LOOK: Duration = Duration::from_millis(5);

/// A clock on the wall of one test.
#[derive(Clone)]
struct Wall(Arc<AtomicI64>);

impl Wall {
    fn at(text: &str) -> Self {
        Self(Arc::new(AtomicI64::new(text.parse::<DateTime<Utc>>().unwrap().timestamp_millis())))
    }

    fn pass(&self, time: TimeDelta) {
        self.0.fetch_add(time.num_milliseconds(), Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let wall = self.clone();
        Clock::new(move || DateTime::from_timestamp_millis(wall.0.load(Ordering::SeqCst)).unwrap())
    }
}

fn hourly(missed: Missed) -> Schedule {
    Schedule {
        name: "hourly".to_owned(),
        rule: CronRule::parse("0 * * * *", Tz::Asia__Jerusalem).unwrap(),
        kind: "shop.jobs.report".into(),
        args: Args::default(),
        queue: "q".into(),
        timeout: None,
        retries: None,
        jitter: Duration::ZERO,
        missed,
    }
}

async fn open(folder: &Path) -> Arc<dyn Broker> {
    open_embedded(folder).await.unwrap_or_else(|fault| panic!("{}", fault.chain()))
}

fn scheduler(name: &str, broker: &Arc<dyn Broker>, wall: &Wall, missed: Missed) -> Scheduler {
    Scheduler {
        broker: Arc::clone(broker),
        process: name.into(),
        settings: SchedulerSettings {
            enabled: true,
            interval: LOOK,
            leadership_ttl: Duration::from_millis(500),
        },
        deadline: DEADLINE,
        budget: Budget::default(),
        schedules: Arc::from([hourly(missed)]),
        clock: wall.clock(),
        turn: Turns::default().register(name),
    }
}

/// Ids of all jobs, oldest first.
async fn ids(broker: &dyn Broker) -> Vec<String> {
    let all = JobFilter { limit: 1000, ..JobFilter::default() };
    let jobs = broker.jobs(&all).await.unwrap();
    jobs.iter().rev().map(|job| job.id.to_string()).collect()
}

/// Until when the schedule is decided.
async fn decided(broker: &dyn Broker) -> Option<DateTime<Utc>> {
    broker.schedule_marks().await.unwrap().get("hourly").map(|mark| mark.until)
}

async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !ask().await {
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for this: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes every waiting job out of the queue, and out of its records.
async fn run_and_forget(broker: &dyn Broker) {
    let now = Utc::now();
    let me = ProcessRecord {
        id: "runner".into(),
        host: "host".into(),
        pid: std::process::id(),
        queues: vec!["q".into()],
        started_at: now,
        lease_until: now,
    };
    broker.renew_lease(&me, DEADLINE * 10).await.unwrap();
    let lent = broker.fetch(&"q".into(), 100, &me.id).await.unwrap();
    let keep = Limit::After(Duration::ZERO);
    let done = |one: tikkun::queue::Delivery| Settlement {
        job: one.job.id,
        queue: one.job.queue,
        execution: one.execution,
        verdict: Disposition::Ack { result: serde_json::Value::Null, keep },
        remark: None,
        verbatim: None,
    };
    broker.settle(&lent.into_iter().map(done).collect::<Vec<_>>()).await.unwrap();
}

fn start(scheduler: Scheduler) -> Addr<Scheduler> {
    scheduler.start()
}

/// As a worker of Python beside the service, or another service on the same queue.
#[actix_rt::test]
async fn a_leader_that_has_other_schedules_or_none_keeps_nobody_from_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let wall = Wall::at("2026-03-27T10:30:00Z");
    let with = |name: &str, schedules: &[Schedule]| Scheduler {
        schedules: Arc::from(schedules),
        ..scheduler(name, &broker, &wall, Missed::All)
    };
    let leader = start(with("leader", &[]));
    let leads = async || broker.leadership(SCHEDULER_ROLE).await.unwrap().is_some();
    eventually("a leader without schedules", leads).await;
    let other = Schedule { name: "other".to_owned(), ..hourly(Missed::All) };
    let _running = [start(with("one", &[hourly(Missed::All)])), start(with("two", &[other]))];
    let begun = async || broker.schedule_marks().await.unwrap().len() == 2;
    eventually("both schedules to begin", begun).await;
    wall.pass(TimeDelta::hours(1));
    eventually("a job of each", async || ids(&*broker).await.len() == 2).await;
    let mut all = ids(&*broker).await;
    all.sort();
    assert_eq!(all, ["cron-hourly-20260327T110000Z", "cron-other-20260327T110000Z"]);
    assert_eq!(broker.leadership(SCHEDULER_ROLE).await.unwrap().unwrap().holder, "leader".into());
    drop(leader);
}

#[actix_rt::test]
async fn each_due_time_gets_one_job_from_two_processes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(folder.path()).await, open(folder.path()).await);
    let wall = Wall::at("2026-03-27T10:30:00Z");
    let _running = [
        start(scheduler("one", &one, &wall, Missed::All)),
        start(scheduler("other", &other, &wall, Missed::All)),
    ];
    eventually("the schedule to begin", async || decided(&*one).await.is_some()).await;
    assert_eq!(ids(&*one).await, Vec::<String>::new(), "what was before is not caught up");
    for hour in 11..15 {
        wall.pass(TimeDelta::hours(1));
        let newest = format!("cron-hourly-20260327T{hour}0000Z");
        eventually("the job that is due", async || ids(&*one).await.last() == Some(&newest)).await;
    }
    assert_eq!(ids(&*one).await.len(), 4);
}

#[actix_rt::test]
async fn a_new_leader_repeats_nothing_even_when_the_jobs_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    let wall = Wall::at("2026-03-27T10:30:00Z");
    let first = actix_rt::Arbiter::new();
    let dying = scheduler("first", &broker, &wall, Missed::All);
    first.spawn_fn(move || drop(dying.start()));
    eventually("the schedule to begin", async || decided(&*broker).await.is_some()).await;
    wall.pass(TimeDelta::hours(1));
    eventually("the job that is due", async || !ids(&*broker).await.is_empty()).await;
    first.stop();
    first.join().unwrap();
    run_and_forget(&*broker).await;
    wall.pass(TimeDelta::hours(2));
    let _second = start(scheduler("second", &broker, &wall, Missed::All));
    eventually("the second to lead", async || {
        let leader = broker.leadership(SCHEDULER_ROLE).await.unwrap();
        leader.is_some_and(|leader| leader.holder.as_str() == "second")
    })
    .await;
    eventually("what was missed", async || ids(&*broker).await.len() >= 2).await;
    let expected = ["cron-hourly-20260327T120000Z", "cron-hourly-20260327T130000Z"];
    assert_eq!(ids(&*broker).await, expected, "the first hour had its job");
}

#[actix_rt::test]
async fn what_nobody_led_through_follows_the_policy() {
    for (missed, expected) in
        [(Missed::Skip, vec![]), (Missed::Once, vec![15]), (Missed::All, vec![11, 12, 13, 14, 15])]
    {
        let folder = tempfile::tempdir().unwrap();
        let broker = open(folder.path()).await;
        let wall = Wall::at("2026-03-27T10:30:00Z");
        let arbiter = actix_rt::Arbiter::new();
        let before = scheduler("same", &broker, &wall, missed);
        arbiter.spawn_fn(move || drop(before.start()));
        eventually("the schedule to begin", async || decided(&*broker).await.is_some()).await;
        arbiter.stop();
        arbiter.join().unwrap();
        wall.pass(TimeDelta::hours(5));
        let begun = decided(&*broker).await;
        let _after = start(scheduler("same", &broker, &wall, missed));
        eventually("the missed times to be decided", async || decided(&*broker).await > begun).await;
        let expected: Vec<_> =
            expected.iter().map(|hour| format!("cron-hourly-20260327T{hour}0000Z")).collect();
        assert_eq!(ids(&*broker).await, expected, "{missed:?}");
    }
}

#[actix_rt::test]
async fn kept_jobs_are_trimmed_while_somebody_leads() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path()).await;
    for n in 0..5 {
        let id = format!("job-{n}");
        broker.enqueue(&[NewJob::new(&id, "q", "k", Args::default())]).await.unwrap();
        broker.cancel(&id.as_str().into()).await.unwrap();
    }
    let wall = Wall::at("2026-03-27T10:30:00Z");
    let mut keeper = scheduler("keeper", &broker, &wall, Missed::All);
    keeper.budget = Budget { finished: 0, failed: 2 };
    let _running = start(keeper);
    eventually("the oldest to go", async || ids(&*broker).await == ["job-3", "job-4"]).await;
}

fn on_redis(server: &Redis) -> Arc<dyn Broker> {
    open_rq(&server.settings(1)).unwrap()
}

async fn is_in(broker: &dyn Broker, id: &str, state: JobState) -> bool {
    broker.job(&id.into()).await.unwrap().is_some_and(|job| job.state == state)
}

/// Its memory is full, so that it takes no new job; the jobs that it has are to run, to make room.
#[actix_rt::test]
async fn a_schedule_whose_job_is_refused_keeps_no_other_job_from_coming_due() {
    let server = Redis::start();
    let broker = on_redis(&server);
    let wall = Wall::at("2026-03-27T10:30:00Z");
    let _running = start(scheduler("one", &broker, &wall, Missed::All));
    eventually("the schedule to begin", async || decided(&*broker).await.is_some()).await;
    let later = |id: &str, seconds| {
        let delay = Some(Duration::from_secs(seconds));
        NewJob { delay, ..NewJob::new(id, "q", "k", Args::default()) }
    };
    // Until the second comes due the schedule has been refused.
    broker.enqueue(&[later("first", 1), later("second", 3)]).await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    wall.pass(TimeDelta::hours(1));
    for id in ["first", "second"] {
        eventually("a job to come due", async || is_in(&*broker, id, JobState::Queued).await).await;
    }
    assert_eq!(ids(&*broker).await.len(), 2, "the schedule has no job yet");
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    let newest = "cron-hourly-20260327T110000Z";
    eventually("the job of the schedule", async || is_in(&*broker, newest, JobState::Queued).await).await;
    assert_eq!(ids(&*broker).await.len(), 3);
}

#[actix_rt::test]
async fn a_schedule_of_a_queue_that_is_something_else_keeps_no_other_schedule_waiting() {
    let server = Redis::start();
    let broker = on_redis(&server);
    let wall = Wall::at("2026-03-27T10:30:00Z");
    let other = Schedule { name: "other".to_owned(), queue: "p".into(), ..hourly(Missed::All) };
    let scheduler = Scheduler {
        schedules: Arc::from([hourly(Missed::All), other]),
        ..scheduler("one", &broker, &wall, Missed::All)
    };
    let _running = start(scheduler);
    eventually("both schedules to begin", async || broker.schedule_marks().await.unwrap().len() == 2).await;
    server.ask(&["SET", "rq:queue:q", "something else"]);
    wall.pass(TimeDelta::hours(1));
    let job = |schedule: &str| format!("cron-{schedule}-20260327T110000Z");
    eventually("the job of the other", async || is_in(&*broker, &job("other"), JobState::Queued).await).await;
    server.ask(&["DEL", "rq:queue:q"]);
    eventually("the job", async || is_in(&*broker, &job("hourly"), JobState::Queued).await).await;
    assert_eq!(ids(&*broker).await.len(), 2, "each once");
}
