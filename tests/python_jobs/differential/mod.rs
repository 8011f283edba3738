//! The same scenarios under RQ's own worker and under Tikkun, in both isolations: what Redis holds after each is
//! compared field by field. `differences.toml` lists what may differ, each with its reason.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::ground::{ALL, Rq};
use crate::servers::redis::Redis;

/// What was run, and what differed.
fn compared(rq: Rq) -> Value {
    let systems = [Redis::start(), Redis::start(), Redis::start()];
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_jobs/differential/run.py");
    let output = Command::new(rq.program("python"))
        .arg("-B")
        .arg(program)
        .arg(env!("CARGO_BIN_EXE_tikkun"))
        .args(systems.iter().map(Redis::socket))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{rq:?}: the comparison ended with {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn redis_holds_after_a_job_what_it_holds_under_rqs_own_worker() {
    let (mut used, mut known, mut faults) = (BTreeSet::new(), 0, Vec::new());
    let reports = std::thread::scope(|threads| {
        let running = ALL.map(|rq| (rq, threads.spawn(move || compared(rq))));
        running.map(|(rq, report)| (rq, report.join().unwrap()))
    });
    for (rq, report) in reports {
        assert!(report["scenarios"].as_u64().unwrap() >= 150, "{rq:?}: {}", report["scenarios"]);
        used.extend(report["used"].as_array().unwrap().iter().filter_map(Value::as_u64));
        known = report["known"].as_u64().unwrap();
        let named = |name: &str| report[name].as_array().unwrap().clone();
        faults.extend(
            named("not run")
                .into_iter()
                .chain(named("unexplained"))
                .map(|fault| format!("{rq:?}: {fault:#}")),
        );
    }
    assert!(faults.is_empty(), "{} differences that no entry explains:\n{}", faults.len(), faults.join("\n"));
    let idle: Vec<_> = (0..known).filter(|entry| !used.contains(entry)).collect();
    assert!(idle.is_empty(), "entries {idle:?} of the list explain nothing any more");
}
