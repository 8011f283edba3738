//! Beyond the checklist: jobs whose function is in Python alone, and which the service passes on to a Python worker.

use serde_json::{Value, json};

use crate::claims::Claim;
use crate::ground::{Place, RUNTIME};
use crate::leftovers::worker;
use crate::python::{ALL, Version};

pub const CLAIMS: &[Claim] =
    &[("a_job_is_passed_on_as_it_was_although_its_arguments_cannot_be_read", ALL, passed_on)];

/// Of a function that the service does not have while its own for testing are off: an object, arguments that are too long
/// as they are stored and too long expanded, too many values, the method of an object, and JSON that is too long.
const CALLS: [&str; 6] = [
    "--func tikkun.sleep --arg 0 --eval=__import__('fractions').Fraction(1,2)",
    "--func tikkun.sleep --arg 0 --eval=__import__('os').urandom(2<<20)",
    "--func tikkun.sleep --arg 0 --eval='x'*(17<<20)",
    "--func tikkun.sleep --arg 0 --eval=[0]*600000",
    "--func limit_denominator --method-of=__import__('fractions').Fraction(1,2)",
    "--serializer json --func tikkun.sleep --arg 0 --eval=__import__('os').urandom(2<<20).hex()",
];

/// The job's data, as a sum.
fn data(place: &Place, id: &str) -> Value {
    let code = "return redis.sha1hex(redis.call('HGET', KEYS[1], 'data'))";
    let (status, sum) = place.ask_words(["raw", "--", "EVAL", code, "1", &format!("rq:job:{id}")]);
    assert_eq!(status, 0, "{sum}");
    sum
}

fn passed_on(version: Version) {
    let place = Place::new(version);
    let field = |id: &str, name: &str| place.raw(&format!("HGET rq:job:{id} {name}"));
    let jobs = CALLS.map(|call| place.enqueue(&format!("{call} --retry 2")));
    let before = jobs.each_ref().map(|id| data(&place, id));
    // Of what has no name nobody knows whose it is.
    let garbage = place.enqueue("--func tikkun.sleep --arg 0");
    place.raw(&format!("HSET rq:job:{garbage} data garbage"));
    let start = place.start("default", 1).set("TIKKUN_DIAGNOSTICS__ENABLED", "false");
    let start = start.set("TIKKUN_WORKER__UNKNOWN_FUNCTION", "default=forward:python");
    let _service = RUNTIME.block_on(start.start());
    place.until("the garbage to fail", || (field(&garbage, "status") == "failed").then_some(()));
    for ((id, data_before), call) in jobs.iter().zip(before).zip(CALLS) {
        let origin = || {
            let (origin, status) = (field(id, "origin"), field(id, "status"));
            (origin == "python" || status == "failed").then_some((origin, status))
        };
        let found = place.until("a job to be passed on", origin);
        assert_eq!(found, (json!("python"), json!("queued")), "{call}");
        assert_eq!((data(&place, id), field(id, "retries_left")), (data_before, json!("2")), "{call}");
        assert_eq!(place.raw(&format!("XLEN rq:results:{id}")), 0, "{call}");
    }
    // The worker reads pickles.
    place.raw(&format!("LREM rq:queue:python 0 {}", jobs[5]));
    let _python = worker(&place, "python", "python");
    for (id, call) in jobs[..5].iter().zip(CALLS) {
        place.until(&format!("the end of {call}"), || (field(id, "status") == "finished").then_some(()));
    }
}
