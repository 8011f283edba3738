//! Beyond the checklist: jobs that ask to be run again by what they return, as RQ's readers see them.

use serde_json::{Value, json};

use crate::claims::Claim;
use crate::ground::{Place, is_kept_for, registries, text};
use crate::python::{ALL, ONLY_3, SINCE_2, Version};

pub const CLAIMS: &[Claim] = &[
    ("a_returned_retry_runs_the_job_again_and_spends_none_of_its_own", SINCE_2, finishes),
    ("a_returned_retry_waits_for_its_interval_in_the_scheduled_registry", ALL, waits),
    ("a_returned_retry_beyond_its_maximum_fails_the_job", SINCE_2, exhausted),
    ("a_returned_retry_is_text_for_the_json_serializer", ONLY_3, as_json),
    ("dependents_that_allow_failures_run_after_a_maximum_of_retries", SINCE_2, dependents),
];

fn types(job: &Value) -> Vec<String> {
    let results = job["results"].as_array().unwrap_or_else(|| panic!("{job}"));
    results.iter().map(|one| text(&one["type"])).collect()
}

fn finishes(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    let kwargs = "--kwarg max=5 --kwarg at_front=true --kwarg until=3";
    let id = place.enqueue(&format!("--func tikkun.again {kwargs} --retry 2"));
    let job = place.becomes(&id, "finished");
    assert_eq!(types(&job), ["SUCCESSFUL", "RETRIED", "RETRIED"], "{job}");
    let retry = &job["retry"];
    assert_eq!((&retry["number_of_retries"], &retry["retries_left"]), (&json!(2), &json!(2)), "{job}");
    assert_eq!(retry["enqueue_at_front_on_retry"], true, "{job}");
    let first = &job["results"][2];
    assert_eq!(first["return_value_type"], "Retry", "{first}");
    let fields = json!({ "max": 5, "intervals": [0], "enqueue_at_front": true });
    assert_eq!(first["return_value_fields"], fields, "{first}");
    assert!(text(&first["worker_name"]).starts_with("tikkun.") && first["exc_string"].is_null(), "{first}");
    assert!(text(&first["execution_started_at"]) <= text(&first["execution_ended_at"]), "{first}");
    let worker = &place.workers()[0];
    assert_eq!((&worker["failed_job_count"], &worker["successful_job_count"]), (&json!(2), &json!(1)));
}

fn waits(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.again --kwarg max=5 --kwarg interval=[300,600]");
    let job = place.becomes(&id, "scheduled");
    assert_eq!(registries(&job), ["scheduled"], "{job}");
    let ahead = job["in_registries"]["scheduled"].as_f64().unwrap() - place.now();
    assert!((240.0..=302.0).contains(&ahead), "{ahead}");
    assert_eq!(place.raw(&format!("HGET rq:job:{id} number_of_retries")), json!("1"));
    let left = place.raw("KEYS rq:execution*");
    assert_eq!((left, place.raw("ZCARD rq:wip:default")), (json!([]), json!(0)));
}

fn exhausted(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.again --kwarg max=2 --failure-ttl 600 --retry 3");
    let job = place.becomes(&id, "failed");
    assert_eq!(types(&job), ["MAX_RETRIES_EXCEEDED", "RETRIED", "RETRIED"], "{job}");
    assert_eq!(registries(&job), ["failed"], "{job}");
    let retry = &job["retry"];
    assert_eq!((&retry["number_of_retries"], &retry["retries_left"]), (&json!(2), &json!(3)), "{job}");
    assert_eq!(job["results"][0]["return_value_fields"]["max"], 2, "{job}");
    for key in ["job", "results"] {
        assert!(is_kept_for(600, &job["redis_ttl"][key]), "{job}");
    }
    let ahead = job["in_registries"]["failed"].as_f64().unwrap() - place.now();
    assert!((580.0..=602.0).contains(&ahead), "{ahead}");
    assert_eq!(place.workers()[0]["failed_job_count"], 3);
}

fn as_json(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.again --kwarg max=1 --serializer json");
    place.becomes(&id, "failed");
    let job = place.ask(&format!("job {id} --serializer json"));
    assert_eq!(types(&job), ["MAX_RETRIES_EXCEEDED", "RETRIED"], "{job}");
    let wanted = "Retry(max=1, interval=0, enqueue_at_front=False)";
    assert_eq!(job["results"][0]["return_value"], wanted, "{job}");
}

fn dependents(version: Version) {
    let place = Place::new(version);
    place.enqueue("--job-id parent --func tikkun.again --kwarg max=1");
    place.enqueue("--job-id lenient --func tikkun.noop --depends-on parent --allow-failure");
    place.enqueue("--job-id strict --func tikkun.noop --depends-on parent");
    let _service = place.serve("default", 1);
    place.becomes("lenient", "finished");
    assert_eq!(place.job("parent")["status"], "failed");
    assert_eq!(place.job("strict")["status"], "deferred");
}
