//! A listener with settlements that its broker can never write.

use crate::servers::line::{Condition, Line, Server};
use crate::servers::redis as redis_server;
use crate::servers::small_disk::SmallDisk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr};
use chrono::Utc;
use futures::future::join_all;
use serde_json::{Value, json};
use tikkun::job::{Args, JobRecord, JobState, Limit, NewJob, Registry};
use tikkun::measure::QueueMeter;
use tikkun::queue::{
    Broker, Delivery, Disposition, ProcessRecord, RqSettings, Settled, Settlement, open_embedded, open_rq,
};
use tikkun::supervision::Turns;
use tikkun::webhooks::WebhookSender;
use tikkun::worker::{
    Completer, Drain, Fence, JobRunner, ListenerPorts, ListenerSettings, Outages, Post, QueueListener,
    RunnerPlace, Running, SlotPool,
};
use tokio::sync::watch;
use tokio::task::unconstrained;

const QUEUE: &str = "q";
const DEADLINE: Duration = Duration::from_secs(20);

async fn leased(broker: &dyn Broker) -> ProcessRecord {
    let me = ProcessRecord {
        id: "me".into(),
        host: "host".into(),
        pid: std::process::id(),
        queues: vec![QUEUE.into()],
        started_at: Utc::now(),
        lease_until: Utc::now(),
    };
    broker.renew_lease(&me, DEADLINE * 10).await.unwrap();
    me
}

/// A listener without slots: it only settles.
fn listener(
    broker: &Arc<dyn Broker>,
    me: &ProcessRecord,
    unclaimed_interval: Duration,
) -> (Arc<Completer>, Addr<QueueListener>) {
    listener_among(&Turns::default(), broker, me, unclaimed_interval)
}

fn listener_among(
    turns: &Turns,
    broker: &Arc<dyn Broker>,
    me: &ProcessRecord,
    unclaimed_interval: Duration,
) -> (Arc<Completer>, Addr<QueueListener>) {
    let listener = QueueListener::new(ports(turns, broker, me), settings(unclaimed_interval));
    (listener.completer(), listener.start())
}

fn ports(turns: &Turns, broker: &Arc<dyn Broker>, me: &ProcessRecord) -> ListenerPorts {
    ListenerPorts {
        broker: Arc::clone(broker),
        slots: SlotPool::new(Vec::new(), BTreeMap::new(), 0_usize),
        process: me.id.clone(),
        leased: watch::Sender::new(true).subscribe(),
        hindrance: watch::Sender::new(None).subscribe(),
        turn: turns.register(QUEUE),
        outages: Outages::default(),
        meter: Arc::new(QueueMeter::new(QUEUE, std::iter::empty())),
        webhooks: WebhookSender::default(),
    }
}

fn settings(unclaimed_interval: Duration) -> ListenerSettings {
    ListenerSettings {
        queue: QUEUE.into(),
        rank: 0,
        batch: 1,
        patience: DEADLINE,
        deadline: DEADLINE,
        long_end_patience: 10 * DEADLINE,
        unclaimed_interval,
    }
}

/// What nobody carries goes back with the look that a listener begins with: what is to be settled is fetched after it.
async fn listener_that_has_looked(
    broker: &Arc<dyn Broker>,
    me: &ProcessRecord,
) -> (Arc<Completer>, Addr<QueueListener>) {
    broker.enqueue(&[NewJob::new("stray", QUEUE, "tests.job", Args::default())]).await.unwrap();
    assert_eq!(broker.fetch(&QUEUE.into(), 1, &me.id).await.unwrap().len(), 1);
    let listener = listener(broker, me, DEADLINE);
    goes_back(&**broker, "stray").await;
    assert_eq!(broker.cancel(&"stray".into()).await.unwrap(), Some(JobState::Canceled));
    listener
}

async fn ack(completer: &Completer, delivery: &Delivery, result: Value) -> Settled {
    let verdict = Disposition::Ack { result, keep: Limit::Never };
    completer.complete(&Settlement::new(delivery, verdict), None).await
}

#[actix_rt::test]
async fn end_that_can_never_be_written_buries_its_job_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open_embedded(folder.path()).await.unwrap();
    let me = leased(&*broker).await;
    let jobs = ["before", "deep", "after"].map(|id| NewJob::new(id, QUEUE, "tests.job", Args::default()));
    broker.enqueue(&jobs).await.unwrap();
    let lent = broker.fetch(&QUEUE.into(), 3, &me.id).await.unwrap();
    // SQLite reads JSON up to a depth of 1000.
    let deep = (0..1500).fold(json!(1), |inner, _| json!([inner]));
    let (completer, _listener) = listener(&broker, &me, DEADLINE);
    let all = tokio::time::timeout(DEADLINE, async {
        tokio::join!(
            ack(&completer, &lent[0], json!(1)),
            ack(&completer, &lent[1], deep),
            ack(&completer, &lent[2], json!(2)),
        )
    });
    let (before, deep, after) = all.await.expect("all three to be settled");
    for settled in [before, deep, after] {
        assert_eq!(settled, Settled::Done);
    }
    for (id, state) in
        [("before", JobState::Finished), ("deep", JobState::Failed), ("after", JobState::Finished)]
    {
        let job = broker.job(&id.into()).await.unwrap().unwrap();
        assert_eq!((id, job.state), (id, state));
        if id == "deep" {
            let error = job.error.unwrap();
            assert!(error.contains("the queue cannot take how (") && error.contains("JSON"), "{error}");
        }
    }
}

/// As many as are settled in one call.
const ACCEPTED: usize = 500;

/// Two slots, one of them for a job whose end is accepted once `before` are, and one for the next job, whose end is not.
async fn slot_is_kept_behind(before: usize, end: impl Fn(&Delivery) -> Settlement) {
    let folder = tempfile::tempdir().unwrap();
    let broker = open_embedded(folder.path()).await.unwrap();
    let me = leased(&*broker).await;
    let runner = JobRunner::new(Arc::new(Registry::default()), Duration::ZERO, Running::default());
    let runner = RunnerPlace::new(Post { runner: runner.start(), fence: Fence::default() });
    let slots = SlotPool::new(vec![runner; 2], BTreeMap::new(), 0_usize);
    let mut granted = slots.request(0, 2).await.unwrap();
    // Nothing is written before it is started.
    let listener = QueueListener::new(ports(&Turns::default(), &broker, &me), settings(DEADLINE));
    let completer = listener.completer();
    let job = |id| JobRecord::of(NewJob::new(id, QUEUE, "tests.job", Args::default()), Utc::now());
    let end = end(&Delivery { job: job("gone"), execution: "gone".into(), hash: None });
    // Polled here one after the other, they must not be made to yield to each other.
    let complete = |slot| Box::pin(unconstrained(completer.complete(&end, slot)));
    let mut waiting: Vec<_> = (0..before).map(|_| complete(None)).collect();
    for end in &mut waiting {
        assert!(futures::poll!(end).is_pending());
    }
    let mut last = complete(granted.pop());
    assert!(futures::poll!(&mut last).is_pending());
    assert_eq!(slots.free(), 1, "its end is accepted");
    let mut over = complete(granted.pop());
    assert!(futures::poll!(&mut over).is_pending());
    assert_eq!(slots.free(), 1, "its end is not accepted: it keeps its slot");

    let _listener = listener.start();
    let all = tokio::time::timeout(DEADLINE, async { futures::join!(join_all(waiting), last, over) });
    let (waited, last, over) = all.await.expect("every end to be answered");
    assert!(waited.into_iter().chain([last, over]).all(|settled| settled == Settled::NotOurs));
    assert_eq!(slots.free(), 2);
}

#[actix_rt::test]
async fn a_slot_is_kept_while_more_ends_than_one_call_settles_wait_to_be_written() {
    slot_is_kept_behind(ACCEPTED - 1, Settlement::given_back).await;
}

#[actix_rt::test]
async fn a_slot_is_kept_while_results_wait_that_are_longer_than_two_calls_carry() {
    let returns = |length| {
        let result = json!("x".repeat(length));
        move |one: &Delivery| {
            Settlement::new(one, Disposition::Ack { result: result.clone(), keep: Limit::Never })
        }
    };
    slot_is_kept_behind(16, returns(60 << 10)).await;
    slot_is_kept_behind(0, returns(3 << 20)).await;
}

async fn goes_back(broker: &dyn Broker, id: &str) {
    let began = Instant::now();
    while broker.job(&id.into()).await.unwrap().unwrap().state != JobState::Queued {
        assert!(began.elapsed() < DEADLINE, "waited in vain for {id} to go back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn on_redis(server: &redis_server::Redis) -> Arc<dyn Broker> {
    let settings = RqSettings { payload_limit: 16 << 20, ..server.settings(9) };
    open_rq(&settings).unwrap()
}

fn job_in(queue: &str, id: String) -> NewJob {
    NewJob { queue: queue.into(), ..NewJob::new(id, QUEUE, "tests.job", Args::default()) }
}

/// The queue that it is to be forwarded to is none.
#[actix_rt::test]
async fn end_that_is_refused_for_long_holds_up_no_fetch_and_is_written_once_it_can_be() {
    const JOBS: usize = 50;
    for slots in [2, 32] {
        let server = redis_server::Redis::start();
        let broker = on_redis(&server);
        let me = leased(&*broker).await;
        server.ask(&["SET", "rq:queue:elsewhere", "no list"]);
        broker.enqueue(&[job_in("second", "forwarded".to_owned())]).await.unwrap();
        let lent = broker.fetch(&"second".into(), 1, &me.id).await.unwrap().remove(0);
        let runners = (0..slots).map(|_| {
            let runner = JobRunner::new(Arc::new(Registry::default()), Duration::ZERO, Running::default());
            RunnerPlace::new(Post { runner: runner.start(), fence: Fence::default() })
        });
        let pool = SlotPool::new(runners.collect(), BTreeMap::new(), 1 << 20);
        let ports = ListenerPorts { slots: pool, ..ports(&Turns::default(), &broker, &me) };
        let listener = QueueListener::new(ports, ListenerSettings { batch: slots, ..settings(DEADLINE) });
        let completer = listener.completer();
        let _listener = listener.start();
        let end = Settlement::new(&lent, Disposition::Forward { queue: "elsewhere".into() });
        let mut forwarded = Box::pin(completer.complete(&end, None));
        assert!(futures::poll!(&mut forwarded).is_pending());
        let jobs: Vec<_> = (0..JOBS).map(|number| job_in(QUEUE, format!("job-{number}"))).collect();
        broker.enqueue(&jobs).await.unwrap();
        let began = Instant::now();
        // Nobody here knows their function, so they fail.
        while broker.counts().await.unwrap()[&QUEUE.into()].failed < JOBS as u64 {
            assert!(began.elapsed() < DEADLINE, "{slots} slots: jobs wait behind an end that is refused");
            let soon = tokio::time::sleep(Duration::from_millis(5));
            tokio::select! { _ = &mut forwarded => panic!("it is refused"), () = soon => {} }
        }
        server.ask(&["DEL", "rq:queue:elsewhere"]);
        let settled = tokio::time::timeout(DEADLINE, forwarded).await.expect("the end to be written");
        assert_eq!(settled, Settled::Done);
    }
}

#[actix_rt::test]
async fn long_ends_that_all_failed_in_an_outage_are_written_soon_after_it() {
    const ENDS: usize = 20;
    let server = redis_server::Redis::start();
    let broker = on_redis(&server);
    let me = leased(&*broker).await;
    let (completer, _listener) = listener(&broker, &me, DEADLINE);
    let jobs: Vec<_> = (0..ENDS).map(|number| job_in("second", format!("job-{number}"))).collect();
    broker.enqueue(&jobs).await.unwrap();
    let lent = broker.fetch(&"second".into(), 20, &me.id).await.unwrap();
    assert_eq!(server.ask(&["CLIENT", "PAUSE", "4000"]), "OK");
    let result = json!("x".repeat(600 << 10));
    let all = join_all(lent.iter().map(|one| ack(&completer, one, result.clone())));
    let settled = tokio::time::timeout(DEADLINE, all).await.expect("every end to be written");
    assert_eq!(settled, [Settled::Done; ENDS]);
}

#[actix_rt::test]
async fn end_that_is_too_long_for_the_server_buries_its_job_and_holds_up_no_other() {
    let server = redis_server::Redis::start();
    // As managed servers have it; of those that are longer it ends the connection.
    assert_eq!(server.ask(&["CONFIG", "SET", "proto-max-bulk-len", "1048576"]), "OK");
    let broker = on_redis(&server);
    let me = leased(&*broker).await;
    let jobs = ["before", "long", "after"].map(|id| job_in("second", id.to_owned()));
    // The words with which the server does so get lost where the connection is reset before they are read.
    let (completer, _listener) = impatient_listener(&broker, &me);
    broker.enqueue(&jobs).await.unwrap();
    let lent = broker.fetch(&"second".into(), 3, &me.id).await.unwrap();
    let all = tokio::time::timeout(DEADLINE, async {
        tokio::join!(
            ack(&completer, &lent[0], json!(1)),
            ack(&completer, &lent[1], json!("x".repeat(3 << 20))),
            ack(&completer, &lent[2], json!(2)),
        )
    });
    let (before, long, after) = all.await.expect("all three to be settled");
    for settled in [before, long, after] {
        assert_eq!(settled, Settled::Done);
    }
    for (id, state) in
        [("before", JobState::Finished), ("long", JobState::Failed), ("after", JobState::Finished)]
    {
        let job = broker.job(&id.into()).await.unwrap().unwrap();
        assert_eq!((id, job.state), (id, state), "{:?}", job.error);
    }
}

/// A proxy that closes a connection on which too much is sent, and says nothing.
#[actix_rt::test]
async fn end_that_has_been_too_long_for_as_long_as_is_waited_buries_its_job() {
    let (_server, line, broker, me) = over_a_line().await;
    let (completer, _listener) = impatient_listener(&broker, &me);
    broker.enqueue(&[job_in("second", "long".to_owned())]).await.unwrap();
    let lent = broker.fetch(&"second".into(), 1, &me.id).await.unwrap();
    line.becomes(Condition::Short(1 << 20));
    let ended = ack(&completer, &lent[0], json!("x".repeat(3 << 20)));
    assert_eq!(tokio::time::timeout(DEADLINE, ended).await.expect("it is given up"), Settled::Done);
    line.becomes(Condition::Well);
    let job = broker.job(&"long".into()).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Failed);
    assert!(job.error.unwrap().contains("the queue cannot take how"), "the reason");
}

/// One that soon takes a long end for too long.
fn impatient_listener(broker: &Arc<dyn Broker>, me: &ProcessRecord) -> (Arc<Completer>, Addr<QueueListener>) {
    let impatient = ListenerSettings { long_end_patience: Duration::from_secs(1), ..settings(DEADLINE) };
    let listener = QueueListener::new(ports(&Turns::default(), broker, me), impatient);
    (listener.completer(), listener.start())
}

/// A line that loses what is longer than a packet, as through a VPN whose path takes smaller ones; and one that holds for a
/// moment only, as with a mobile network, so that nothing arrives that takes longer. The long end is not to blame, though
/// what is shorter is served.
#[actix_rt::test]
async fn long_end_waits_while_the_line_loses_whatever_is_long() {
    for (longest, length, lasts) in [(64 << 10, 600 << 10, 2), (1 << 20, 3 << 20, 8)] {
        let (_server, line, broker, me) = over_a_line().await;
        let (completer, _listener) = listener_that_has_looked(&broker, &me).await;
        broker.enqueue(&[NewJob::new("long", QUEUE, "tests.job", Args::default())]).await.unwrap();
        let lent = broker.fetch(&QUEUE.into(), 1, &me.id).await.unwrap();
        line.becomes(Condition::Short(longest));
        let mut ended = Box::pin(ack(&completer, &lent[0], json!("x".repeat(length))));
        assert!(tokio::time::timeout(Duration::from_secs(lasts), &mut ended).await.is_err(), "it waits");
        assert_eq!(broker.job(&"long".into()).await.unwrap().unwrap().state, JobState::Started);
        line.becomes(Condition::Well);
        assert_eq!(
            tokio::time::timeout(DEADLINE, ended).await.expect("the end to be written"),
            Settled::Done
        );
        assert_eq!(broker.job(&"long".into()).await.unwrap().unwrap().state, JobState::Finished);
    }
}

/// A process whose Redis is behind a line, over which the scripts have been sent.
async fn over_a_line() -> (redis_server::Redis, Line, Arc<dyn Broker>, ProcessRecord) {
    let server = redis_server::Redis::start();
    let line = Line::to(Server::Socket(server.socket()));
    let url = format!("redis://127.0.0.1:{}/0", line.port());
    let settings = RqSettings { url: url.into(), payload_limit: 16 << 20, ..server.settings(9) };
    let broker: Arc<dyn Broker> = open_rq(&settings).unwrap();
    let me = leased(&*broker).await;
    broker.prove().await.unwrap();
    (server, line, broker, me)
}

/// There is room for what is short, and none for what is long.
#[actix_rt::test]
async fn long_end_waits_for_room_on_a_disk_that_is_nearly_full() {
    let folder = tempfile::tempdir().unwrap();
    // Where mounting is not allowed, the folder is like any other.
    let disk = SmallDisk::over(folder.path(), "16m");
    let broker = open_embedded(folder.path()).await.unwrap();
    let me = leased(&*broker).await;
    let jobs = ["before", "long", "after"].map(|id| NewJob::new(id, QUEUE, "tests.job", Args::default()));
    let (completer, _listener) = listener_that_has_looked(&broker, &me).await;
    broker.enqueue(&jobs).await.unwrap();
    let lent = broker.fetch(&QUEUE.into(), 3, &me.id).await.unwrap();
    if let Some(disk) = &disk {
        disk.fill_but(1 << 20);
    }
    assert_eq!(ack(&completer, &lent[0], json!(1)).await, Settled::Done);
    let mut long = Box::pin(ack(&completer, &lent[1], json!("x".repeat(3 << 20))));
    let at_once = tokio::time::timeout(Duration::from_secs(2), &mut long).await;
    assert_eq!(at_once.is_err(), disk.is_some(), "it waits where there is no room: {at_once:?}");
    if let Some(disk) = &disk {
        assert_eq!(broker.job(&"long".into()).await.unwrap().unwrap().state, JobState::Started);
        assert_eq!(ack(&completer, &lent[2], json!(2)).await, Settled::Done);
        disk.make_room();
        assert_eq!(tokio::time::timeout(DEADLINE, long).await.expect("room"), Settled::Done);
    }
    let job = broker.job(&"long".into()).await.unwrap().unwrap();
    assert_eq!((job.state, job.failures), (JobState::Finished, 0), "{:?}", job.error);
}

#[actix_rt::test]
async fn what_is_lent_to_this_process_and_carried_by_nobody_goes_back_however_often_that_happens() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open_embedded(folder.path()).await.unwrap();
    let me = leased(&*broker).await;
    broker.enqueue(&[NewJob::new("stray", QUEUE, "tests.job", Args::default())]).await.unwrap();
    let _listener = listener(&broker, &me, Duration::from_millis(20));
    // The first time may be found by the look that each listener begins with.
    for _ in 0..3 {
        assert_eq!(broker.fetch(&QUEUE.into(), 1, &me.id).await.unwrap().len(), 1);
        goes_back(&*broker, "stray").await;
    }
}

#[actix_rt::test]
async fn fetch_loop_that_ended_for_a_drain_does_not_count_as_standing_still() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open_embedded(folder.path()).await.unwrap();
    let me = leased(&*broker).await;
    let turns = Turns::default();
    let (_, listener) = listener_among(&turns, &broker, &me, DEADLINE);
    let (longest, later) = (Duration::from_secs(20), Instant::now() + Duration::from_secs(3600));
    assert_eq!(turns.overdue(later, longest), [QUEUE]);
    listener.send(Drain).await.unwrap();
    let began = Instant::now();
    while !turns.overdue(later, longest).is_empty() {
        assert!(began.elapsed() < DEADLINE, "the loop is still waited for");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
