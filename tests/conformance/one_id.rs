//! Beyond the checklist: an id that is enqueued several times, as by applications with fixed ids.

use serde_json::json;

use crate::claims::Claim;
use crate::ground::{Place, RUNTIME, registries, text};
use crate::leftovers::worker;
use crate::python::{ALL, ONLY_3, SINCE_2, Version};

pub const CLAIMS: &[Claim] = &[
    ("of_two_runs_of_one_id_the_one_that_is_named_is_stopped", ALL, stop_job),
    ("of_two_runs_of_one_id_the_execution_that_is_named_is_stopped", ONLY_3, stop_execution),
    ("what_failed_in_python_and_is_put_in_again_is_listed_by_its_last_end_alone", ALL, failed_in_python),
    ("what_was_canceled_and_is_put_in_again_is_listed_by_its_last_end_alone", ALL, canceled_before),
    ("what_ended_and_is_put_in_again_outlives_its_earlier_end", ALL, ended_before),
    ("what_is_put_in_again_without_a_ttl_outlives_its_earlier_end", ALL, ended_before_with_a_ttl),
    ("what_is_scheduled_runs_when_it_is_due_though_a_run_of_its_id_has_ended", ALL, scheduled_before),
    ("dependent_runs_after_its_dependency_though_an_earlier_entry_ran_before_it", ALL, chain_of_two_nights),
    ("what_was_popped_and_never_begun_runs_though_an_earlier_run_has_ended", ALL, popped_beside_a_run),
    ("what_was_canceled_after_its_failure_and_is_put_in_again_outlives_that", ALL, canceled_after_a_failure),
    ("what_is_requeued_outlives_its_failure_while_it_waits", ALL, requeued),
    ("dependents_run_though_the_run_after_a_requeue_outlasts_the_failure_before", ALL, outlasted),
    ("what_is_put_in_twice_under_a_rate_limit_runs_twice", ONLY_3, twice_under_a_limit),
    ("a_returned_retry_of_last_night_does_not_count", SINCE_2, retries_of_last_night),
];

/// Stops the newer of two runs; the older one decides at its end.
fn stop_newer(version: Version, stop: impl Fn(&Place)) {
    let place = Place::new(version);
    let _service = place.serve("default", 2);
    place.enqueue("--job-id sync --func tikkun.sleep --arg 8 --timeout 60");
    place.becomes("sync", "started");
    place.enqueue("--job-id sync --func tikkun.sleep --arg 50 --timeout 60");
    let runs = |count: i64| (place.raw("ZCARD rq:executions:sync") == json!(count)).then_some(());
    place.until("the second run", || runs(2));
    place.becomes("sync", "started");
    stop(&place);
    place.until("the end of the second run", || runs(1));
    assert_eq!(place.job("sync")["status"], "started");
    let job = place.end_of("sync");
    assert_eq!(
        (&job["status"], registries(&job)),
        (&json!("finished"), vec!["finished".to_owned()]),
        "{job}"
    );
}

fn stop_job(version: Version) {
    stop_newer(version, |place| {
        place.ask("stop-job sync");
    });
}

fn stop_execution(version: Version) {
    stop_newer(version, |place| {
        let worker = text(&place.job("sync")["worker_name"]);
        let of = |execution: &String| place.raw(&format!("HGET rq:execution:sync:{execution} worker_name"));
        let all = place.raw("ZRANGE rq:executions:sync 0 -1");
        let mut all = all.as_array().unwrap().iter().map(text);
        let execution = all.find(|execution| text(&of(execution)) == worker).unwrap();
        place.ask(&format!("stop-execution sync {execution}"));
    });
}

/// Ends well here, whatever has become of it before.
fn ends_well_again(place: &Place) {
    let _service = place.serve("default", 1);
    place.enqueue("--job-id sync --func tikkun.noop");
    let job = place.becomes("sync", "finished");
    assert_eq!(registries(&job), ["finished"], "{job}");
}

fn failed_in_python(version: Version) {
    let place = Place::new(version);
    let python = worker(&place, "first", "default");
    place.enqueue("--job-id sync --func app.no_such_function");
    place.becomes("sync", "failed");
    drop(python);
    ends_well_again(&place);
}

fn canceled_before(version: Version) {
    let place = Place::new(version);
    place.enqueue("--job-id sync --func tikkun.noop");
    place.ask("cancel sync");
    ends_well_again(&place);
}

fn ended_before(version: Version) {
    outlives_its_earlier_end(version, "");
}

fn ended_before_with_a_ttl(version: Version) {
    outlives_its_earlier_end(version, " --ttl 300");
}

/// `option` is of the first enqueueing alone; RQ's clients leave its field on the job.
fn outlives_its_earlier_end(version: Version, option: &str) {
    let place = Place::new(version);
    // Nor is a scheduler needed for that.
    let start = place.start("default", 1).set("TIKKUN_SCHEDULER__ENABLED", "false");
    let _service = RUNTIME.block_on(start.start());
    for end in ["noop", "fail --arg no"] {
        let line = format!("--job-id sync --func tikkun.{end} --result-ttl 4 --failure-ttl 4");
        place.enqueue(&format!("{line}{option}"));
        place.end_of("sync");
        let blocker = place.enqueue("--func tikkun.sleep --arg 12 --timeout 60");
        place.enqueue(&line);
        place.end_of(&blocker);
        // Its hash would be gone by now.
        place.end_of("sync");
    }
    place.until("the registries to be empty", || {
        let left = ["finished", "failed"].map(|kind| place.raw(&format!("ZSCORE rq:{kind}:default sync")));
        left.iter().all(|score| score.is_null()).then_some(())
    });
    assert_eq!(place.try_ask("job sync").0, 1);
}

fn popped_beside_a_run(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    place.enqueue("--job-id sync --func tikkun.sleep --arg 4");
    place.becomes("sync", "started");
    place.enqueue("--job-id sync --func tikkun.echo --arg second");
    // As a worker does, just before it is killed.
    place.raw("LMOVE rq:queue:default rq:queue:default:intermediate LEFT RIGHT");
    place.becomes("sync", "finished");
    let seen = place.until("the id to be seen", || {
        let seen = place.raw("HGET rq:tikkun:seen:default sync");
        seen.is_string().then(|| text(&seen))
    });
    let (at, enqueued) = seen.split_once(' ').unwrap();
    let earlier = format!("{} {enqueued}", at.parse::<i64>().unwrap() - 61_000);
    place.ask_words(["raw", "--", "HSET", "rq:tikkun:seen:default", "sync", &earlier]);
    place.until("the second run", || (place.raw("XLEN rq:results:sync") == json!(2)).then_some(()));
    let job = place.becomes("sync", "finished");
    assert_eq!(registries(&job), ["finished"], "{job}");
}

fn scheduled_before(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    let line = "--job-id sync --func tikkun.sleep --arg 2 --result-ttl 0";
    place.enqueue(&format!("{line} --in 12"));
    place.enqueue(line);
    place.becomes("sync", "finished");
    place.becomes("sync", "started");
    place.until("nothing to be kept of it", || (place.try_ask("job sync").0 == 1).then_some(()));
}

fn chain_of_two_nights(version: Version) {
    let place = Place::new(version);
    place.enqueue("--job-id load --func tikkun.echo --arg first");
    place.enqueue("--job-id extract --func tikkun.noop");
    place.enqueue("--job-id load --func tikkun.echo --arg second --depends-on extract");
    let _service = place.serve("default", 1);
    place.until("the second run", || (place.raw("XLEN rq:results:load") == json!(2)).then_some(()));
    let job = place.becomes("load", "finished");
    assert_eq!(registries(&job), ["finished"], "{job}");
    assert_eq!(place.raw("EXISTS rq:job:extract:dependents"), json!(0));
}

/// Waits behind a job that takes longer than what is left of its failure, and runs.
fn runs_behind_a_long_one(place: &Place, put_in: impl Fn(&Place)) {
    let _service = place.serve("default", 1);
    place.enqueue("--job-id sync --func tikkun.fail --arg no --failure-ttl 4");
    place.becomes("sync", "failed");
    let blocker = place.enqueue("--func tikkun.sleep --arg 12 --timeout 60");
    put_in(place);
    place.end_of(&blocker);
    place.until("the second run", || (place.raw("HGET rq:job:sync x_attempt") == json!("2")).then_some(()));
}

fn canceled_after_a_failure(version: Version) {
    runs_behind_a_long_one(&Place::new(version), |place| {
        // RQ leaves what is left of the failure's time on the job, and no registry but that of canceled jobs lists it.
        place.ask("cancel sync");
        place.enqueue("--job-id sync --func tikkun.noop");
    });
}

fn requeued(version: Version) {
    runs_behind_a_long_one(&Place::new(version), |place| {
        place.ask("requeue sync");
    });
}

fn outlasted(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    place.enqueue("--job-id sync --func tikkun.sleep --arg 11 --timeout 60 --failure-ttl 3");
    place.enqueue("--job-id child --func tikkun.noop --depends-on sync");
    let worker = text(&place.becomes("sync", "started")["worker_name"]);
    place.ask(&format!("kill-horse {worker}"));
    place.becomes("sync", "failed");
    place.ask("requeue sync");
    assert_eq!(place.end_of("child")["status"], "finished");
}

fn twice_under_a_limit(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    place.enqueue("--func tikkun.sleep --arg 1.5");
    for result in ["first", "second"] {
        place.enqueue(&format!("--job-id sync --func tikkun.echo --arg {result} --rate-limit one=1"));
    }
    place.until("both runs", || (place.raw("XLEN rq:results:sync") == json!(2)).then_some(()));
    let job = place.becomes("sync", "finished");
    assert_eq!(registries(&job), ["finished"], "{job}");
    place.until("the limit to be forgotten", || (place.raw("KEYS rq:rl*") == json!([])).then_some(()));
}

fn retries_of_last_night(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    // Attempts are counted on under one id.
    for until in [3, 6, 9] {
        place.enqueue(&format!("--job-id sync --func tikkun.again --kwarg max=2 --kwarg until={until}"));
        let job = place.end_of("sync");
        assert_eq!(
            (&job["status"], &job["retry"]["number_of_retries"]),
            (&json!("finished"), &json!(2)),
            "{job}"
        );
    }
}
