//! A small model of one deletion, explored in full: two processes, each of which may die, stand still or miss an answer at
//! any step, somebody who rescues what they had, and a web application that cancels.
//!
//! `MODEL_CRASHES=3` explores a larger model, `TORTURE_REPORT=1` writes its part of `TORTURE.md`.

mod replay;
mod state;

use serde_json::json;
use stateright::{Checker as _, HasDiscoveries, Model as _};

use self::state::{Check, Deletion};
use crate::lost_redis::place::size;
use crate::torture::figures::{Figures, writes_report};

/// Its heading in `TORTURE.md`.
const HEADING: &str = "A model";
const TEXT: &str = "\
One deletion of two receipts, its entry in the queue and two processes: each step of each of them, in every order, with processes
that die, stand still for longer than their lease or miss an answer anywhere, with rescues, a cancellation by the web application and
the removal of objects. The decisions about attempts are the service's own functions; what its statements and scripts decide is in the
model once more, and random paths of it are walked again on SQLite, and on PostgreSQL with Redis, which must answer as the model at each
step. With one check of the service left out the model must break.
Made by `MODEL_CRASHES=3 TORTURE_REPORT=1 cargo test --locked --features failpoints --test suite model::nothing`.
";

/// Each check, and what does not hold any more without it.
const CHECKS: [(Check, &str); 5] = [
    (Check::Fence, "no attempt writes beside the next"),
    (Check::Cancel, "what is canceled stays so"),
    (Check::Lease, "nothing is taken from who is well"),
    (Check::Settlement, "only who has the entry ends it"),
    (Check::Outbox, "no object is left that nothing knows of"),
];

#[test]
fn nothing_is_lost_twice_or_late_wherever_processes_die() {
    let crashes = u8::try_from(size("MODEL_CRASHES", 2)).unwrap();
    let checker = Deletion { without: None, crashes }.checker().spawn_bfs().join();
    let (states, steps) = (checker.unique_state_count(), checker.max_depth());
    let figures = Figures(vec![
        ("crashes", "processes that die", json!(crashes)),
        ("states", "states, all of them", json!(states)),
        ("steps", "steps of the longest path", json!(steps)),
        ("properties", "properties that hold in each", json!(checker.model().properties().len())),
        ("fence", "without the fence: steps to the first violation", json!(steps_to_break(CHECKS[0]))),
        ("cancel", "… the cancellation's compare-and-set", json!(steps_to_break(CHECKS[1]))),
        ("lease", "… renewals of leases", json!(steps_to_break(CHECKS[2]))),
        ("settlement", "… the settlement's check", json!(steps_to_break(CHECKS[3]))),
        ("outbox", "… the outbox", json!(steps_to_break(CHECKS[4]))),
    ]);
    println!("{}", figures.table());
    checker.assert_properties();
    assert!(states > 1_000_000, "{states}: the model has shrunk");
    if writes_report() {
        figures.write(HEADING, TEXT);
    }
}

/// The length of the path on which the model breaks without this check.
fn steps_to_break((check, broken): (Check, &'static str)) -> usize {
    let model = Deletion { without: Some(check), crashes: 1 };
    let checker = model.checker().finish_when(HasDiscoveries::AnyOf([broken].into())).spawn_bfs().join();
    let path = checker.discovery(broken).unwrap_or_else(|| panic!("without {check:?} nothing breaks"));
    path.into_actions().len()
}
