//! Beyond the checklist: what RQ's own maintenance gives up, and what a dead worker of its leaves listed.

use libtest_mimic::Trial;
use serde_json::json;

use crate::ground::{Place, registries, text};
use crate::leftovers::worker;
use crate::python::{SINCE_2, Version};

type Claim = (&'static str, &'static [Version], fn(Version));

const CLAIMS: &[Claim] = &[
    ("a_run_beside_a_dead_workers_execution_decides_where_its_job_stands", SINCE_2, dead_execution),
    ("a_run_that_rqs_maintenance_gave_up_too_early_counts_all_the_same", SINCE_2, given_up),
];

pub fn trials() -> Vec<Trial> {
    let trial = |&(name, _, check): &Claim, version: Version| {
        let name = format!("{name}::rq_{}", version.number().replace('.', "_"));
        Trial::test(name, move || {
            check(version);
            Ok(())
        })
    };
    CLAIMS.iter().flat_map(|claim| claim.1.iter().map(move |version| trial(claim, *version))).collect()
}

/// What happens by itself while nobody renews what says that the job runs.
fn forgotten(place: &Place) {
    let member = text(&place.raw("ZRANGE rq:wip:default 0 0")[0]);
    place.raw(&format!("ZADD rq:wip:default 1000 {member}"));
    place.raw(&format!("DEL rq:execution:{member}"));
}

fn dead_execution(version: Version) {
    let place = Place::new(version);
    let service = place.serve("default", 1);
    place.enqueue("--job-id sync --func tikkun.noop --result-ttl 600");
    place.becomes("sync", "finished");
    drop(service);
    let python = worker(&place, "python", "default");
    place.enqueue("--job-id sync --func tikkun.sleep --arg 500 --timeout 600 --result-ttl 600");
    place.becomes("sync", "started");
    drop(python);
    forgotten(&place);
    place.ask("registries --cleanup");
    assert_eq!(place.job("sync")["status"], "failed");
    assert_eq!(place.raw("ZCARD rq:executions:sync"), json!(1));
    place.enqueue("--job-id sync --func tikkun.noop --result-ttl 600");
    let _service = place.serve("default", 1);
    let job = place.becomes("sync", "finished");
    assert_eq!(registries(&job), ["finished"], "{job}");
    assert!(job["redis_ttl"]["job"].as_i64().unwrap() > 0, "{job}");
}

fn given_up(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    place.enqueue("--job-id sync --func tikkun.sleep --arg 8 --timeout 60");
    place.enqueue("--job-id child --func tikkun.noop --depends-on sync");
    place.becomes("sync", "started");
    forgotten(&place);
    place.ask("registries --cleanup");
    assert_eq!(place.job("sync")["status"], "failed");
    let job = place.becomes("sync", "finished");
    assert_eq!(registries(&job), ["finished"], "{job}");
    place.becomes("child", "finished");
}
