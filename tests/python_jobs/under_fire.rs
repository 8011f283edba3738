//! Several processes with Python jobs, kills of all kinds and an outage of Redis: no job is lost, and nothing is left.
//!
//! `TORTURE_SEED=…` repeats the random choices of a run (not its races).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::ground::{Ground, Rq, Run, all_gone};

const JOBS: usize = 600;
const SLOTS: usize = 4;
/// How long the fire lasts.
const FIRE: Duration = Duration::from_secs(12);
/// Between two strokes, in milliseconds.
const PAUSE: std::ops::Range<u64> = 100..900;
/// How long Redis is away.
const OUTAGE: Duration = Duration::from_secs(2);

/// The processes that this one has started, of whatever depth.
fn below(pid: i32, found: &mut Vec<i32>) {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        found.push(child);
        below(child, found);
    }
}

struct Fleet {
    runs: Vec<Run>,
    /// All Python processes that were seen.
    pids: BTreeSet<i32>,
    /// What was killed, and how often.
    strokes: BTreeMap<&'static str, usize>,
}

impl Fleet {
    fn start(ground: &Ground, number: usize) -> Run {
        let isolation = if number == 0 { "job" } else { "warm" };
        let slots = SLOTS.to_string();
        let options = ["--slots", &slots, "--isolation", isolation, "--set", "python.jobs_per_process=20"];
        ground.run(&options, &ground.worker(&["default"]))
    }

    fn strike(&mut self, ground: &Ground, chance: &mut fastrand::Rng) {
        let number = chance.usize(..self.runs.len());
        let run = &mut self.runs[number];
        let mut python = Vec::new();
        below(run.pid(), &mut python);
        self.pids.extend(&python);
        let (zygote, children) =
            python.split_first().map_or((None, &[][..]), |(one, rest)| (Some(*one), rest));
        let (what, victim) = match chance.u8(..10) {
            0..3 => ("tikkun", Some(run.pid())),
            3..5 => ("zygote", zygote),
            _ => ("child", chance.choice(children).copied()),
        };
        let Some(victim) = victim.and_then(Pid::from_raw) else { return };
        // It may have ended by itself.
        let _ = kill_process(victim, Signal::KILL);
        *self.strokes.entry(what).or_default() += 1;
        if what == "tikkun" {
            run.ended();
            self.runs[number] = Self::start(ground, number);
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
fn no_python_job_is_lost_however_processes_and_redis_go() {
    let seed = std::env::var("TORTURE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("TORTURE_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut ground = Ground::with_redis_that_can_go(Rq::Three);
    let options = json!({ "retries": 1000, "timeout": 60 });
    let ids: Vec<_> =
        (0..JOBS).map(|_| ground.enqueue("default", "leave_a_mark", &json!([]), &options)).collect();
    let runs = (0..3).map(|number| Fleet::start(&ground, number)).collect();
    let mut fleet = Fleet { runs, pids: BTreeSet::new(), strokes: BTreeMap::new() };
    let (begun, mut away) = (Instant::now(), None);
    while begun.elapsed() < FIRE || away.is_some_and(|since: Instant| since.elapsed() < OUTAGE) {
        std::thread::sleep(Duration::from_millis(chance.u64(PAUSE)));
        fleet.strike(&ground, &mut chance);
        match away {
            None if begun.elapsed() > FIRE / 3 => {
                ground.redis.stop();
                away = Some(Instant::now());
            }
            Some(since) if since.elapsed() >= OUTAGE && !ground.redis.answers() => ground.redis.start_again(),
            _ => {}
        }
    }
    if !ground.redis.answers() {
        ground.redis.start_again();
    }
    for id in &ids {
        ground.until(id, "finished", &mut fleet.runs[0]);
    }
    let marks = ground.redis.ask(&["LRANGE", "marks", "0", "-1"]);
    let marked: BTreeSet<_> = marks.lines().collect();
    assert_eq!(marked.len(), JOBS, "each has run: {:?}", fleet.strokes);
    for (what, key) in
        [("ZCARD", "rq:wip:default"), ("HLEN", "rq:tikkun:deliveries"), ("ZCARD", "rq:failed:default")]
    {
        let left = format!("{key} {}", ground.redis.ask(&[what, key]));
        assert_eq!(left, format!("{key} 0"), "{:?}", fleet.strokes);
    }
    for run in &mut fleet.runs {
        let mut python = Vec::new();
        below(run.pid(), &mut python);
        fleet.pids.extend(python);
        run.signal(Signal::TERM);
    }
    for run in &mut fleet.runs {
        assert!(run.ended().success(), "{}", run.log());
    }
    all_gone(&fleet.pids.into_iter().collect::<Vec<_>>());
    println!("{:?}; {} runs for {JOBS} jobs", fleet.strokes, marks.lines().count());
}
