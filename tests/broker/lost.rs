//! A Redis that loses data, stops answering, or could not be reached by any process.

mod rested;
mod thin_line;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tikkun::job::{JobState, Limit, QueueEnd, RetryAsked};
use tikkun::queue::{Broker, Disposition, Order, RqSettings, Settled, Settlement, open_rq};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

use super::ground::*;
use super::redis_server::{Redis, SHARED};
use super::rq::{Prefix, command};

/// A lease that somebody can renew within a test.
const LEASE: Duration = Duration::from_secs(2);

/// A command on the server that all share.
async fn ask<T: redis::FromRedisValue>(words: &[&str]) -> T {
    let client = redis::Client::open(SHARED.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.unwrap()
}

/// Everything of one test is gone, as if the server had started again empty.
async fn forget(prefix: &Prefix) {
    let keys: Vec<String> = ask(&["KEYS", &format!("{}:*", prefix.name())]).await;
    for key in keys {
        ask::<u8>(&["DEL", &key]).await;
    }
}

#[tokio::test]
async fn running_job_that_the_server_forgot_is_written_back_and_ends_under_its_execution() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    forget(&prefix).await;
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap(), "nobody else had it meanwhile");
    let back = record(&*broker, "a").await;
    assert_eq!((back.state, back.attempt), (JobState::Started, 1));
    assert_eq!((&back.kind, &back.args), (&delivery.job.kind, &delivery.job.args));
    assert_eq!(counts(&*broker).await.started, 1);
    assert_eq!(broker.orphans(10).await.unwrap(), []);
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap(), "the second time changes nothing");
    assert_eq!(counts(&*broker).await.started, 1);
    assert_eq!(settle(&*broker, &delivery, ack()).await, Settled::Done);
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
}

#[tokio::test]
async fn end_that_comes_before_anybody_notices_counts_all_the_same() {
    let prefix = Prefix::new();
    let (broker, other) = (leased(&prefix).await, prefix.open().await);
    let first = one(&*broker, job("a")).await;
    let second = one(&*broker, job("b")).await;
    forget(&prefix).await;
    assert_eq!(settle(&*broker, &first, ack()).await, Settled::Done);
    // Another process is there first, and marks the empty server.
    forget(&prefix).await;
    assert!(other.renew_lease(&process("other"), LONG).await.unwrap());
    assert_eq!(settle(&*broker, &second, ack()).await, Settled::Done);
    assert_eq!(record(&*broker, "b").await.state, JobState::Finished);
    assert_eq!(counts(&*broker).await.started, 0);
}

fn dropped() -> Disposition {
    Disposition::Ack { result: serde_json::json!(1), keep: Limit::After(Duration::ZERO) }
}

/// Settles, and nobody takes the answer.
async fn lose_the_answer(broker: &dyn Broker, settlement: &[Settlement]) {
    // It is sent with the first look at it.
    let mut call = broker.settle(settlement);
    assert!(futures::poll!(&mut call).is_pending());
    eventually("the end to be written", async || (counts(broker).await.started == 0).then_some(())).await;
}

#[tokio::test]
async fn an_end_whose_answer_was_lost_counts_when_it_is_told_again() {
    for verdict in [ack(), dropped(), Disposition::Rescue] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let known = one(&*broker, job("known")).await;
        assert_eq!(settle(&*broker, &known, ack()).await, Settled::Done, "the script is on the server");
        let delivery = one(&*broker, job("a")).await;
        let settlement = [settlement(&delivery, verdict.clone())];
        lose_the_answer(&*broker, &settlement).await;
        assert_eq!(broker.settle(&settlement).await.unwrap(), [Settled::Done], "{verdict:?}");
        assert_eq!(broker.settle(&settlement).await.unwrap(), [Settled::NotOurs], "that answer came");
    }
}

#[tokio::test]
async fn an_end_whose_answer_was_lost_counts_also_when_others_have_taken_and_dropped_the_job_since() {
    let (zero, error) = (Duration::ZERO, "no".to_owned());
    for verdict in [
        Disposition::RetryAt { delay: zero, error },
        Disposition::RunAgain { delay: zero, asked: RetryAsked::at_most(3), keep: Limit::After(zero) },
        Disposition::Forward { queue: "other".into() },
        Disposition::Release { end: QueueEnd::Head },
        Disposition::Rescue,
    ] {
        let prefix = Prefix::new();
        let (broker, other) = (leased(&prefix).await, prefix.open().await);
        assert!(other.renew_lease(&process("other"), LONG).await.unwrap());
        let delivery = one(&*broker, job("a")).await;
        let settlement = [settlement(&delivery, verdict.clone())];
        lose_the_answer(&*broker, &settlement).await;
        let goes_on = matches!(verdict, Disposition::Forward { .. }).then(|| "other".into());
        let taken = other.fetch(&goes_on.unwrap_or_else(queue), 1, &"other".into()).await.unwrap().remove(0);
        assert_eq!(settle(&*other, &taken, dropped()).await, Settled::Done);
        assert_eq!(broker.job(&"a".into()).await.unwrap(), None);
        assert_eq!(broker.settle(&settlement).await.unwrap(), [Settled::Done], "{verdict:?}");
        assert_eq!(broker.settle(&settlement).await.unwrap(), [Settled::NotOurs], "that answer came");
        for key in prefix.ask_list(&["KEYS", "tikkun:told:*"]).await {
            let lives: i64 = ask(&["TTL", &key]).await;
            assert!((1..=600).contains(&lives), "{key} lives {lives} s");
        }
    }
}

#[tokio::test]
async fn an_end_whose_answer_was_lost_counts_also_when_its_id_was_put_in_again_since() {
    for is_taken in [false, true] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        let settlement = [settlement(&delivery, dropped())];
        lose_the_answer(&*broker, &settlement).await;
        enqueue(&*broker, &["a"]).await;
        let taken = if is_taken { fetch(&*broker, 1).await } else { Vec::new() };
        let before = record(&*broker, "a").await;
        assert_eq!(broker.settle(&settlement).await.unwrap(), [Settled::Done], "{is_taken}");
        assert_eq!(record(&*broker, "a").await, before, "it is another job");
        for delivery in taken {
            assert_eq!(settle(&*broker, &delivery, ack()).await, Settled::Done);
        }
    }
}

#[tokio::test]
async fn deleted_job_is_no_amnesia_and_is_not_written_back() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    ask::<u8>(&["DEL", &format!("{}:job:a", prefix.name())]).await;
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    assert_eq!(broker.job(&"a".into()).await.unwrap(), None);
    assert_eq!(settle(&*broker, &delivery, ack()).await, Settled::NotOurs);
    assert_eq!(broker.job(&"a".into()).await.unwrap(), None);
    assert_eq!(broker.forgotten().await.unwrap(), None);
}

#[tokio::test]
async fn job_that_was_put_in_again_meanwhile_is_not_taken_over() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    forget(&prefix).await;
    enqueue(&*broker, &["a"]).await;
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    assert_eq!(record(&*broker, "a").await.state, JobState::Queued);
    assert_eq!(settle(&*broker, &delivery, ack()).await, Settled::NotOurs, "it runs anew, and counts then");
}

#[tokio::test]
async fn loss_is_known_to_all_until_one_has_brought_back_what_it_can() {
    let prefix = Prefix::new();
    let (first, second) = (leased(&prefix).await, prefix.open().await);
    assert!(second.renew_lease(&process("second"), LONG).await.unwrap());
    assert_eq!(first.forgotten().await.unwrap(), None, "an empty server that nobody knew has lost nothing");
    forget(&prefix).await;
    assert_eq!(first.forgotten().await.unwrap(), None, "nobody has noticed");
    assert!(first.renew_lease(&process(ME), LONG).await.unwrap());
    let lost = second.forgotten().await.unwrap().expect("a loss");
    second.brought_back("of another time").await.unwrap();
    assert_eq!(first.forgotten().await.unwrap(), Some(lost.clone()), "another loss is not this one");
    second.brought_back(&lost).await.unwrap();
    assert_eq!(first.forgotten().await.unwrap(), None);
}

#[tokio::test]
async fn leases_that_nobody_could_renew_are_no_deaths_until_their_owners_had_time() {
    let prefix = Prefix::new();
    let (alive, dead, rescuer) = (prefix.open().await, prefix.open().await, prefix.open().await);
    for (broker, name) in [(&alive, "alive"), (&dead, "dead"), (&rescuer, "rescuer")] {
        assert!(broker.renew_lease(&process(name), LEASE).await.unwrap());
    }
    enqueue(&*alive, &["a", "b"]).await;
    let mut held = alive.fetch(&queue(), 1, &"alive".into()).await.unwrap();
    let lost = dead.fetch(&queue(), 1, &"dead".into()).await.unwrap();
    assert_eq!(rescuer.orphans(10).await.unwrap(), []);
    // The span is what this is about: everybody is cut off for longer than a lease.
    tokio::time::sleep(LEASE + LEASE / 2).await;
    assert!(rescuer.renew_lease(&process("rescuer"), LEASE).await.is_ok());
    assert_eq!(rescuer.orphans(10).await.unwrap(), [], "nobody could say that he lives");
    let found = eventually("the orphan of who does not say so", async || {
        assert!(alive.renew_lease(&process("alive"), LEASE).await.unwrap(), "it never ran out");
        rescuer.renew_lease(&process("rescuer"), LEASE).await.unwrap();
        Some(rescuer.orphans(10).await.unwrap()).filter(|found| !found.is_empty())
    })
    .await;
    let found: Vec<_> = found.iter().map(|orphan| orphan.delivery.execution.clone()).collect();
    assert_eq!(found, [lost[0].execution.clone()]);
    assert_eq!(settle(&*alive, &held.remove(0), ack()).await, Settled::Done);
}

/// What a server has to do with whose clock is ten minutes behind that of the one before it.
async fn clock_falls_back(prefix: &Prefix, process: &str) {
    let minutes = "600000";
    let ours = |name: &str| format!("{}:tikkun:{name}", prefix.name());
    ask::<redis::Value>(&["ZINCRBY", &ours("leases"), minutes, process]).await;
    ask::<redis::Value>(&["INCRBY", &ours("heard"), minutes]).await;
}

#[tokio::test]
async fn lease_of_a_clock_that_was_ahead_holds_no_longer_than_any_other() {
    let prefix = Prefix::new();
    let (dead, rescuer) = (prefix.open().await, prefix.open().await);
    assert!(dead.renew_lease(&process("dead"), LEASE).await.unwrap());
    assert!(rescuer.renew_lease(&process("rescuer"), LEASE).await.unwrap());
    enqueue(&*dead, &["a"]).await;
    assert_eq!(dead.fetch(&queue(), 1, &"dead".into()).await.unwrap().len(), 1);
    assert!(dead.lead("role", &"dead".into(), LONG).await.unwrap());
    clock_falls_back(&prefix, "dead").await;
    let found = eventually("the orphan", async || {
        assert!(
            rescuer.renew_lease(&process("rescuer"), LEASE).await.unwrap(),
            "whoever lives keeps its lease"
        );
        Some(rescuer.orphans(10).await.unwrap()).filter(|found| !found.is_empty())
    })
    .await;
    assert_eq!(found[0].process, "dead".into());
    assert!(rescuer.lead("role", &"rescuer".into(), LONG).await.unwrap(), "the lost lead nothing");
}

#[tokio::test]
async fn lease_that_stands_still_is_over_however_often_the_clock_falls_back() {
    let prefix = Prefix::new();
    let (dead, rescuer) = (prefix.open().await, prefix.open().await);
    assert!(dead.renew_lease(&process("dead"), LEASE).await.unwrap());
    enqueue(&*dead, &["a"]).await;
    assert_eq!(dead.fetch(&queue(), 1, &"dead".into()).await.unwrap().len(), 1);
    eventually("the orphan", async || {
        clock_falls_back(&prefix, "dead").await;
        clock_falls_back(&prefix, "rescuer").await;
        assert!(
            rescuer.renew_lease(&process("rescuer"), LEASE).await.unwrap(),
            "whoever lives keeps its lease"
        );
        Some(rescuer.orphans(10).await.unwrap()).filter(|found| !found.is_empty())
    })
    .await;
}

#[tokio::test]
async fn leadership_of_a_clock_that_was_ahead_ends_as_any_other() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    assert!(broker.lead("role", &me(), LEASE).await.unwrap());
    let role = format!("{}:tikkun:role:role", prefix.name());
    for field in ["until", "tick"] {
        ask::<i64>(&["HINCRBY", &role, field, "600000"]).await;
    }
    assert!(broker.leadership("role").await.unwrap().unwrap().ttl <= LEASE);
    assert!(!broker.lead("role", &"other".into(), LEASE).await.unwrap(), "its leader has its time");
    eventually("another leader", async || {
        broker.lead("role", &"other".into(), LEASE).await.unwrap().then_some(())
    })
    .await;
    assert!(!broker.lead("role", &me(), LEASE).await.unwrap());
}

#[tokio::test]
async fn scripts_that_the_server_has_dropped_are_loaded_again() {
    // A server of its own: the call of another test could meet both flushes.
    let server = Redis::start();
    let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
    let broker = open_rq(&settings).unwrap();
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    for id in ["a", "b", "c"] {
        server.ask(&["SCRIPT", "FLUSH"]);
        let delivery = one(&*broker, job(id)).await;
        server.ask(&["SCRIPT", "FLUSH"]);
        assert_eq!(settle(&*broker, &delivery, ack()).await, Settled::Done);
    }
}

/// Stands before the server, and can let every connection that there is fall silent without ending it.
struct Line {
    port: u16,
    silence: watch::Sender<u32>,
    made: Arc<AtomicU32>,
    _listens: tokio::task::JoinHandle<()>,
}

impl Line {
    async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (silence, made) = (watch::Sender::new(0), Arc::new(AtomicU32::new(0)));
        let (silent, counted) = (silence.clone(), Arc::clone(&made));
        let held = Arc::new(Mutex::new(Vec::new()));
        let listens = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (mut silent, held) = (silent.subscribe(), Arc::clone(&held));
                tokio::spawn(async move {
                    let mut far = UnixStream::connect(SHARED.socket()).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = silent.changed() => held.lock().push((near, far)),
                    }
                });
            }
        });
        Self { port, silence, made, _listens: listens }
    }

    fn broker(&self, prefix: &Prefix) -> Arc<dyn Broker> {
        let settings =
            RqSettings { url: format!("redis://127.0.0.1:{}/0", self.port).into(), ..prefix.settings() };
        open_rq(&settings).unwrap_or_else(|fault| panic!("{}", fault.chain()))
    }

    fn fall_silent(&self) {
        self.silence.send_modify(|times| *times += 1);
    }
}

#[tokio::test]
async fn zombie_consumer_connections_that_fell_silent_are_replaced_however_soon_callers_give_up() {
    let (prefix, line) = (Prefix::new(), Line::new().await);
    let broker = line.broker(&prefix);
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    assert!(!broker.wait(&queue(), SHORT).await.unwrap());
    let before = line.made.load(Ordering::Relaxed);
    line.fall_silent();
    // As long as the runtime waits for an answer.
    let patience = Duration::from_secs(5);
    eventually("an answer on a new connection", async || {
        tokio::time::timeout(patience, broker.check()).await.ok()?.ok()
    })
    .await;
    let delivery = {
        let from = queue();
        let waits = broker.wait(&from, LONG);
        let (woken, ()) =
            futures::future::join(in_time("work", waits), enqueue(&*prefix.open().await, &["a"])).await;
        let woken = match woken {
            Ok(woken) => woken,
            // The connection that waited before had fallen silent, too.
            Err(_) => in_time("work", broker.wait(&queue(), LONG)).await.unwrap(),
        };
        assert!(woken);
        fetch(&*broker, 1).await.pop().unwrap()
    };
    assert!(line.made.load(Ordering::Relaxed) >= before + 2, "one for calls, one that waits");
    assert_eq!(settle(&*broker, &delivery, Disposition::Rescue).await, Settled::Done);
}

#[tokio::test]
async fn subscription_that_fell_silent_is_made_anew() {
    let (prefix, line) = (Prefix::new(), Line::new().await);
    let broker = line.broker(&prefix);
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    assert_eq!(broker.orders(&me(), SHORT).await.unwrap(), []);
    line.fall_silent();
    let stop = serde_json::json!({ "command": "stop-job", "job_id": "a" });
    let worker = format!("tikkun.host.{ME}.1");
    let commands = async {
        loop {
            command(&prefix, &worker, stop.clone()).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let patience = Duration::from_secs(1);
    let heard = async {
        loop {
            // A word of our own is missed after 15 s and 3 more.
            if let Ok(orders) = broker.orders(&me(), patience).await
                && let Some(order) = orders.into_iter().next()
            {
                return order;
            }
        }
    };
    let order = tokio::select! {
        order = tokio::time::timeout(DEADLINE * 3, heard) => order.expect("an order, within a minute"),
        () = commands => unreachable!("commands are said for ever"),
    };
    assert_eq!(order, Order::Stop { job: "a".into(), lent: Vec::new(), others: Vec::new() });
}
