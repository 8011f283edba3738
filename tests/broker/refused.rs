//! If a server refuses any step, for any reason, no job is lost, and no job is blamed.

use std::sync::Arc;

use serde_json::json;
use tikkun::fault::FaultKind;
use tikkun::job::{Args, JobId, JobState, Limit, QueueEnd};
use tikkun::queue::{Broker, Disposition, RqSettings, Settled, Settlement, open_rq};

use super::ground::*;
use super::redis_server::{Redis, SHARED};
use super::rq::Prefix;

/// Every command of the scripts.
pub const COMMANDS: &[&str] = &[
    "del",
    "exists",
    "expire",
    "get",
    "hdel",
    "hexists",
    "hget",
    "hgetall",
    "hincrby",
    "hmget",
    "hset",
    "hsetnx",
    "hvals",
    "llen",
    "lpop",
    "lpos",
    "lpush",
    "lrange",
    "lrem",
    "persist",
    "pexpireat",
    "rpush",
    "sadd",
    "set",
    "smembers",
    "srandmember",
    "srem",
    "type",
    "xadd",
    "zadd",
    "zcard",
    "zmscore",
    "zrandmember",
    "zrange",
    "zrangebyscore",
    "zrem",
    "zscore",
];
/// Those of them that write the end of an attempt.
const ENDING: &[&str] = &[
    "del",
    "exists",
    "hdel",
    "hincrby",
    "hmget",
    "hset",
    "lpush",
    "persist",
    "pexpireat",
    "rpush",
    "sadd",
    "set",
    "type",
    "xadd",
    "zadd",
    "zmscore",
    "zrem",
];
const IDS: [&str; 3] = ["a", "b", "c"];

/// A user of its own, from whom commands can be taken and to whom they can be given back.
pub struct User<'a> {
    prefix: &'a Prefix,
    pub broker: Arc<dyn Broker>,
}

impl<'a> User<'a> {
    pub fn of(prefix: &'a Prefix) -> Self {
        let keys = format!("~{}:*", prefix.name());
        SHARED.ask(&["ACL", "SETUSER", prefix.name(), "on", ">secret", &keys, "&*", "+@all"]);
        Self { prefix, broker: open_rq(&settings_of(prefix)).unwrap() }
    }

    pub fn may_not(&self, command: &str) {
        let answer = SHARED.ask(&["ACL", "SETUSER", self.prefix.name(), &format!("-{command}")]);
        assert_eq!(answer, "OK", "{command}");
    }

    pub fn may_all(&self) {
        SHARED.ask(&["ACL", "SETUSER", self.prefix.name(), "+@all"]);
    }
}

fn settings_of(prefix: &Prefix) -> RqSettings {
    let url = format!("{}?user={}&pass=secret", SHARED.url(), prefix.name());
    RqSettings { url: url.into(), ..prefix.settings() }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        SHARED.ask(&["ACL", "DELUSER", self.prefix.name()]);
    }
}

/// Where a job is, by the keys that name it.
async fn places(prefix: &Prefix, id: &str) -> Vec<&'static str> {
    const REGISTRIES: [&str; 6] = ["wip", "scheduled", "deferred", "finished", "failed", "canceled"];
    let mut commands = redis::pipe();
    commands.lrange(prefix.key("queue:q"), 0, -1).hkeys(prefix.key("tikkun:deliveries"));
    for registry in REGISTRIES {
        commands.zrange(prefix.key(&format!("{registry}:q")), 0, -1);
    }
    let client = redis::Client::open(SHARED.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut lists: Vec<Vec<String>> = commands.query_async(&mut connection).await.unwrap();
    let registries = lists.split_off(2);
    let mut found: Vec<_> = lists[0].iter().filter(|one| *one == id).map(|_| "queue").collect();
    for (registry, members) in REGISTRIES.into_iter().zip(registries) {
        let is_lent = |member: &String| registry != "wip" || lists[1].contains(member);
        let is_its = |member: &String| member == id || member.starts_with(&format!("{id}:"));
        found.extend(members.iter().filter(|one| is_lent(one) && is_its(one)).map(|_| registry));
    }
    found
}

pub async fn none_is_lost(prefix: &Prefix, told: &str) {
    for id in IDS {
        if prefix.ask_number(&["EXISTS", &format!("job:{id}")]).await == 1 {
            assert!(!places(prefix, id).await.is_empty(), "{told}: job {id} is in no list");
        }
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, tikkun::fault::Fault>, told: &str) {
    if let Err(fault) = answer {
        assert_eq!(fault.kind(), FaultKind::Retryable, "{told}: {}", fault.chain());
    }
}

#[tokio::test]
async fn take_that_is_refused_half_way_leaves_every_job_where_it_is_found() {
    for command in COMMANDS {
        let prefix = Prefix::new();
        let (all, user) = (leased(&prefix).await, User::of(&prefix));
        enqueue(&*all, &IDS).await;
        user.may_not(command);
        for _ in 0..3 {
            refused(user.broker.fetch(&queue(), 2, &me()).await, command);
            none_is_lost(&prefix, command).await;
        }
        let held = all.held(&queue(), &me()).await.unwrap();
        let mut found = ids(&held);
        found.extend(ids(&fetch(&*all, 9).await));
        found.sort();
        assert_eq!(found, IDS, "{command}: each once");
    }
}

#[tokio::test]
async fn take_that_meets_a_key_of_another_type_loses_nothing() {
    for key in ["wip:q", "tikkun:deliveries"] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &IDS).await;
        prefix.ask(&["SET", key, "something else"]).await;
        for _ in 0..3 {
            broker.fetch(&queue(), 9, &me()).await.unwrap_err();
        }
        prefix.ask(&["DEL", key]).await;
        assert_eq!(ids(&fetch(&*broker, 9).await), IDS, "{key}");
    }
    for key in ["executions:a", "job:a:dependents", "tikkun:held:q"] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &IDS).await;
        prefix.ask(&["SET", key, "something else"]).await;
        assert_eq!(
            ids(&fetch(&*broker, 9).await),
            IDS,
            "{key}: what readers look at keeps nobody from running"
        );
    }
}

fn verdicts() -> [(Disposition, JobState, &'static str); 5] {
    let retry = |delay| Disposition::RetryAt { delay, error: "no".into() };
    [
        (ack(), JobState::Finished, "finished"),
        (retry(LONG), JobState::Scheduled, "scheduled"),
        (retry(std::time::Duration::ZERO), JobState::Queued, "queue"),
        (Disposition::Release { end: QueueEnd::Head }, JobState::Queued, "queue"),
        (Disposition::Rescue, JobState::Queued, "queue"),
    ]
}

#[tokio::test]
async fn end_that_the_server_refuses_is_held_and_written_as_it_was_when_it_is_let() {
    for command in ENDING {
        for (verdict, state, place) in verdicts().into_iter().take(3) {
            let told = format!("{command}, {verdict:?}");
            let prefix = Prefix::new();
            let (all, user) = (leased(&prefix).await, User::of(&prefix));
            let mut new = job("a");
            new.retries = Some(tikkun::job::Retries { left: 5, intervals: Vec::new() });
            let delivery = one(&*all, new).await;
            user.may_not(command);
            let end = [settlement(&delivery, verdict.clone())];
            let mut written = false;
            for _ in 0..2 {
                let answer = user.broker.settle(&end).await;
                written |= answer.is_ok();
                refused(answer, &told);
                none_is_lost(&prefix, &told).await;
            }
            user.may_all();
            user.broker.settle(&end).await.unwrap_or_else(|fault| panic!("{told}: {}", fault.chain()));
            let job = record(&*all, "a").await;
            assert_eq!(job.state, state, "{told}, written {written}: {:?}", job.remark);
            assert_eq!(places(&prefix, "a").await, [place], "{told}");
            assert_eq!(all.held(&queue(), &me()).await.unwrap(), [], "{told}");
            if matches!(verdict, Disposition::RetryAt { .. }) {
                let left = job.retries.map(|retries| retries.left);
                assert_eq!((job.failures, left), (1, Some(4)), "{told}: it counts once");
            }
        }
    }
}

/// Ends of one call, of which the last alone needs what is refused.
#[tokio::test]
async fn ends_beside_one_that_is_refused_are_written_once() {
    let prefix = Prefix::new();
    let (all, user) = (leased(&prefix).await, User::of(&prefix));
    enqueue(&*all, &["a", "b", "c", "d"]).await;
    let lent = fetch(&*all, 4).await;
    let zero = std::time::Duration::ZERO;
    let ended = [
        ack(),
        Disposition::Discard { error: "no".into(), keep: Limit::After(LONG) },
        Disposition::Ack { result: json!(1), keep: Limit::After(zero) },
        Disposition::RetryAt { delay: zero, error: "not yet".into() },
    ];
    let ends: Vec<_> = lent.iter().zip(ended).map(|(one, verdict)| settlement(one, verdict)).collect();
    user.may_not("type");
    for _ in 0..3 {
        let fault = user.broker.settle(&ends).await.unwrap_err();
        assert!(fault.chain().contains("TYPE"), "{}", fault.chain());
    }
    user.may_all();
    assert_eq!(user.broker.settle(&ends).await.unwrap(), [Settled::Done; 4]);
    for id in ["a", "b", "d"] {
        assert_eq!(prefix.ask_number(&["XLEN", &format!("results:{id}")]).await, 1, "results of {id}");
    }
    let failed = ["b", "d"].map(|id| record(&*all, id));
    assert_eq!(
        futures::future::join_all(failed).await.iter().map(|job| job.failures).collect::<Vec<_>>(),
        [1, 1]
    );
    assert_eq!(all.job(&"c".into()).await.unwrap(), None);
}

#[tokio::test]
async fn refused_end_names_the_command_that_is_refused() {
    let prefix = Prefix::new();
    let (all, user) = (leased(&prefix).await, User::of(&prefix));
    let delivery = one(&*all, job("a")).await;
    user.may_not("xadd");
    let fault = user.broker.settle(&[settlement(&delivery, ack())]).await.unwrap_err();
    assert!(fault.chain().contains("XADD"), "{}", fault.chain());
    assert_ne!(record(&*all, "a").await.state, JobState::Failed);
}

#[tokio::test]
async fn what_the_jobs_of_a_queue_share_is_no_fault_of_one_of_them() {
    for key in ["queue:q", "scheduled:q", "finished:q", "failed:q"] {
        for (verdict, state, place) in verdicts() {
            let told = format!("{key}, {verdict:?}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            let delivery = one(&*broker, job("a")).await;
            prefix.ask(&["SET", key, "something else"]).await;
            let end = [settlement(&delivery, verdict)];
            for _ in 0..2 {
                refused(broker.settle(&end).await, &told);
            }
            prefix.ask(&["DEL", key]).await;
            broker.settle(&end).await.unwrap();
            assert_eq!(record(&*broker, "a").await.state, state, "{told}");
            assert_eq!(places(&prefix, "a").await, [place], "{told}");
        }
    }
}

/// Everything else that moves jobs, each with the state that it begins with.
async fn moves(broker: &dyn Broker) -> [Result<(), tikkun::fault::Fault>; 6] {
    let id = [JobId::from("a")];
    [
        broker.promote_due(9).await.map(drop),
        broker.requeue(&id).await.map(drop),
        broker.orphans(9).await.map(drop),
        broker.tend(9).await.map(drop),
        broker.expire(9).await.map(drop),
        broker.cancel(&"b".into()).await.map(drop),
    ]
}

#[tokio::test]
async fn whatever_moves_jobs_may_be_refused_anywhere() {
    for command in COMMANDS {
        let prefix = Prefix::new();
        let (all, user) = (leased(&prefix).await, User::of(&prefix));
        // One has failed, one waits, one is due.
        let failed = one(&*all, job("a")).await;
        settle(&*all, &failed, Disposition::Discard { error: "no".into(), keep: Limit::Never }).await;
        enqueue(&*all, &["b"]).await;
        let mut due = job("c");
        due.delay = Some(LONG);
        all.enqueue(&[due]).await.unwrap();
        prefix.ask(&["ZADD", "scheduled:q", "1", "c"]).await;
        user.may_not(command);
        for answer in moves(&*user.broker).await {
            refused(answer, command);
            none_is_lost(&prefix, command).await;
        }
        user.may_all();
        for answer in moves(&*user.broker).await {
            answer.unwrap();
        }
        let mut waiting = ids(&fetch(&*all, 9).await);
        waiting.sort();
        assert_eq!(waiting, ["a", "c"], "{command}: one was asked for anew, one was due, one was canceled");
    }
}

#[tokio::test]
async fn queue_whose_list_is_something_else_holds_up_no_other_and_loses_nothing() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    for (id, queue) in [("a", "q"), ("b", "other")] {
        let mut due = job(id);
        (due.queue, due.delay) = (queue.into(), Some(LONG));
        broker.enqueue(&[due]).await.unwrap();
        prefix.ask(&["ZADD", &format!("scheduled:{queue}"), "1", id]).await;
    }
    prefix.ask(&["SET", "queue:q", "something else"]).await;
    assert_eq!(broker.promote_due(9).await.unwrap(), 1);
    assert_eq!(prefix.ask_list(&["LRANGE", "queue:other", "0", "-1"]).await, ["b"]);
    prefix.ask(&["DEL", "queue:q"]).await;
    assert_eq!(broker.promote_due(9).await.unwrap(), 1);
    assert_eq!(ids(&fetch(&*broker, 9).await), ["a"]);
}

#[tokio::test]
async fn orphans_of_other_queues_are_found_beside_a_registry_that_is_something_else() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let mut elsewhere = job("b");
    elsewhere.queue = "other".into();
    one(&*broker, job("a")).await;
    broker.enqueue(&[elsewhere]).await.unwrap();
    broker.fetch(&"other".into(), 1, &me()).await.unwrap();
    broker.end_lease(&me()).await.unwrap();
    prefix.ask(&["RENAME", "wip:q", &prefix.key("kept")]).await;
    prefix.ask(&["SET", "wip:q", "something else"]).await;
    let found: Vec<_> = broker.orphans(9).await.unwrap().into_iter().map(|one| one.delivery.job.id).collect();
    assert_eq!(found, [JobId::from("b")]);
    prefix.ask(&["DEL", "wip:q"]).await;
    prefix.ask(&["RENAME", "kept", &prefix.key("wip:q")]).await;
    assert_eq!(broker.orphans(9).await.unwrap().len(), 2, "its trace is still there");
}

#[tokio::test]
async fn server_at_its_memory_limit_grants_leases_lends_and_settles_and_takes_nothing_new() {
    let server = Redis::start();
    let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
    let broker = open_rq(&settings).unwrap();
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    enqueue(&*broker, &IDS).await;
    let before = fetch(&*broker, 1).await;
    assert_eq!(server.ask(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    let is_out = |fault: tikkun::fault::Fault| assert!(fault.chain().contains("OOM"), "{}", fault.chain());
    is_out(broker.enqueue(&[job("new")]).await.unwrap_err());
    is_out(broker.check().await.unwrap_err());
    is_out(broker.prove().await.unwrap_err());
    let newcomer = open_rq(&settings).unwrap();
    assert!(newcomer.renew_lease(&process("newcomer"), LONG).await.unwrap(), "a process may begin there");
    for _ in 0..2 {
        assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    }
    assert!(broker.lead("scheduler", &me(), LONG).await.unwrap());
    assert!(in_time("a wait beside work", broker.wait(&queue(), LONG)).await.unwrap());
    let after = fetch(&*broker, 9).await;
    assert_eq!((ids(&before), ids(&after)), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    assert!(!in_time("a wait in vain", broker.wait(&queue(), SHORT)).await.unwrap());
    let ends: Vec<Settlement> =
        before.iter().chain(&after).map(|delivery| settlement(delivery, ack())).collect();
    broker.settle(&ends).await.unwrap();
    for id in IDS {
        assert_eq!(record(&*broker, id).await.state, JobState::Finished);
    }
    assert_eq!(broker.orphans(9).await.unwrap(), []);
    broker.promote_due(9).await.unwrap();
    broker.end_lease(&me()).await.unwrap();
}

#[tokio::test]
async fn time_in_which_no_write_was_taken_ends_no_lease() {
    let lease = std::time::Duration::from_millis(400);
    // Who looks first may have been started meanwhile, and have no lease of its own yet.
    for leased in [true, false] {
        let server = Redis::start();
        let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
        let (one, two) = (open_rq(&settings).unwrap(), open_rq(&settings).unwrap());
        assert!(one.renew_lease(&process("one"), lease).await.unwrap());
        if leased {
            assert!(two.renew_lease(&process("two"), lease).await.unwrap());
        }
        enqueue(&*one, &["a"]).await;
        assert_eq!(one.fetch(&queue(), 1, &"one".into()).await.unwrap().len(), 1);
        server.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        let began = tokio::time::Instant::now();
        while began.elapsed() < lease * 3 {
            // What is watched counts only where the look at it goes through.
            if leased {
                two.orphans(9).await.unwrap_err();
            }
            tokio::time::sleep(lease / 10).await;
        }
        server.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
        assert_eq!(two.orphans(9).await.unwrap(), [], "nobody could renew anything, leased: {leased}");
        assert!(
            one.renew_lease(&process("one"), lease).await.unwrap(),
            "it was never lost, leased: {leased}"
        );
    }
}

#[tokio::test]
async fn server_that_cannot_carry_jobs_says_why_in_one_sentence() {
    let prefix = Prefix::new();
    let user = User::of(&prefix);
    user.broker.prove().await.unwrap();
    assert_eq!(
        prefix.ask_number(&["EXISTS", "tikkun:proof", "tikkun:proof:hash"]).await,
        0,
        "it leaves nothing"
    );
    user.may_not("xadd");
    user.may_not("zadd");
    for answer in [user.broker.prove().await, user.broker.renew_lease(&process(ME), LONG).await.map(drop)] {
        let fault = answer.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
        let line = format!("ACL SETUSER tikkun on >PASSWORD ~{0}:* resetchannels &{0}:* +", prefix.name());
        for word in ["ZADD", "XADD", "+xadd", "+zadd", &line] {
            assert!(fault.chain().contains(word), "`{word}` in {}", fault.chain());
        }
        assert!(!fault.chain().contains("secret"));
    }
    user.may_all();
    assert!(user.broker.renew_lease(&process(ME), LONG).await.unwrap(), "it is looked at anew");
    user.may_not("evalsha");
    assert_eq!(user.broker.prove().await.unwrap_err().kind(), FaultKind::Permanent);
    user.may_all();
    user.may_not("blmove");
    assert!(user.broker.prove().await.unwrap_err().chain().contains("BLMOVE"));
}

/// The line that a refused user is given is all that it needs.
#[tokio::test]
async fn user_with_what_the_sentence_grants_can_do_everything() {
    let prefix = Prefix::new();
    let user = User::of(&prefix);
    user.may_not("@all");
    let said = user.broker.prove().await.unwrap_err().chain();
    let line = said.split('`').find(|part| part.starts_with("ACL ")).unwrap();
    // Under its own name: other tests make users, too.
    SHARED.ask(&["ACL", "DELUSER", prefix.name()]);
    let line = line.replace(" tikkun ", &format!(" {} ", prefix.name())).replace("PASSWORD", "secret");
    assert_eq!(SHARED.ask(&line.split_whitespace().collect::<Vec<_>>()), "OK", "{line}");
    let user = User { prefix: &prefix, broker: open_rq(&settings_of(&prefix)).unwrap() };
    let broker = &user.broker;
    broker.prove().await.unwrap();
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    enqueue(&**broker, &IDS).await;
    assert!(broker.wait(&queue(), LONG).await.unwrap());
    for delivery in fetch(&**broker, 9).await {
        settle(&**broker, &delivery, ack()).await;
    }
    for answer in moves(&**broker).await {
        answer.unwrap();
    }
    broker.trim(tikkun::queue::Budget { finished: 1, failed: 1 }, 9).await.unwrap();
    broker.jobs(&tikkun::queue::JobFilter { limit: 9, ..Default::default() }).await.unwrap();
    broker.attempts(&"a".into()).await.unwrap();
    broker.counts().await.unwrap();
    broker.risks(&[queue()]).await.unwrap();
    assert!(broker.lead("scheduler", &me(), LONG).await.unwrap());
    broker.orders(&me(), SHORT).await.unwrap();
    broker.end_lease(&me()).await.unwrap();
}

#[tokio::test]
async fn node_of_a_cluster_is_refused_in_one_sentence() {
    let server = Redis::start_as(&["--cluster-enabled", "yes"]);
    let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
    let fault = open_rq(&settings).unwrap().prove().await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Permanent);
    assert!(fault.chain().contains("Redis Cluster"), "{}", fault.chain());
}

/// A server, or what lies between, may end the connection whose answer is longer than it likes. What was lent in that
/// answer would then be lent for nothing, again and again.
#[tokio::test]
async fn no_answer_is_too_long_because_of_the_payloads_of_many() {
    let server = Redis::start_as(&["--client-output-buffer-limit", "normal", "1mb", "1mb", "0"]);
    let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
    let (broker, other) = (open_rq(&settings).unwrap(), open_rq(&settings).unwrap());
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    let names: Vec<_> = (0..8).map(|n| format!("job-{n}")).collect();
    for name in &names {
        // Of letters by chance, so that it cannot be packed much.
        let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(400_000).collect();
        let mut heavy = job(name);
        heavy.args = Args::positional([json!(text)]);
        broker.enqueue(&[heavy]).await.unwrap();
    }
    let (mut lent, mut orphans) = (Vec::new(), Vec::new());
    for _ in &names {
        assert_eq!(fetch(&*broker, 9).await, [], "each is heavy, and comes alone");
        let weight = broker.left(Some(&queue()));
        lent.extend(broker.fetch_heavy(&queue(), weight, &me()).await.unwrap());
    }
    assert_eq!(ids(&lent), names);
    let mut held = ids(&broker.held(&queue(), &me()).await.unwrap());
    held.sort();
    assert_eq!(held, names);
    broker.end_lease(&me()).await.unwrap();
    for _ in &names {
        for orphan in other.orphans(9).await.unwrap() {
            settle(&*other, &orphan.delivery, Disposition::Rescue).await;
            orphans.push(orphan.delivery.job.id.as_str().to_owned());
        }
    }
    orphans.sort();
    assert_eq!(orphans, names, "each is found once");
}
