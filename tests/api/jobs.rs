//! Jobs: page by page, one with its attempts and its log, and what may be done with it.

use std::time::Duration;

use serde_json::{Value, json};
use tikkun::job::{Args, NewJob};

use super::calls::{KNOWN, audited, code, post};
use super::ground::Ground;
use super::process::Service;

/// A confirmation that claims to be younger than it is.
fn aged(confirm: &Value) -> String {
    let (at, seal) = confirm.as_str().unwrap().split_once('.').unwrap();
    format!("{}.{seal}", at.parse::<i64>().unwrap() + 1)
}

#[tokio::test]
async fn jobs_come_page_by_page_and_many_are_changed_only_after_a_second_look() {
    let ground = Ground::new().await;
    let service = ground.service().set("RQ_QUEUES", "maintenance").start().await;
    let job = |i: i32| NewJob::new(format!("job-{i}"), "default", "shop.greet", Args::default());
    ground.broker().await.enqueue(&(1..=7).map(job).collect::<Vec<_>>()).await.unwrap();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/jobs?queue=default&limit=3&cursor={cursor}");
        let page = service.call("GET", &path, &[KNOWN]).expect(200).json();
        seen.extend(
            page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, ["job-7", "job-6", "job-5", "job-4", "job-3", "job-2", "job-1"]);
    let found = service.call("GET", "/api/v1/jobs?search=JOB-4", &[KNOWN]).expect(200).json();
    assert_eq!(found["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(code(&service.call("GET", "/api/v1/jobs?state=lost", &[KNOWN]).expect(400)), "bad_filter");
    let wish = json!({ "action": "cancel", "queue": "default" });
    let first = post(&service, "/api/v1/jobs/bulk", &[KNOWN], &wish).expect(200).json();
    assert_eq!((first["ids"].as_array().unwrap().len(), &first["done"]), (7, &json!(false)));
    let waiting = service.call("GET", "/api/v1/jobs?state=queued", &[KNOWN]).json();
    assert_eq!(waiting["jobs"].as_array().unwrap().len(), 7, "nothing was changed by asking");
    let fewer = json!({ "action": "cancel", "ids": ["job-1"], "confirm": first["confirm"] });
    assert_eq!(code(&post(&service, "/api/v1/jobs/bulk", &[KNOWN], &fewer).expect(409)), "not_confirmed");
    let old = json!({ "action": "cancel", "ids": first["ids"], "confirm": aged(&first["confirm"]) });
    assert_eq!(code(&post(&service, "/api/v1/jobs/bulk", &[KNOWN], &old).expect(409)), "not_confirmed");
    let sure = json!({ "action": "cancel", "ids": first["ids"], "confirm": first["confirm"] });
    let done = post(&service, "/api/v1/jobs/bulk", &[KNOWN], &sure).expect(200).json();
    assert!(done["results"].as_array().unwrap().iter().all(|one| one["changed"] == true), "{done}");
    let one = service.call("GET", "/api/v1/jobs/job-1", &[KNOWN]).expect(200).json();
    assert_eq!((&one["state"], &one["timeline"][0]["event"]), (&json!("canceled"), &json!("created")));
    let again = service.call("POST", "/api/v1/jobs/job-1/retry", &[KNOWN]).expect(200).json();
    assert_eq!(again["state"], "queued");
    let twice = service.call("POST", "/api/v1/jobs/job-1/retry", &[KNOWN]).expect(409);
    assert_eq!(code(&twice), "not_retryable");
    assert_eq!(code(&service.call("GET", "/api/v1/jobs/none", &[KNOWN]).expect(404)), "job_not_found");
}

/// Looks at a job until it is as it should be.
async fn job_until(service: &mut Service, id: &str, wanted: &str, is: impl Fn(&Value) -> bool) -> Value {
    let look = async |service: &Service| {
        let job = service.call("GET", &format!("/api/v1/jobs/{id}"), &[KNOWN]).expect(200).json();
        Some(job).filter(&is)
    };
    service.until(wanted, look).await
}

#[tokio::test]
async fn a_jobs_attempts_are_told_with_their_errors() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let retries = Some(tikkun::job::Retries { left: 2, intervals: vec![Duration::from_millis(1)] });
    let failing = NewJob {
        retries,
        ..NewJob::new("f", "default", "tikkun.fail", Args::positional([json!("no luck at all")]))
    };
    ground.broker().await.enqueue(&[failing]).await.unwrap();
    let job = job_until(&mut service, "f", "its failure", |job| job["state"] == "failed").await;
    let attempts = job["attempts"].as_array().unwrap();
    assert_eq!(attempts.iter().map(|one| one["number"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
    for one in attempts {
        assert_eq!(one["outcome"], "failed", "{job}");
        assert!(one["error"].as_str().unwrap().contains("no luck at all"), "{job}");
        assert!(
            one["started_at"].is_string() && one["took_ms"].is_i64() && one["runner"].is_string(),
            "{job}"
        );
    }
}

#[tokio::test]
async fn a_running_job_stops_when_asked_and_says_so_once() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let sleep = NewJob::new("s", "default", "tikkun.sleep", Args::positional([json!(600)]));
    ground.broker().await.enqueue(&[sleep]).await.unwrap();
    job_until(&mut service, "s", "its start", |job| job["state"] == "started").await;
    assert_eq!(code(&service.call("POST", "/api/v1/jobs/none/stop", &[KNOWN]).expect(404)), "job_not_found");
    let key = ("Idempotency-Key", "stop it");
    let first = service.call("POST", "/api/v1/jobs/s/stop", &[KNOWN, key]).expect(202);
    assert_eq!(first.json()["asked"], true);
    let job = job_until(&mut service, "s", "its end", |job| job["state"] == "failed").await;
    assert_eq!((&job["stopped"], &job["attempts"][0]["outcome"]), (&json!(true), &json!("stopped")));
    let again = service.call("POST", "/api/v1/jobs/s/stop", &[KNOWN, key]).expect(202);
    assert_eq!(first.body, again.body, "it is the same change");
    let late = service.call("POST", "/api/v1/jobs/s/stop", &[KNOWN]).expect(409);
    assert_eq!(code(&late), "not_running");
    let audited = audited(&mut service, "POST /api/v1/jobs/s/stop", 3).await;
    assert!(audited.iter().any(|line| line.contains("202")), "{audited:?}");
}

#[tokio::test]
async fn a_job_that_carries_a_deletion_is_not_stopped_behind_its_back() {
    let ground = Ground::new().await;
    ground.tenant(789, 500).await;
    let service = ground.service();
    let service =
        service.set("TIKKUN_DELETION__BATCH", "10").set("TIKKUN_DELETION__THROTTLE", "200ms").start().await;
    let deletion = service.delete_all(789);
    let queue_job = || {
        let path = format!("/api/v1/deletions/{deletion}");
        let one = service.call("GET", &path, &[KNOWN]).expect(200).json();
        one["queue_job"].as_str().map(str::to_owned)
    };
    let id = queue_job().expect("the job that carries it");
    let refused = service.call("POST", &format!("/api/v1/jobs/{id}/stop"), &[KNOWN]).expect(409);
    assert_eq!(code(&refused), "carries_deletion");
}

#[tokio::test]
async fn a_job_that_carries_a_deletion_is_taken_out_and_run_again_as_a_deletion_only() {
    let ground = Ground::new().await;
    ground.tenant(789, 50).await;
    let service = ground.service().set("RQ_QUEUES", "low").start().await;
    let deletion = service.delete_all(789);
    let shown = |deletion: i64| {
        service.call("GET", &format!("/api/v1/deletions/{deletion}"), &[KNOWN]).expect(200).json()
    };
    let id = shown(deletion)["queue_job"].as_str().unwrap().to_owned();
    for action in ["cancel", "retry"] {
        let refused = service.call("POST", &format!("/api/v1/jobs/{id}/{action}"), &[KNOWN]).expect(409);
        assert_eq!(code(&refused), "carries_deletion", "{action}");
    }
    for wish in [json!({ "action": "cancel" }), json!({ "action": "cancel", "ids": [id] })] {
        let meant = post(&service, "/api/v1/jobs/bulk", &[KNOWN], &wish).expect(200).json();
        assert_eq!(meant["ids"], json!([]), "{wish}");
    }
    assert_eq!(shown(deletion)["status"], "queued");
    service.call("POST", &format!("/api/v1/deletions/{deletion}/cancel"), &[KNOWN]).expect(200);
    let refused = service.call("POST", &format!("/api/v1/jobs/{id}/retry"), &[KNOWN]).expect(409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("retry the deletion"), "{refused:?}");
}

#[tokio::test]
async fn a_jobs_log_lines_are_told_and_whose_they_are() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let failing =
        NewJob::new("f", "default", "tikkun.fail", Args::positional([json!("no luck"), json!(true)]));
    let other = NewJob::new("g", "default", "tikkun.noop", Args::default());
    ground.broker().await.enqueue(&[failing, other]).await.unwrap();
    job_until(&mut service, "f", "its failure", |job| job["state"] == "failed").await;
    let log = service.call("GET", "/api/v1/jobs/f/log", &[KNOWN]).expect(200).json();
    let lines: Vec<&str> =
        log["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert!(lines.iter().any(|line| line.contains("JOB PICKED") && line.contains("job_id=f")), "{log}");
    assert!(lines.iter().any(|line| line.contains("no luck")), "{log}");
    assert!(!lines.iter().any(|line| line.contains("job_id=g")), "{log}");
    assert!(log["lines"].as_array().unwrap().iter().any(|line| line["level"] == "ERROR"), "{log}");
    assert!(log["about"].as_str().unwrap().contains("this process") && log["since"].is_string(), "{log}");
    let nothing = service.call("GET", "/api/v1/jobs/none/log", &[KNOWN]).expect(200).json();
    assert_eq!((&nothing["lines"], &nothing["dropped"]), (&json!([]), &json!(0)));
}
