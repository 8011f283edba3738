//! A Redis that answers and refuses: at the start this is a fatal error, later it is waited for.

use std::process::Command;

use tikkun::job::JobState;

use super::place::{Place, QUEUES, plain, sleep};
use super::redis_server::Redis;

/// A service as a user of its own, who may do everything for now.
fn restricted(place: &Place, password: &str) -> super::process::Start {
    place.redis.ask(&["ACL", "SETUSER", "svc", "on", ">secret", "~*", "&*", "+@all"]);
    place
        .service()
        .set("REDIS_URL", &place.redis.tcp_url(0).replace("redis://", &format!("redis://svc:{password}@")))
}

#[tokio::test]
async fn jobs_whose_ends_are_refused_are_finished_as_soon_as_that_is_allowed() {
    let place = Place::with_port().await;
    let mut service = restricted(&place, "secret").start().await;
    let jobs: Vec<_> = QUEUES.iter().map(|queue| sleep(&format!("on-{queue}"), queue, 2.0)).collect();
    place.enqueue(&jobs).await;
    for job in &jobs {
        place.becomes(job.id.as_str(), JobState::Started).await;
    }
    place.redis.ask(&["ACL", "SETUSER", "svc", "-xadd"]);
    let told = service.says("Redis refuses XADD").await;
    assert!(told.contains("WARN") && told.contains("ACL SETUSER"), "{told}");
    service.says("after 2 failures queue='").await;
    place.redis.ask(&["ACL", "SETUSER", "svc", "+@all"]);
    for job in &jobs {
        let job = place.becomes(job.id.as_str(), JobState::Finished).await;
        assert_eq!((job.attempt, job.failures, &job.remark), (1, 0, &None), "{job:?}");
    }
    assert_eq!(service.restarts(), 0);
}

#[tokio::test]
async fn while_no_end_can_be_written_no_more_jobs_are_begun_and_that_is_no_health() {
    let place = Place::with_port().await;
    let mut service = restricted(&place, "secret").start().await;
    let id = |number: usize| format!("job-{number}");
    place.enqueue(&[sleep(&id(0), "default", 2.0)]).await;
    place.becomes(&id(0), JobState::Started).await;
    place.redis.ask(&["ACL", "SETUSER", "svc", "-xadd"]);
    service.says("Redis refuses XADD").await;
    let jobs: Vec<_> = (1..60).map(|number| sleep(&id(number), "default", 0.0)).collect();
    place.enqueue(&jobs).await;
    // Many waits later nothing of that was touched.
    service.says("after 8 failures queue='default'").await;
    let started = place.broker.counts().await.unwrap()[&"default".into()].started;
    assert_eq!(started, 1, "only the one whose end waits");
    let health = service.get("/api/jobs/health").expect(500).json();
    assert!(health["refuses_writes"]["broker"].as_str().is_some_and(|why| why.contains("XADD")), "{health}");
    service.call("GET", "/readyz", &[]).expect(503);
    place.redis.ask(&["ACL", "SETUSER", "svc", "+@all"]);
    for number in 0..60 {
        let job = place.becomes(&id(number), JobState::Finished).await;
        assert_eq!((job.attempt, job.failures), (1, 0), "{job:?}");
    }
}

#[tokio::test]
async fn outage_is_over_when_the_end_that_met_it_is_written_however_long_that_is() {
    let place = Place::with_port().await;
    let mut service = restricted(&place, "secret").start().await;
    let ready = async |it: &super::process::Service, status: u16| {
        (it.call("GET", "/readyz", &[]).status == status).then_some(())
    };
    service.until("readiness", async |it| ready(it, 200).await).await;
    for length in [1, 600_000] {
        let id = format!("of-{length}");
        place.redis.ask(&["ACL", "SETUSER", "svc", "-xadd"]);
        place.enqueue(&[plain(&id, "default", "tikkun.echo", "x".repeat(length).into())]).await;
        let unserved = async |it: &super::process::Service| {
            it.health()["not_served"]["default"].as_str().filter(|why| why.contains("XADD")).map(drop)
        };
        service.until("an outage", unserved).await;
        service.call("GET", "/readyz", &[]).expect(503);
        place.redis.ask(&["ACL", "SETUSER", "svc", "+@all"]);
        place.becomes(&id, JobState::Finished).await;
        service.until("readiness", async |it| ready(it, 200).await).await;
        let over = async |it: &super::process::Service| {
            (it.health()["not_served"] == serde_json::json!({})).then_some(())
        };
        service.until("the end of the outage", over).await;
    }
}

#[tokio::test]
async fn process_whose_fetches_never_succeeded_is_alive_and_not_ready() {
    let place = Place::forgetful().await;
    place.enqueue(&[sleep("first", "high", 0.0)]).await;
    place.redis.ask(&["SET", "rq:wip:high", "something else"]);
    let mut service = place.service().start().await;
    service.says("broker does not serve the queue").await;
    service.call("GET", "/healthz", &[]).expect(200);
    let answer = service.call("GET", "/readyz", &[]).expect(503).json();
    assert!(answer["why"].as_str().unwrap().contains("no fetch from the queue has succeeded"), "{answer}");
    place.redis.ask(&["DEL", "rq:wip:high"]);
    place.becomes("first", JobState::Finished).await;
    service.call("GET", "/readyz", &[]).expect(200);
}

#[tokio::test]
async fn queue_whose_keys_turn_to_something_else_is_no_health_and_others_are_served() {
    let place = Place::forgetful().await;
    let mut service = place.service().start().await;
    service.until("readiness", async |it| (it.call("GET", "/readyz", &[]).status == 200).then_some(())).await;
    for (key, kind) in [("rq:queue:high", "list"), ("rq:wip:high", "zset")] {
        place.redis.ask(&["SET", key, "something else"]);
        if kind == "zset" {
            place.enqueue(&[sleep("waits", "high", 0.0)]).await;
        }
        let unready = async |it: &super::process::Service| {
            let answer = it.call("GET", "/readyz", &[]);
            (answer.status == 503).then(|| answer.json())
        };
        let answer = service.until("unreadiness", unready).await;
        assert!(answer["why"].as_str().unwrap().contains("no job can be taken from high"), "{answer}");
        service.call("GET", "/healthz", &[]).expect(200);
        let health = service.get("/api/jobs/health").expect(500).json();
        assert!(health["not_served"]["high"].as_str().unwrap().contains("WRONGTYPE"), "{health}");
        let (code, said) = run(&place, &place.redis, &["doctor", "--json"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("\"queue_not_served\"") && said.contains(key) && said.contains(kind), "{said}");
        let id = format!("beside-{kind}");
        place.enqueue(&[sleep(&id, "default", 0.0)]).await;
        place.becomes(&id, JobState::Finished).await;
        place.redis.ask(&["DEL", key]);
        service
            .until("readiness", async |it| (it.call("GET", "/readyz", &[]).status == 200).then_some(()))
            .await;
        assert_eq!(service.get("/api/jobs/health").expect(200).json()["not_served"], serde_json::json!({}));
    }
    place.becomes("waits", JobState::Finished).await;
}

#[tokio::test]
async fn dead_process_of_this_host_is_noticed_long_before_its_lease_is_over() {
    let place = Place::forgetful().await;
    let start = place.service().set("TIKKUN_LEASE__TTL", "5m").set("TIKKUN_LEASE__RENEW", "1s");
    let mut dying = start.start().await;
    place.enqueue(&[sleep("left", "high", 600.0)]).await;
    place.becomes("left", JobState::Started).await;
    let mut other = start.start().await;
    dying.process.kill();
    other.says("rescued a job whose process died").await;
}

/// What a command of ours prints on this Redis, and its exit code.
fn run(place: &Place, redis: &Redis, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tikkun"))
        .args(words)
        .arg("--data")
        .arg(place.ground.path())
        .env_clear()
        .env("REDIS_URL", redis.url())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn server_that_can_never_carry_jobs_ends_the_start_and_is_named_by_doctor_and_selftest() {
    let place = Place::with_port().await;
    let cluster = Redis::start_as(&["--cluster-enabled", "yes"]);
    let mut starting = place.service().set("REDIS_URL", &cluster.url()).spawn();
    assert_eq!(starting.exited().await.code(), Some(2), "{}", starting.tail());
    assert_eq!(starting.lines("a node of a Redis Cluster").len(), 1, "{}", starting.tail());
    for (words, code, more) in
        [(&["doctor", "--json"][..], 1, "\"queue_refuses\""), (&["selftest", "--json"][..], 1, "\"queue\"")]
    {
        let (ended, said) = run(&place, &cluster, words);
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains("a node of a Redis Cluster") && said.contains(more), "{said}");
        assert!(!said.contains("queue_unreachable"), "{said}");
    }
    let mut starting = restricted(&place, "wrong").spawn();
    assert_eq!(starting.exited().await.code(), Some(2), "{}", starting.tail());
    assert!(
        !starting.lines("`svc`").is_empty() && starting.lines("wrong@").is_empty(),
        "{}",
        starting.tail()
    );
    let start = restricted(&place, "secret");
    place.redis.ask(&["ACL", "SETUSER", "svc", "-lpop"]);
    let mut starting = start.spawn();
    assert_eq!(starting.exited().await.code(), Some(2), "{}", starting.tail());
    assert!(!starting.lines("LPOP").is_empty() && !starting.lines("+lpop").is_empty(), "{}", starting.tail());
    place.redis.ask(&["ACL", "SETUSER", "svc", "+@all"]);
    start.start().await;
}
