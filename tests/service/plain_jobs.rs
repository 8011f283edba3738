//! Jobs that no worker here can run fail with helpful errors.

use serde_json::json;
use tikkun::job::{Args, JobState, NewJob};

use super::ground::{Entry, FUNCTION, Ground};
use super::process::Service;

async fn failed(ground: &Ground, service: &mut Service) -> Entry {
    service
        .until("a failed job", async |_| {
            ground.entries().await.into_iter().find(|entry| entry.state == "failed")
        })
        .await
}

#[tokio::test]
async fn unknown_function_fails_and_says_which_are_known() {
    let ground = Ground::new().await;
    let mut service = ground.service().start().await;
    let job = NewJob::new("a", "default", "server.jobs.no_such_job", Args::default());
    ground.broker().await.enqueue(&[job]).await.unwrap();
    let entry = failed(&ground, &mut service).await;
    let error = entry.error.unwrap();
    assert!(error.contains("`server.jobs.no_such_job`") && error.contains(FUNCTION), "{error}");
    service.says("❌ JOB FAILED queue='default' job_id=a function=no_such_job").await;
}

#[tokio::test]
async fn unreadable_arguments_fail_and_stay_as_they_were() {
    let ground = Ground::new().await;
    let mut service = ground.service().start().await;
    let args = Args::positional([json!({ "neither": "a number" })]);
    let job = NewJob::new("a", "default", FUNCTION, args);
    ground.broker().await.enqueue(&[job]).await.unwrap();
    let entry = failed(&ground, &mut service).await;
    let error = entry.error.unwrap();
    assert!(error.contains("cannot read the arguments") && error.contains("neither"), "{error}");
    assert!(entry.args.contains("a number"), "{}", entry.args);
    assert_eq!(entry.attempt, 1);
}

#[tokio::test]
async fn undecodable_arguments_fail_and_stay_as_they_were() {
    let ground = Ground::new().await;
    let job = NewJob::new("a", "default", FUNCTION, Args::default());
    ground.broker().await.enqueue(&[job]).await.unwrap();
    let mut queue = ground.connect("queue.db").await;
    sqlx::raw_sql("update tikkun_jobs set args = '(27, pickled'").execute(&mut queue).await.unwrap();
    let mut service = ground.service().start().await;
    let entry = failed(&ground, &mut service).await;
    assert_eq!(entry.args, "(27, pickled");
    assert!(entry.error.unwrap().contains("cannot read the arguments"));
}

#[tokio::test]
async fn entry_for_a_row_that_is_not_there_fails_and_says_so() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_DELETION__ROW_WAIT", "100ms").start().await;
    ground.enqueue("a", 4711).await;
    let entry = failed(&ground, &mut service).await;
    assert!(entry.error.unwrap().contains("there is no row 4711 in background_jobs"));
}

#[tokio::test]
async fn queue_does_not_fill_up_with_what_has_ended() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 20).await;
    let start = ground.service().set("TIKKUN_DELETION__RESULT_TTL", "100ms");
    let start = start.set("TIKKUN_DELETION__ROW_WAIT", "100ms");
    let mut service = start.set("TIKKUN_DELETION__FAILURE_TTL", "100ms").start().await;
    ground.enqueue("there-is-no-such-row", 4711).await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    service.until("an empty queue", async |_| ground.entries().await.is_empty().then_some(())).await;
    let health = service.health();
    assert_eq!(health["summary"], json!({ "total_queued": 0, "total_failed": 0 }));
    assert_eq!(health["queues"]["maintenance"]["finished"], 0);
}

#[tokio::test]
async fn a_function_of_somebody_else_goes_to_their_queue_as_it_was() {
    let ground = Ground::new().await;
    let forward = ("TIKKUN_WORKER__UNKNOWN_FUNCTION", "default=forward:python");
    let mut service = ground.service().set(forward.0, forward.1).start().await;
    let retries = Some(tikkun::job::Retries { left: 2, intervals: Vec::new() });
    let theirs = NewJob { retries, ..NewJob::new("theirs", "default", "shop.jobs.theirs", Args::default()) };
    let low = NewJob::new("low", "maintenance", "shop.jobs.theirs", Args::default());
    ground.broker().await.enqueue(&[theirs, low]).await.unwrap();
    let job = async |id: &str| ground.broker().await.job(&id.into()).await.unwrap().unwrap();
    service
        .until("both jobs to be decided on", async |_| {
            let states = (job("theirs").await.queue == "python".into(), job("low").await.state);
            (states == (true, JobState::Failed)).then_some(())
        })
        .await;
    let theirs = job("theirs").await;
    assert_eq!((theirs.state, theirs.failures, theirs.retries.unwrap().left), (JobState::Queued, 0, 2));
    assert!(job("low").await.error.unwrap().contains("unknown function `shop.jobs.theirs`"));
}
