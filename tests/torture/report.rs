//! What a run found.

use std::time::Duration;

use serde_json::json;

use super::accounts::Accounts;
use super::figures::{Figures, Spread, seconds};
use super::fleet::Fleet;
use super::plan::Plan;
use super::rescues::Rescues;

/// Its heading in `TORTURE.md`.
pub const HEADING: &str = "On one data folder";
pub const TEXT: &str = "\
Processes on one data folder are killed with `kill -9`, frozen for longer than their lease and told to drain, at
random moments, while plain jobs and deletions come in; then everything is counted by triggers and plain SQL.
Made by `TORTURE=full TORTURE_REPORT=1 cargo test --locked --test suite torture::` (a debug build).
";

pub fn figures(
    plan: &Plan,
    fleet: &Fleet<'_>,
    rescues: &Rescues,
    accounts: &Accounts,
    aftermath: Duration,
) -> Figures {
    let strokes = fleet.strokes();
    let effect = |name: &str| accounts.effects.get(name).copied().unwrap_or_default();
    let twice: i64 = accounts.effects.values().map(|(_, twice)| twice).sum();
    let back = Spread::of(&rescues.back.lock());
    let deletions = Spread::of(&rescues.deletions_again.lock());
    let taken = Spread::of(&rescues.taken.lock());
    let plain = Spread::of(&rescues.plain_again.lock());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    Figures(vec![
        ("cores", "cores", json!(cores)),
        ("seed", "seed", json!(plan.seed)),
        ("processes", "processes on one folder", json!(plan.processes)),
        ("fire_seconds", "seconds under fire", json!(plan.fire.as_secs())),
        ("kills", "`kill -9`", json!(strokes.kills)),
        ("freezes", "frozen for longer than a lease", json!(strokes.freezes)),
        ("drains", "told to drain", json!(strokes.drains)),
        ("restarts", "restarts", json!(strokes.starts)),
        ("plain_jobs", "plain jobs enqueued", json!(plan.plain_jobs)),
        ("plain_finished", "… finished, as they should", json!(accounts.finished)),
        ("plain_failed", "… failed, as they should", json!(accounts.failed)),
        ("plain_wrong", "… ended in another way", json!(accounts.wrong.len())),
        ("plain_lost", "… **lost**", json!(accounts.lost.len())),
        ("deliveries", "deliveries of plain jobs", json!(accounts.deliveries)),
        ("redeliveries", "… more than a job needed (at least once)", json!(accounts.redeliveries)),
        ("late_ends", "ends refused because the job was another's by then", json!(strokes.late_ends)),
        ("deletions", "deletions completed", json!(accounts.deletions)),
        ("attempts", "… in attempts", json!(accounts.attempts)),
        ("receipts_marked", "receipts marked as deleted", json!(effect("receipt marked").0)),
        ("attachments_dropped", "attachments dropped", json!(effect("attachment dropped").0)),
        ("objects_condemned", "objects condemned", json!(effect("object condemned").0)),
        ("effects_twice", "transactional effects that happened **twice**", json!(twice)),
        ("files_left", "files left, each with its attachment", json!(accounts.files)),
        ("rescued", "jobs in hand when their process was killed", json!(back.count)),
        ("back_median_s", "seconds until one is back in its queue: median", json!(back.median)),
        ("back_max_s", "… at most", json!(back.max)),
        (
            "deletion_again_median_s",
            "seconds until a deletion runs elsewhere: median",
            json!(deletions.median),
        ),
        ("deletion_again_max_s", "… at most", json!(deletions.max)),
        ("plain_again_median_s", "… a plain job, behind all that wait: median", json!(plain.median)),
        ("plain_again_max_s", "… at most", json!(plain.max)),
        ("in_ice", "jobs in hand when their process was frozen", json!(*rescues.frozen.lock())),
        ("taken", "… taken from it, and not ended by it in the end", json!(taken.count)),
        ("taken_median_s", "seconds until then: median", json!(taken.median)),
        ("taken_max_s", "… at most", json!(taken.max)),
        ("aftermath_s", "seconds from the last stroke until all was done", json!(seconds(aftermath))),
    ])
}
