//! What a run found.

use serde_json::json;
use std::fmt::Write as _;

use super::fleet::{Fleet, Footprint};
use super::{Plan, Run};
use crate::servers::{postgres, redis};
use crate::torture::figures::{Figure, Figures, Spread, seconds};

/// Its heading in `TORTURE.md`.
pub const HEADING: &str = "On Redis, PostgreSQL and S3";
const TEXT: &str = "\
Three processes work on the three servers, each behind a line that can break, while plain jobs and deletions come in and a
web application cancels some of them. One trouble follows the other in an order that the dice choose; the next one begins
when every process is ready and healthy again. Of three processes in a row the clock of one is right, of one four minutes
ahead, and of one four minutes behind. Then everything is counted by triggers and plain SQL, by RQ's own program
and in one look at all lists of Redis. Every setting that has to do with waiting or rescue is the default.
Made by `STORM_SECONDS=600 TORTURE_REPORT=1 cargo test --locked --features failpoints --test suite storm::three` (a debug build).

| trouble | times | longest until all was well, seconds |
|---|---|---|
";

/// What stands before the figures: each trouble with its times.
pub fn text(fleet: &Fleet<'_>) -> String {
    let mut text = TEXT.to_owned();
    for (trouble, (times, longest)) in fleet.troubles.lock().iter() {
        writeln!(text, "| {trouble} | {times} | {} |", seconds(*longest)).unwrap();
    }
    text
}

/// The servers that were asked.
pub fn engines() -> Vec<Figure> {
    vec![
        ("redis", "Redis", json!(redis::version())),
        ("postgresql", "PostgreSQL", json!(postgres::version())),
    ]
}

pub fn figures(plan: &Plan, fleet: &Fleet<'_>, run: &Run) -> Figures {
    let Run { accounts, before, after, aftermath, .. } = run;
    let effect = |name: &str| accounts.effects.get(name).copied().unwrap_or_default();
    let twice: i64 = accounts.effects.values().map(|(_, twice)| twice).sum();
    let most = |footprints: &[Footprint], of: fn(&Footprint) -> u64| footprints.iter().map(of).max();
    let mib = |footprint: &Footprint| footprint.resident_kib / 1024;
    let descriptors = |footprint: &Footprint| footprint.descriptors as u64;
    let plain =
        accounts.finished + accounts.failed + accounts.wrong.len() + accounts.lost.len() + accounts.wiped;
    let mut figures = engines();
    figures.extend([
        ("seed", "seed", json!(plan.seed)),
        ("storm_seconds", "seconds of storm", json!(plan.span.as_secs())),
    ]);
    figures.extend(recoveries(fleet));
    figures.extend([
        ("actor_restarts", "actors that were restarted", json!(fleet.restarts())),
        ("plain_jobs", "plain jobs", json!(plain)),
        ("plain_finished", "… finished, as they should", json!(accounts.finished)),
        ("plain_failed", "… failed, as they should", json!(accounts.failed)),
        ("plain_wrong", "… ended in another way", json!(accounts.wrong.len())),
        ("plain_lost", "… **lost**", json!(accounts.lost.len())),
        ("plain_wiped", "… forgotten by a Redis that was emptied", json!(accounts.wiped)),
        ("astray", "jobs in no list of Redis, or in two", json!(accounts.astray.len())),
        ("redeliveries", "deliveries beyond what a job needed (at least once)", json!(accounts.redeliveries)),
        ("deletions_completed", "deletions completed", json!(accounts.deletions["completed"])),
        ("deletions_cancelled", "… cancelled by the web application", json!(accounts.deletions["cancelled"])),
        ("attempts", "… in attempts", json!(accounts.attempts)),
        ("receipts_marked", "receipts marked as deleted", json!(effect("receipt marked").0)),
        ("attachments_dropped", "attachments dropped", json!(effect("attachment dropped").0)),
        ("objects_condemned", "objects condemned", json!(effect("object condemned").0)),
        ("two_writers", "attempts of deletions in which two processes wrote", json!(accounts.two_writers)),
        ("effects_twice", "transactional effects that happened **twice**", json!(twice)),
        ("aftermath_s", "seconds from the last trouble until all was done", json!(seconds(*aftermath))),
        (
            "descriptors_before",
            "open descriptors of a process at the start, at most",
            json!(most(before, descriptors)),
        ),
        ("descriptors_after", "… at the end", json!(most(after, descriptors))),
        ("mib_before", "resident MiB of a process at the start, at most", json!(most(before, mib))),
        ("mib_after", "… at the end", json!(most(after, mib))),
    ]);
    Figures(figures)
}

/// How many troubles there were, and how soon each was over.
pub fn recoveries(fleet: &Fleet<'_>) -> [Figure; 4] {
    let times = Spread::of(&fleet.recoveries.lock());
    [
        ("troubles", "troubles", json!(times.count)),
        ("recovery_median_s", "seconds from the end of one until all was well: median", json!(times.median)),
        ("recovery_p99_s", "… 99 of 100 at most", json!(times.p99)),
        ("recovery_max_s", "… at most", json!(times.max)),
    ]
}
