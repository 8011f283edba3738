//! Lines 12 to 20: the data of a failed job, and its retries.

use serde_json::{Value, json};

use crate::ground::{Ground, Place, is_kept_for, last_line, registries, text};

fn failed(place: &Place, line: &str) -> Value {
    let job = place.end_of(&place.enqueue(line));
    assert_eq!(job["status"], "failed", "{job}");
    job
}

pub fn failure_is_recorded(ground: Ground) {
    let place = Place::shared(ground);
    let job = failed(place, "--func tikkun.fail --arg no-luck-today --failure-ttl 86400");
    assert!(last_line(&job).contains("no-luck-today"), "{job}");
    assert_eq!((registries(&job), &job["return_value"]), (vec!["failed".to_owned()], &Value::Null));
    let ahead = job["in_registries"]["failed"].as_f64().unwrap() - place.now();
    assert!((86_380.0..=86_402.0).contains(&ahead), "{ahead}");
}

pub fn failure_ttl(ground: Ground) {
    let place = Place::shared(ground);
    for (line, about) in [("--failure-ttl 60", 60), ("", 31_536_000)] {
        let job = failed(place, &format!("--func tikkun.fail --arg no {line}"));
        for key in ["job", "results"] {
            let ttl = &job["redis_ttl"][key];
            assert!(is_kept_for(about, ttl), "{key}: {ttl}");
        }
    }
}

pub fn retries_are_used_up(ground: Ground) {
    let place = Place::new(ground);
    let _service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.fail --arg no --retry 2");
    let job = place.becomes(&id, "failed");
    let worker = &place.workers()[0];
    assert_eq!((&worker["failed_job_count"], &job["retry"]["retries_left"]), (&json!(3), &json!(0)), "{job}");
    assert_eq!(place.raw(&format!("XLEN rq:results:{id}")), 3);
}

/// When the attempts of a job began and ended.
fn attempts(place: &Place, id: &str) -> Vec<(f64, f64)> {
    let entries = place.raw(&format!("XRANGE rq:results:{id} - +"));
    let number = |fields: &Value, name: &str| {
        let named = match fields {
            Value::Array(flat) => {
                let at = flat.iter().position(|word| word == name).unwrap_or_else(|| panic!("{flat:?}"));
                flat[at + 1].clone()
            }
            other => other[name].clone(),
        };
        text(&named).parse::<f64>().unwrap_or_else(|_| panic!("{named}"))
    };
    let entries = entries.as_array().unwrap().iter();
    let span =
        |entry: &Value| (number(&entry[1], "execution_started_at"), number(&entry[1], "execution_ended_at"));
    entries.map(span).collect()
}

pub fn retries_wait(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.fail --arg no --retry 3 --interval 2,4,6");
    let between = place.becomes(&id, "scheduled");
    assert_eq!(registries(&between), ["scheduled"]);
    place.becomes(&id, "failed");
    let spans = attempts(place, &id);
    assert_eq!(spans.len(), 4, "{spans:?}");
    for (pair, wanted) in spans.windows(2).zip([2.0, 4.0, 6.0]) {
        let gap = pair[1].0 - pair[0].1;
        assert!((wanted - 0.01..wanted + 10.0).contains(&gap), "{gap} instead of {wanted}");
    }
}

/// A panic, a timeout and a failure are alike here; this one ends well the second time because it is told to.
pub fn retry_succeeds(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.sleep --arg 12 --timeout 1 --retry 1 --interval 12");
    place.becomes(&id, "scheduled");
    // The cause is mended while it waits.
    place.raw(&format!("HSET rq:job:{id} timeout 30"));
    let job = place.end_of(&id);
    assert_eq!((&job["status"], registries(&job)), (&json!("finished"), vec!["finished".to_owned()]));
}

pub fn timeout(ground: Ground) {
    let job = failed(Place::shared(ground), "--func tikkun.sleep --arg 10 --timeout 1");
    assert!(last_line(&job).contains("exceeded maximum timeout value (1 seconds)"), "{job}");
}

pub fn unknown_function(ground: Ground) {
    let place = Place::shared(ground);
    let job = failed(place, "--func app.nobody.knows_this");
    assert!(last_line(&job).contains("app.nobody.knows_this"), "{job}");
    assert_eq!(place.end_of(&place.enqueue("--func tikkun.noop"))["status"], "finished");
}

pub fn unreadable_payload(ground: Ground) {
    let place = Place::shared(ground);
    let job = failed(place, "--func tikkun.echo --eval Stranger() --retry 0");
    assert!(text(&job["exc_info"]).contains("Stranger"), "{job}");
    // Scheduled first: its payload is spoiled before it can run.
    let id = place.enqueue("--func tikkun.echo --in 12");
    place.raw(&format!("HSET rq:job:{id} data garbage"));
    let status = place.until("the garbage to fail", || {
        let status = place.raw(&format!("HGET rq:job:{id} status"));
        (status == "failed").then_some(status)
    });
    assert_eq!((status, place.raw(&format!("HGET rq:job:{id} data"))), (json!("failed"), json!("garbage")));
    assert_eq!(place.end_of(&place.enqueue("--func tikkun.noop"))["status"], "finished");
}

pub fn requeue(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.fail --arg no");
    place.becomes(&id, "failed");
    place.ask(&format!("requeue {id}"));
    place.until("two results", || (place.raw(&format!("XLEN rq:results:{id}")) == 2).then_some(()));
    let job = place.becomes(&id, "failed");
    assert_eq!(job["results"].as_array().unwrap().len(), 2, "{job}");
}
