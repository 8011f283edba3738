//! Three processes with Python jobs on one Redis are killed, frozen for longer than their lease and asked to leave at
//! random moments, and so are their Python processes, with Redis away for a while: each job ends once, as it should, and
//! nothing is left.
//!
//! `TORTURE=full` is the size for a release, with the default settings; without it the run and its leases are short.
//! `TORTURE_SEED=…` repeats the random choices of a run (not its races).

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ground::{Ground, Rq, Run, all_gone, descendants, strike};

const PROCESSES: usize = 3;
const SLOTS: &str = "4";
/// Between two strokes, in milliseconds.
const PAUSE: std::ops::Range<u64> = 100..900;
/// So many jobs come in at once, when fewer than that wait.
const SLICE: usize = 60;
const LATE: &str = "the job was taken from this process before it ended; its end is not counted";

/// The size of a run.
struct Plan {
    seed: u64,
    /// How long the fire lasts.
    fire: Duration,
    /// The most jobs that come in.
    jobs: usize,
    /// How long a frozen process stays so, and Redis is away: longer than a lease.
    freeze: Duration,
    settings: &'static [&'static str],
}

impl Plan {
    #[expect(clippy::disallowed_methods, reason = "the size of a test is no setting of the service")]
    fn from_environment() -> Self {
        let seed = env::var("TORTURE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        let (fire, jobs, freeze, settings): (_, _, _, &[&str]) =
            if env::var("TORTURE").is_ok_and(|size| size == "full") {
                (120, 10_000, 25, &[])
            } else {
                let short =
                    &["--set", "lease.ttl=3s", "--set", "lease.renew=1s", "--set", "rescuer.interval=500ms"];
                (30, 1_500, 5, short)
            };
        let [fire, freeze] = [fire, freeze].map(Duration::from_secs);
        Self { seed, fire, jobs, freeze, settings }
    }

    fn start(&self, ground: &Ground, number: usize) -> Run {
        let isolation = if number == 0 { "job" } else { "warm" };
        let usual = ["--slots", SLOTS, "--isolation", isolation, "--set", "python.jobs_per_process=20"];
        ground.run(&[&usual[..], self.settings].concat(), &ground.worker(&["high", "default"]))
    }
}

/// The jobs, each with the status that it must end with.
#[derive(Default)]
struct Load(Vec<(String, &'static str)>);

impl Load {
    /// Has more jobs come in when few wait.
    fn stock_up(&mut self, ground: &mut Ground, plan: &Plan) {
        let waits: usize = ["high", "default"]
            .iter()
            .map(|queue| number(ground, &["LLEN", &format!("rq:queue:{queue}")]))
            .sum();
        let more = if waits < SLICE { SLICE.min(plan.jobs - self.0.len()) } else { 0 };
        for place in self.0.len()..self.0.len() + more {
            let again = json!({ "retries": 1000, "timeout": 60 });
            let (queue, function, options, ending) = match place % 10 {
                0..=4 => ("default", "leave_a_mark", again, "finished"),
                5 => ("default", "needs_three_runs", again, "finished"),
                6 => ("high", "leave_a_mark", again, "finished"),
                7 => ("high", "leave_a_mark", json!({ "retries": 1000, "callbacks": true }), "finished"),
                8 => ("default", "fail_with_a_mark", json!({}), "failed"),
                _ => ("default", "crash", json!({}), "failed"),
            };
            self.0.push((ground.enqueue(queue, function, &json!([]), &options), ending));
        }
    }

    /// Each job has ended once, as it should.
    fn must_balance(&self, ground: &mut Ground, told: &str) {
        let marks = ground.redis.ask(&["LRANGE", "marks", "0", "-1"]);
        let marked: BTreeSet<_> = marks.lines().collect();
        for (id, ending) in &self.0 {
            let job = ground.look(id);
            let ends: Vec<_> = job["results"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let of = |kind: &str| ends.iter().filter(|end| **end == kind).count();
            let is_right = match *ending {
                "finished" => {
                    ends[0] == "SUCCESSFUL" && of("SUCCESSFUL") == 1 && marked.contains(id.as_str())
                }
                _ => ends == ["FAILED"],
            };
            assert!(is_right && job["status"] == *ending, "{id}: {job}; {told}");
        }
        for ending in ["finished", "failed"] {
            let listed: usize = ["high", "default"]
                .iter()
                .map(|queue| number(ground, &["ZCARD", &format!("rq:{ending}:{queue}")]))
                .sum();
            assert_eq!(listed, self.0.iter().filter(|(_, end)| *end == ending).count(), "{ending}; {told}");
        }
        for left in ["rq:wip:*", "rq:queue:*", "rq:execution*", "rq:scheduled:*", "rq:tikkun:deliveries"] {
            assert_eq!(ground.redis.ask(&["KEYS", left]), "", "{told}");
        }
        println!("{told}; {} runs with a mark for {} jobs", marks.lines().count(), self.0.len());
    }
}

fn number(ground: &Ground, words: &[&str]) -> usize {
    ground.redis.ask(words).parse().unwrap()
}

enum State {
    Alive,
    /// Until then these are stopped.
    Frozen(Instant, Vec<i32>),
    /// It was asked to leave.
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stroke {
    KillTikkun,
    KillWorker,
    KillChild,
    FreezeAll,
    FreezeTikkun,
    FreezeWorker,
    Drain,
}

use Stroke::{Drain, FreezeAll, FreezeTikkun, FreezeWorker, KillChild, KillTikkun, KillWorker};

/// Each so often as it stands here, in another order each time.
const STROKES: [Stroke; 16] = [
    KillTikkun,
    KillTikkun,
    KillTikkun,
    KillTikkun,
    KillWorker,
    KillWorker,
    KillWorker,
    KillChild,
    KillChild,
    KillChild,
    KillChild,
    FreezeAll,
    FreezeTikkun,
    FreezeWorker,
    Drain,
    Drain,
];

struct Fleet<'a> {
    plan: &'a Plan,
    chance: fastrand::Rng,
    places: Vec<(Run, State)>,
    next: Vec<Stroke>,
    /// All Python processes that were seen.
    pids: BTreeSet<i32>,
    done: BTreeMap<Stroke, usize>,
    late_ends: usize,
}

impl Fleet<'_> {
    fn strike(&mut self, ground: &Ground) {
        self.look_after(ground);
        if self.next.is_empty() {
            self.next = STROKES.to_vec();
            self.chance.shuffle(&mut self.next);
        }
        // One that starts has no worker yet, without which it would leave.
        let serves = |(run, state): &(Run, State)| matches!(state, State::Alive) && run.address().is_some();
        let alive: Vec<_> = (0..self.places.len()).filter(|place| serves(&self.places[*place])).collect();
        let (Some(place), Some(stroke)) = (self.chance.choice(alive), self.next.last().copied()) else {
            return;
        };
        let tikkun = self.places[place].0.pid();
        let python = descendants(tikkun);
        self.pids.extend(&python);
        let (worker, children) = (python.first().copied(), python.get(1..).unwrap_or_default());
        let until = Instant::now() + self.plan.freeze;
        let (signal, victims) = match stroke {
            KillTikkun => (Signal::KILL, vec![tikkun]),
            KillWorker => (Signal::KILL, worker.into_iter().collect()),
            KillChild => (Signal::KILL, self.chance.choice(children).copied().into_iter().collect()),
            FreezeAll => (Signal::STOP, [&[tikkun][..], &python].concat()),
            FreezeTikkun => (Signal::STOP, vec![tikkun]),
            FreezeWorker => (Signal::STOP, worker.into_iter().collect()),
            Drain => (Signal::TERM, vec![tikkun]),
        };
        if victims.is_empty() {
            // They are about to start.
            return;
        }
        victims.iter().for_each(|pid| strike(*pid, signal));
        self.next.pop();
        *self.done.entry(stroke).or_default() += 1;
        match stroke {
            KillTikkun => self.replace(ground, place),
            FreezeAll | FreezeTikkun | FreezeWorker => self.places[place].1 = State::Frozen(until, victims),
            Drain => self.places[place].1 = State::Leaving,
            KillWorker | KillChild => {}
        }
    }

    fn replace(&mut self, ground: &Ground, place: usize) {
        let (mut old, state) =
            std::mem::replace(&mut self.places[place], (self.plan.start(ground, place), State::Alive));
        let status = old.ended();
        assert!(matches!(state, State::Alive) || status.success(), "{status}:\n{}", old.log());
        self.late_ends += old.log().matches(LATE).count();
    }

    /// Wakes those who were frozen long enough, replaces those who have left, and lets nobody end by itself.
    fn look_after(&mut self, ground: &Ground) {
        for place in 0..self.places.len() {
            let (run, state) = &mut self.places[place];
            match state {
                State::Alive => run.assert_lives(),
                State::Frozen(until, pids) if Instant::now() >= *until => {
                    pids.iter().for_each(|pid| strike(*pid, Signal::CONT));
                    *state = State::Alive;
                }
                State::Frozen(..) => {}
                State::Leaving if run.has_ended() => self.replace(ground, place),
                State::Leaving => {}
            }
        }
    }

    /// Everybody goes on, and every place is filled.
    fn calm_down(&mut self, ground: &Ground) {
        for (_, state) in &mut self.places {
            if let State::Frozen(until, _) = state {
                *until = Instant::now();
            }
        }
        self.look_after(ground);
        for place in 0..self.places.len() {
            if matches!(self.places[place].1, State::Leaving) {
                self.replace(ground, place);
            }
        }
    }

    fn leave(&mut self) {
        for (run, _) in &self.places {
            self.pids.extend(descendants(run.pid()));
            run.signal(Signal::TERM);
        }
        for (run, _) in &mut self.places {
            assert!(run.ended().success(), "{}", run.log());
            self.late_ends += run.log().matches(LATE).count();
        }
        all_gone(&self.pids.iter().copied().collect::<Vec<_>>());
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
fn no_python_job_is_lost_however_processes_and_redis_go() {
    let plan = Plan::from_environment();
    println!("TORTURE_SEED={}", plan.seed);
    let mut ground = Ground::with_redis_that_can_go(Rq::Three);
    let mut load = Load::default();
    load.stock_up(&mut ground, &plan);
    let places = (0..PROCESSES).map(|number| (plan.start(&ground, number), State::Alive)).collect();
    let chance = fastrand::Rng::with_seed(plan.seed);
    let (next, pids, done) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
    let mut fleet = Fleet { plan: &plan, chance, places, next, pids, done, late_ends: 0 };
    let (begun, mut away) = (Instant::now(), None);
    while begun.elapsed() < plan.fire || away.is_some_and(|since: Instant| since.elapsed() < plan.freeze) {
        std::thread::sleep(Duration::from_millis(fleet.chance.u64(PAUSE)));
        fleet.strike(&ground);
        match away {
            None if begun.elapsed() > plan.fire / 3 => {
                ground.redis.stop();
                away = Some(Instant::now());
            }
            Some(since) if since.elapsed() >= plan.freeze && !ground.redis.answers() => {
                ground.redis.start_again()
            }
            _ => {}
        }
        if ground.redis.answers() {
            load.stock_up(&mut ground, &plan);
        }
    }
    if !ground.redis.answers() {
        ground.redis.start_again();
    }
    fleet.calm_down(&ground);
    for (id, ending) in &load.0 {
        ground.until(id, ending, &mut fleet.places[0].0);
    }
    fleet.leave();
    let told = format!("{:?}, {} late ends refused", fleet.done, fleet.late_ends);
    load.must_balance(&mut ground, &told);
}
