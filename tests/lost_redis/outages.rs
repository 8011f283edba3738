//! Redis cannot be reached for a while, and the service waits for it.

use std::time::Duration;

use tikkun::job::JobState;
use tikkun::queue::Risk;

use super::place::{Place, QUEUES, plain, size, sleep, within};

/// Within this time of its return every queue is served again.
const PROMISED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn zombie_consumer_every_queue_is_served_again_and_nobody_begins_again() {
    // Longer than a lease, so that all of them run out.
    let outage = Duration::from_secs(size("OUTAGE_SECONDS", 7));
    let mut place = Place::keeping().await;
    let tenant = place.ground.tenant(7, 200).await;
    let row = place.ground.plain_row(&tenant).await;
    let start = place.service().set("TIKKUN_DELETION__THROTTLE", "300ms");
    let mut fleet = [start.start().await, start.start().await];
    for one in &mut fleet {
        // One without a lease has no queue yet that could be lost.
        one.is_ready().await;
    }
    place.enqueue_row("entry", row).await;
    place.ground.processed(&mut fleet[0], row, 20).await;
    let long = outage.as_secs_f64() + 6.0;
    place.enqueue(&[sleep("long", "low", long)]).await;
    place.becomes("long", JobState::Started).await;

    place.redis.stop();
    let over = tokio::time::Instant::now() + outage;
    for one in &mut fleet {
        for queue in QUEUES {
            one.says(&format!("after 1 failures queue='{queue}'")).await;
        }
        one.says("⏳ [QUEUE] Backing off").await;
        one.call("GET", "/healthz", &[]).expect(200);
        assert_eq!(one.health()["status"], "unhealthy");
    }
    tokio::time::sleep_until(over).await;
    place.redis.start_again();

    let jobs: Vec<_> =
        QUEUES.iter().map(|queue| plain(&format!("on-{queue}"), queue, "tikkun.echo", 1.into())).collect();
    within(PROMISED, "jobs on eight queues to be done", async || {
        place.broker.enqueue(&jobs).await.ok()?;
        for job in &jobs {
            place.broker.job(&job.id).await.ok().flatten().filter(|job| job.state == JobState::Finished)?;
        }
        Some(())
    })
    .await;
    for one in &mut fleet {
        for queue in QUEUES {
            one.says(&format!("✓ [QUEUE] Served again queue='{queue}' (recovered!)")).await;
        }
        one.says("✓ the lease is renewed (recovered!)").await;
        assert_eq!(one.restarts(), 0, "the log's end:\n{}", one.process.tail());
        one.is_ready().await;
    }
    let row = place.ground.completed(&mut fleet[0], row, &tenant).await;
    assert_eq!(row.attempt, 1, "a lease that nobody could renew is no death");
    for id in ["entry", "long"] {
        let job = place.becomes(id, JobState::Finished).await;
        assert_eq!((job.attempt, job.failures, job.orphaned), (1, 0, 0), "{job:?}");
    }
    let rescued: Vec<_> = fleet.iter().flat_map(|one| one.lines("rescued a job")).collect();
    assert!(rescued.is_empty(), "{rescued:#?}");
}

#[tokio::test]
async fn connection_that_ended_while_it_was_not_needed_is_no_outage_of_its_queue() {
    let mut place = Place::keeping().await;
    let mut service = place.service().set("TIKKUN_WORKER__SLOTS", "1").start().await;
    service.is_ready().await;
    // Its queue waits for the only slot, and for no work.
    place.enqueue(&[sleep("long", "low", 60.0)]).await;
    place.becomes("long", JobState::Started).await;
    place.redis.stop();
    place.redis.start_again();
    // Which of the others had begun to wait for work before it took the slot is a matter of moments.
    service.says("(recovered!)").await;
    // Until its process listens again it hears nothing of this.
    within(Duration::from_secs(60), "the job to be stopped", async || {
        place.broker.stop(&"long".into()).await.ok()?;
        (place.job("long").await?.state == JobState::Failed).then_some(())
    })
    .await;
    // Before one of these at the latest the queue waits for work.
    for number in 0..5 {
        let id = format!("next-{number}");
        place.enqueue(&[sleep(&id, "low", 0.0)]).await;
        place.becomes(&id, JobState::Finished).await;
    }
    let told = service.lines("wait for `low`");
    assert!(told.is_empty(), "{told:#?}");
}

#[tokio::test]
async fn server_that_takes_fewer_clients_than_there_are_queues_is_no_outage_of_any() {
    let place = Place::forgetful().await;
    // The test's own two connections.
    place.enqueue(&[plain("before", "high", "tikkun.echo", 1.into())]).await;
    place.job("before").await;
    // Four are left, and there are eight queues.
    place.redis.ask(&["CONFIG", "SET", "maxclients", "6"]);
    let mut service = place.service().start().await;
    service.is_ready().await;
    for queue in QUEUES {
        place.enqueue(&[plain(queue, queue, "tikkun.echo", 1.into())]).await;
        let job = place.becomes(queue, JobState::Finished).await;
        assert_eq!((job.attempt, job.failures), (1, 0), "{job:?}");
    }
    service.call("GET", "/readyz", &[]).expect(200);
    let told = service.lines("broker does not serve the queue");
    assert!(told.is_empty(), "{told:#?}");
}

#[tokio::test]
async fn long_results_and_payloads_pass_though_the_server_takes_no_further_client() {
    let place = Place::forgetful().await;
    let mut service = place.service().set("RQ_QUEUES", "default").start().await;
    service.is_ready().await;
    place.enqueue(&[plain("before", "default", "tikkun.echo", 1.into())]).await;
    place.becomes("before", JobState::Finished).await;
    // The one that asks leaves again.
    let clients = place.redis.ask(&["CLIENT", "LIST"]).lines().count() - 1;
    place.redis.ask(&["CONFIG", "SET", "maxclients", &clients.to_string()]);
    assert_ne!(place.redis.ask(&["PING"]), "PONG");

    // They are packed to next to nothing, but their results are not.
    let results = [200_usize << 10, 900 << 10].map(|length| "x".repeat(length));
    for text in &results {
        let id = format!("result-{}", text.len());
        place.enqueue(&[plain(&id, "default", "tikkun.echo", text.as_str().into())]).await;
    }
    let payload: String = std::iter::repeat_with(fastrand::alphanumeric).take(760_000).collect();
    place.enqueue(&[plain("payload", "default", "tikkun.echo", payload.into())]).await;
    place.enqueue(&[plain("behind", "default", "tikkun.echo", 1.into())]).await;
    for id in ["result-204800", "result-921600", "payload", "behind"] {
        let job = place.becomes(id, JobState::Finished).await;
        assert_eq!((job.attempt, job.failures), (1, 0), "{id}: {:?}", job.error);
    }
    let told = service.lines("broker does not serve the queue");
    assert!(told.is_empty(), "{told:#?}");
}

/// A password is set on the running server: those who are connected go on, and nobody else may do anything.
#[tokio::test]
async fn jobs_pass_over_connections_that_are_there_though_the_server_refuses_new_ones() {
    let place = Place::forgetful().await;
    let mut service = place.service().set("RQ_QUEUES", "default").start().await;
    service.is_ready().await;
    place.enqueue(&[plain("before", "default", "tikkun.echo", 1.into())]).await;
    place.becomes("before", JobState::Finished).await;
    place.redis.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    assert!(place.redis.ask(&["PING"]).contains("NOAUTH"));
    // They are packed to next to nothing, but their results are not.
    let results = [200_usize << 10, 900 << 10].map(|length| "x".repeat(length));
    for text in &results {
        let id = format!("result-{}", text.len());
        place.enqueue(&[plain(&id, "default", "tikkun.echo", text.as_str().into())]).await;
    }
    let payload: String = std::iter::repeat_with(fastrand::alphanumeric).take(760_000).collect();
    place.enqueue(&[plain("payload", "default", "tikkun.echo", payload.into())]).await;
    for id in ["result-204800", "result-921600", "payload"] {
        let job = place.becomes(id, JobState::Finished).await;
        assert_eq!((job.attempt, job.failures), (1, 0), "{id}: {:?}", job.error);
    }
    let knows = ["-a", "secret", "--no-auth-warning"];
    let clients = place.redis.ask(&[&knows[..], &["CLIENT", "LIST"]].concat());
    // Its queue has to wait over another connection.
    for waiting in clients.lines().filter(|line| line.contains("cmd=blmove")) {
        let id = waiting.split_whitespace().next().and_then(|id| id.strip_prefix("id=")).unwrap();
        assert_eq!(place.redis.ask(&[&knows[..], &["CLIENT", "KILL", "ID", id]].concat()), "1");
    }
    place.enqueue(&[plain("behind", "default", "tikkun.echo", 1.into())]).await;
    place.becomes("behind", JobState::Finished).await;
    let told = service.lines("broker does not serve the queue");
    assert!(told.is_empty(), "{told:#?}");
}

#[tokio::test]
async fn service_that_starts_before_redis_waits_for_it_and_says_so() {
    let mut place = Place::forgetful().await;
    place.redis.stop();
    let mut service = place.service().start().await;
    // Without a lease no listener looks into its queue.
    service.says("the lease cannot be renewed now; trying again").await;
    service.call("GET", "/healthz", &[]).expect(200);
    for probe in ["/readyz", "/startupz"] {
        let answer = service.call("GET", probe, &[]).expect(503).json();
        assert_eq!(answer["status"], "starting", "{answer}");
        assert!(
            answer["why"].as_str().unwrap().contains("the queue has not granted the first lease"),
            "{answer}"
        );
    }
    place.redis.start_again();
    place.redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    service.is_ready().await;
    service.says("the lease is renewed (recovered!)").await;
    place.enqueue(&[plain("first", "high", "tikkun.echo", 1.into())]).await;
    place.becomes("first", JobState::Finished).await;
    assert_eq!(service.restarts(), 0);
    service.says("Redis writes nothing to its disk").await;
}

#[tokio::test]
async fn redis_that_may_drop_jobs_is_named_at_the_start() {
    let place = Place::forgetful().await;
    place.redis.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let mut service = place.service().start().await;
    let told = service.says("maxmemory-policy allkeys-lru").await;
    assert!(told.contains("WARN") && told.contains("noeviction"), "{told}");
    let evicts = Risk::Evicts { policy: "allkeys-lru".to_owned() };
    assert_eq!(place.broker.risks(&[]).await.unwrap(), [evicts, Risk::Forgets]);
    let careful = Place::keeping().await;
    assert_eq!(careful.broker.risks(&[]).await.unwrap(), []);
}
