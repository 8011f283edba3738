//! Reads for users and for the reconciliation.

use serde_json::json;
use tikkun::job::{Args, JobId, JobState, Limit, NewJob};
use tikkun::queue::{Broker, Disposition, JobFilter, QueueCounts};

use super::ground::*;

async fn cancel(broker: &dyn Broker, id: &str) -> Option<JobState> {
    broker.cancel(&JobId::from(id)).await.unwrap()
}

fn named(id: &str, kind: &str) -> NewJob {
    NewJob::new(id, QUEUE, kind, Args::default())
}

pub async fn canceling_takes_out_only_what_waits(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let finished = one(&*broker, job("finished")).await;
    settle(&*broker, &finished, ack()).await;
    let failed = one(&*broker, job("failed")).await;
    settle(&*broker, &failed, Disposition::Discard { error: "no".into(), keep: Limit::Never }).await;
    one(&*broker, job("started")).await;
    broker.enqueue(&[job("queued"), NewJob { delay: Some(LONG), ..job("scheduled") }]).await.unwrap();
    for (id, state) in [
        ("queued", JobState::Canceled),
        ("scheduled", JobState::Canceled),
        ("started", JobState::Started),
        ("finished", JobState::Finished),
        ("failed", JobState::Failed),
    ] {
        assert_eq!(cancel(&*broker, id).await, Some(state), "{id}");
        assert_eq!(cancel(&*broker, id).await, Some(state), "{id}, again");
        assert_eq!(record(&*broker, id).await.state, state, "{id}");
    }
    assert_eq!(cancel(&*broker, "nobody").await, None);
    assert_eq!(fetch(&*broker, 9).await, [], "nothing waits any more");
    assert!(record(&*broker, "queued").await.ended_at.is_some());
}

pub async fn open_jobs_are_found_under_both_names(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let done = one(&*broker, named("done", "shop.jobs.clean")).await;
    settle(&*broker, &done, ack()).await;
    one(&*broker, named("running", "clean")).await;
    let later = NewJob { delay: Some(LONG), ..named("later", "shop.jobs.clean") };
    broker.enqueue(&[named("full", "shop.jobs.clean"), named("short", "clean"), later]).await.unwrap();
    broker.enqueue(&[named("stranger", "shop.jobs.cleanse"), named("else", "send")]).await.unwrap();
    let open = broker.open_jobs(&"shop.jobs.clean".into()).await.unwrap();
    let mut names: Vec<_> = open.iter().map(|job| job.id.to_string()).collect();
    names.sort();
    assert_eq!(names, ["full", "later", "running", "short"]);
}

pub async fn counts_follow_every_step(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    enqueue(&*broker, &["a", "b", "c", "d"]).await;
    let later = NewJob { delay: Some(LONG), ..job("e") };
    let elsewhere = NewJob::new("f", "other", "k", Args::default());
    broker.enqueue(&[later, elsewhere]).await.unwrap();
    enqueue(&*broker, &["a"]).await;
    let start = QueueCounts { queued: 4, scheduled: 1, ..QueueCounts::default() };
    assert_eq!(counts(&*broker).await, start);
    let lent = fetch(&*broker, 3).await;
    assert_eq!(counts(&*broker).await, QueueCounts { queued: 1, started: 3, ..start });
    settle(&*broker, &lent[0], ack()).await;
    settle(&*broker, &lent[1], Disposition::Discard { error: "no".into(), keep: Limit::Never }).await;
    settle(&*broker, &lent[2], Disposition::Rescue).await;
    cancel(&*broker, "e").await;
    let end = QueueCounts { queued: 2, finished: 1, failed: 1, canceled: 1, ..QueueCounts::default() };
    assert_eq!(counts(&*broker).await, end);
    let all = broker.counts().await.unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[&"other".into()].queued, 1);
}

pub async fn jobs_are_filtered_newest_first(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    for id in ["a", "b"] {
        let delivery = one(&*broker, named(id, "x")).await;
        settle(&*broker, &delivery, ack()).await;
    }
    one(&*broker, named("c", "x")).await;
    broker
        .enqueue(&[named("d", "x"), named("e", "y"), NewJob { delay: Some(LONG), ..named("f", "x") }])
        .await
        .unwrap();
    broker.enqueue(&[NewJob::new("g", "other", "x", Args::positional([json!(1)]))]).await.unwrap();
    let found = async |queue: Option<&str>, state: Option<JobState>, kind: Option<&str>, limit: u32| {
        let filter = JobFilter {
            queue: queue.map(Into::into),
            state,
            kind: kind.map(Into::into),
            limit,
            ..JobFilter::default()
        };
        let jobs = broker.jobs(&filter).await.unwrap();
        jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>().concat()
    };
    assert_eq!(found(None, None, None, 100).await, "gfedcba");
    assert_eq!(found(None, None, None, 3).await, "gfe");
    assert_eq!(found(Some(QUEUE), None, None, 2).await, "fe");
    assert_eq!(found(None, Some(JobState::Queued), None, 100).await, "ged");
    assert_eq!(found(Some(QUEUE), Some(JobState::Queued), Some("x"), 100).await, "d");
    assert_eq!(found(None, Some(JobState::Scheduled), None, 100).await, "f");
    assert_eq!(found(None, Some(JobState::Started), Some("x"), 100).await, "c");
    assert_eq!(found(None, Some(JobState::Finished), None, 100).await, "ba");
    assert_eq!(found(None, Some(JobState::Failed), None, 100).await, "");
    assert_eq!(found(None, Some(JobState::Canceled), None, 100).await, "");
    assert_eq!(found(None, None, Some("y"), 100).await, "e");
    let after = async |text: Option<&str>, after: &str| {
        let (text, after) = (text.map(str::to_owned), Some(after.into()));
        let jobs = broker.jobs(&JobFilter { text, after, limit: 2, ..JobFilter::default() }).await.unwrap();
        jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>().concat()
    };
    assert_eq!(after(None, "f").await, "ed");
    assert_eq!(after(Some("X"), "f").await, "dc");
    assert_eq!(after(Some("b"), "f").await, "b");
    assert_eq!(after(None, "a").await, "");
    assert_eq!(after(None, "gone").await, "");
    let complete = async |after: &str| {
        let filter = JobFilter { after: Some(after.into()), limit: 2, ..JobFilter::default() };
        broker.search(&filter).await.unwrap().complete
    };
    assert!(complete("a").await, "nothing is older than the oldest");
    assert!(!complete("gone").await, "nobody knows where a job stood that is gone");
}

pub async fn every_job_is_listed_once_however_many_there_are(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let ids: Vec<String> = (0..1800).map(|number| format!("job-{number:04}")).collect();
    let queue = |number: usize| if number.is_multiple_of(3) { "other" } else { QUEUE };
    let new = |(number, id): (usize, &String)| NewJob::new(id.as_str(), queue(number), "x", Args::default());
    let jobs: Vec<_> = ids.iter().enumerate().map(new).collect();
    for some in jobs.chunks(450) {
        broker.enqueue(some).await.unwrap();
    }
    for id in ids.iter().skip(1).step_by(5) {
        cancel(&*broker, id).await;
    }
    let pages = async |queue: Option<&str>, text: Option<&str>| {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (queue, text) = (queue.map(Into::into), text.map(str::to_owned));
            let filter = JobFilter { queue, text, after, limit: 170, ..JobFilter::default() };
            let page = broker.jobs(&filter).await.unwrap();
            let Some(last) = page.last() else { return seen };
            after = Some(last.id.clone());
            seen.extend(page.into_iter().map(|job| job.id.to_string()));
        }
    };
    let newest_first = |keep: &dyn Fn(usize) -> bool| {
        let kept = ids.iter().enumerate().rev().filter(|(number, _)| keep(*number));
        kept.map(|(_, id)| id.clone()).collect::<Vec<_>>()
    };
    assert!(pages(None, None).await == newest_first(&|_| true), "all");
    assert!(pages(Some("other"), None).await == newest_first(&|number| number % 3 == 0), "one queue");
    assert_eq!(pages(None, Some("JOB-0007")).await, ["job-0007"], "an old one, by its id");
    assert_eq!(pages(None, Some("nowhere")).await, [""; 0]);
}

pub async fn a_check_succeeds(fresh: &dyn Fresh) {
    let broker = fresh.open().await;
    broker.check().await.unwrap();
    broker.check().await.unwrap();
}
