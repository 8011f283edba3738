//! Lines 1 to 11: the data of a successful job.

use serde_json::{Value, json};

use crate::ground::{Ground, Place, RUNTIME, is_kept_for, registries, text};
use crate::python::Version;

const DELETION_LIKE: &str = "--func tikkun.echo --arg 27 --timeout 30m --result-ttl 300 --failure-ttl 86400";

fn finished(place: &Place, line: &str) -> Value {
    let job = place.end_of(&place.enqueue(line));
    assert_eq!(job["status"], "finished", "{job}");
    job
}

pub fn value_and_times(ground: Ground) {
    let job = finished(Place::shared(ground), DELETION_LIKE);
    assert_eq!(job["return_value"], json!({ "positional": [27], "named": {} }));
    assert_eq!(job["echoed"], true, "{job}");
    let times =
        ["created_at", "enqueued_at", "started_at", "ended_at"].map(|name| text(&job["timestamps"][name]));
    assert!(times.is_sorted() && !times[0].is_empty(), "{times:?}");
}

pub fn registry_and_ttl(ground: Ground) {
    let place = Place::shared(ground);
    let job = finished(place, DELETION_LIKE);
    assert_eq!(registries(&job), ["finished"]);
    let ahead = job["in_registries"]["finished"].as_f64().unwrap() - place.now();
    assert!((290.0..=302.0).contains(&ahead), "{ahead}");
    for key in ["job", "results"] {
        assert!(is_kept_for(300, &job["redis_ttl"][key]), "{job}");
    }
}

pub fn latest_result(ground: Ground) {
    let job = finished(Place::shared(ground), DELETION_LIKE);
    let latest = &job["latest_result"];
    assert_eq!(latest["type"], "SUCCESSFUL", "{job}");
    assert!(text(&job["worker_name"]).starts_with("tikkun."), "{job}");
    if ground.version != Version::Rq1 {
        assert_eq!(latest["worker_name"], job["worker_name"]);
        assert!(latest["execution_id"].as_str().is_some_and(|id| id.len() == 32), "{latest}");
        let (began, ended) = (text(&latest["execution_started_at"]), text(&latest["execution_ended_at"]));
        assert!(!began.is_empty() && began <= ended, "{latest}");
    }
}

const VALUES: &[&str] = &[
    "--arg",
    "null",
    "--arg",
    "true",
    "--arg",
    "123456789012345678901234567890",
    "--arg=-1.5e-7",
    "--arg",
    "\"קבלה ✓\"",
    "--arg",
    "[1,[2,[]]]",
    "--kwarg",
    "deep={\"a\":{\"b\":[null,false]}}",
    "--kwarg",
    "empty={}",
];

/// Enqueues a job that returns these arguments.
fn echo(place: &Place, words: &[&str]) -> String {
    let all = ["enqueue", "--func", "tikkun.echo"].into_iter().chain(words.iter().copied());
    let (status, document) = place.ask_words(all);
    assert_eq!(status, 0, "{document}");
    text(&document["id"])
}

pub fn plain_values(ground: Ground) {
    let place = Place::shared(ground);
    let job = place.end_of(&echo(place, VALUES));
    assert_eq!(job["echoed"], true, "{job}");
}

pub fn python_values(ground: Ground) {
    let words = [
        "--eval=datetime(2026,1,2,3,4,5,6)",
        "--eval=datetime(2026,1,2,tzinfo=timezone.utc)",
        "--eval=UUID('12345678123456781234567812345678')",
        "--eval=Decimal('1.10')",
        "--eval=(1,(2,),b'x')",
        "--eval=zones(datetime(2026,6,1,12,30))",
        "--eval=zones(datetime(2026,10,25,1,30))",
    ];
    let place = Place::shared(ground);
    let job = place.end_of(&echo(place, &words));
    assert_eq!(job["echoed"], true, "{}", job["return_repr"]);
}

pub fn json_serializer(ground: Ground) {
    let place = Place::new(ground);
    // The service reads both; a worker of RQ reads with the one that it was started with.
    let start = place.start_as("default", 1, &["--serializer", "rq.serializers.JSONSerializer"]);
    let _service = RUNTIME.block_on(start.start());
    let words =
        ["--serializer", "json", "--meta", "user=7"].iter().chain(VALUES).copied().collect::<Vec<_>>();
    let id = echo(&place, &words);
    let job = place.ask(&format!("wait {id} --timeout 60 --serializer json"));
    assert_eq!(
        (&job["status"], &job["echoed"], &job["meta"]),
        (&json!("finished"), &json!(true), &json!({ "user": 7 }))
    );
}

pub fn nothing_returned(ground: Ground) {
    let job = finished(Place::shared(ground), "--func tikkun.noop");
    assert_eq!((&job["return_value"], &job["latest_result"]["type"]), (&Value::Null, &json!("SUCCESSFUL")));
}

/// All keys and members that speak of a job.
pub fn traces(place: &Place, id: &str) -> Vec<Value> {
    let mut found = place.raw(&format!("KEYS *{id}*")).as_array().unwrap().clone();
    for registry in ["wip", "finished", "failed", "scheduled", "deferred", "canceled"] {
        let members = place.raw(&format!("ZRANGE rq:{registry}:default 0 -1"));
        found.extend(members.as_array().unwrap().iter().filter(|member| text(member).contains(id)).cloned());
    }
    found
}

fn successes(place: &Place) -> i64 {
    place.workers().iter().map(|worker| worker["successful_job_count"].as_i64().unwrap()).sum()
}

pub fn dropped_at_once(ground: Ground) {
    let place = Place::new(ground);
    let _service = place.serve("default", 1);
    place.end_of(&place.enqueue("--func tikkun.noop"));
    let before = successes(&place);
    let id = place.enqueue("--func tikkun.noop --result-ttl 0");
    place.until("the job to be gone", || (place.try_ask(&format!("job {id}")).0 == 1).then_some(()));
    assert_eq!(traces(&place, &id), Vec::<Value>::new());
    assert_eq!(successes(&place), before + 1);
}

pub fn kept_for_ever(ground: Ground) {
    let job = finished(Place::shared(ground), "--func tikkun.noop --result-ttl -1");
    assert_eq!((&job["redis_ttl"]["job"], &job["redis_ttl"]["results"]), (&json!(-1), &json!(-1)));
    assert_eq!(job["in_registries"], json!({ "finished": "inf" }));
}

pub fn kept_by_default(ground: Ground) {
    let job = finished(Place::shared(ground), "--func tikkun.noop");
    assert!(is_kept_for(500, &job["redis_ttl"]["job"]), "{job}");
}

pub fn blocked_client(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.sleep --arg 2");
    place.becomes(&id, "started");
    let began = place.now();
    let latest = place.ask(&format!("latest {id} --timeout 30"));
    assert_eq!(latest["type"], "SUCCESSFUL");
    assert!(place.now() - began < 25.0, "it was woken, not timed out");
}
