//! Job code that never yields, with the service as a child process on real files.

use crate::service::client;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tikkun::job::{Args, JobRecord, JobState, Limit, NewJob};
use tikkun::queue::{Broker, open_embedded};

const DEADLINE: Duration = Duration::from_secs(60);
const SECRET: &str = "a-secret-for-tests-that-is-long-enough";
const QUEUE: &str = "trial";
/// What `http.request_timeout` ships with.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// Longer than any test waits.
const FOR_EVER: u64 = 3600;
const WORDS: &str = "Task exceeded maximum timeout value (1 seconds)";

/// `tikkun serve`, killed when dropped.
struct Service {
    child: Child,
    address: String,
    lines: Receiver<String>,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.lines.try_iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Service {
    fn start(folder: &Path, settings: &[&str]) -> Self {
        Self::start_for(QUEUE, folder, settings)
    }

    fn start_for(queue: &str, folder: &Path, settings: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
        command.args(["serve", "--port", "0", "--queues", queue, "--data"]).arg(folder);
        let all = ["diagnostics.enabled=true", "worker.slots=2", "service.drain_timeout=1s"];
        for setting in all.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        command.env("INTERNAL_SECRET", SECRET).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut service = Self { child, address: String::new(), lines };
        service.address = service.read_address();
        service
    }

    fn read_address(&self) -> String {
        let began = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(began.elapsed());
            let line = self.lines.recv_timeout(left).expect("waited for the address of the service");
            if let Some((_, rest)) =
                line.split_once("tikkun serves").and_then(|(_, rest)| rest.split_once("address=\""))
            {
                return rest.split('"').next().unwrap().to_owned();
            }
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        get(&self.address, path).await
    }

    async fn stuck_threads(&self) -> u64 {
        self.get("/api/jobs/health").await.1["supervision"]["stuck_threads"].as_u64().unwrap()
    }

    async fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for the service to leave");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }
}

async fn get(address: &str, path: &str) -> (u16, Value) {
    let answer = try_get(address, path).await.unwrap_or_else(|| panic!("nobody answers {path}"));
    (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
}

/// None when nobody listens there any more.
async fn try_get(address: &str, path: &str) -> Option<client::Answer> {
    let (address, path) = (address.parse().unwrap(), path.to_owned());
    let ask = move || client::try_call(address, "GET", &path, &[("X-Internal-Secret", SECRET)]);
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// The queue that service and test share.
struct Queue(Arc<dyn Broker>);

impl Queue {
    async fn open(folder: &Path) -> Self {
        Self(open_embedded(folder).await.unwrap())
    }

    async fn enqueue(&self, id: &str, kind: &str, args: &[Value]) {
        self.enqueue_in(QUEUE, id, kind, args).await;
    }

    async fn enqueue_in(&self, queue: &str, id: &str, kind: &str, args: &[Value]) {
        let args = Args::positional(args.iter().cloned());
        let timeout = if kind == "tikkun.spin" { 1 } else { FOR_EVER };
        let timeout = Some(Limit::After(Duration::from_secs(timeout)));
        let job = NewJob { timeout, ..NewJob::new(id, queue, kind, args) };
        self.0.enqueue(&[job]).await.unwrap();
    }

    async fn job(&self, id: &str) -> JobRecord {
        self.0.job(&id.into()).await.unwrap().unwrap()
    }

    async fn until(&self, id: &str, wanted: &str, holds: impl Fn(&JobRecord) -> bool) -> JobRecord {
        let began = Instant::now();
        loop {
            let job = self.job(id).await;
            if holds(&job) {
                return job;
            }
            assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for {id} to be {wanted}: {job:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_state(&self, id: &str, state: JobState) -> JobRecord {
        self.until(id, state.as_str(), |job| job.state == state).await
    }

    async fn assert_failed_in_words(&self, id: &str) {
        let error = self.until_state(id, JobState::Failed).await.error.unwrap();
        assert!(error.starts_with(WORDS) && error.contains("never yielded"), "{error}");
    }
}

/// Asks a process whether it lives, over and over, each time within the deadline that it gives itself for
/// an answer, until nobody listens there any more; says how often it answered.
async fn answers_until_it_leaves(address: String) -> u32 {
    let mut answers = 0;
    loop {
        let asked = tokio::time::timeout(REQUEST_DEADLINE, try_get(&address, "/healthz")).await;
        match asked.unwrap_or_else(|_| panic!("no answer within {REQUEST_DEADLINE:?}")) {
            Some(answer) => assert_eq!(answer.status, 200, "after {answers} good answers"),
            None => return answers,
        }
        answers += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_stuck(service: &Service, wanted: u64) {
    let began = Instant::now();
    while service.stuck_threads().await != wanted {
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for {wanted} stuck threads");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Until the process has computed for a second, as it does only for a job that spins. One that is marked as started may not
/// have begun.
async fn until_it_spins(service: &Service) {
    let stat = format!("/proc/{}/stat", service.child.id());
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(&stat).unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(11).unwrap().parse().unwrap()
    };
    let (began, before) = (Instant::now(), ticks());
    while ticks() < before + 100 {
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for the job to spin");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix_rt::test]
async fn spinning_job_fails_in_rqs_words_while_everything_else_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path()).await;
    let mut service = Service::start(folder.path(), &["service.max_stuck=8"]);
    let address = service.address.clone();
    let probes = actix_rt::spawn(async move {
        loop {
            assert_eq!(get(&address, "/healthz").await.0, 200);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });

    queue.enqueue("spin", "tikkun.spin", &[]).await;
    queue.until_state("spin", JobState::Started).await;
    for n in 0..10 {
        queue.enqueue(&format!("echo-{n}"), "tikkun.echo", &[json!(n)]).await;
    }
    for n in 0..10 {
        let echo = queue.until_state(&format!("echo-{n}"), JobState::Finished).await;
        assert_eq!(echo.result, Some(json!({ "positional": [n], "named": {} })));
    }
    queue.assert_failed_in_words("spin").await;

    until_stuck(&service, 1).await;
    let (status, health) = service.get("/api/jobs/health").await;
    let hung = |child: &&Value| child["state"] == "hung" && child["supervisor"] == "runners";
    assert_eq!(
        health["supervision"]["children"].as_array().unwrap().iter().filter(hung).count(),
        1,
        "{health}"
    );
    assert_eq!((status, &health["running"]), (200, &json!([])), "nothing is in hand");
    for id in ["sleep-1", "sleep-2"] {
        queue.enqueue(id, "tikkun.sleep", &[json!(FOR_EVER)]).await;
    }
    for id in ["sleep-1", "sleep-2"] {
        queue.until_state(id, JobState::Started).await;
    }
    assert!(!probes.is_finished(), "the window did not answer all the time");
    probes.abort();
    assert!(probes.await.unwrap_err().is_cancelled());

    service.terminate();
    assert_eq!(service.ended().await.code(), Some(0));
    for id in ["sleep-1", "sleep-2"] {
        assert_eq!(queue.job(id).await.state, JobState::Queued, "the drain reached the new runner, too");
    }
}

#[actix_rt::test]
async fn process_with_too_many_lost_threads_leaves_and_another_finishes_its_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path()).await;
    // The heartbeat is far beyond the time of the test: only the abandonment can count.
    let mut service = Service::start(folder.path(), &["service.max_stuck=1", "supervision.heartbeat=1h"]);
    queue.enqueue("sleep", "tikkun.sleep", &[json!(FOR_EVER)]).await;
    queue.until_state("sleep", JobState::Started).await;
    queue.enqueue("spin", "tikkun.spin", &[]).await;
    for n in 0..5 {
        queue.enqueue(&format!("echo-{n}"), "tikkun.echo", &[json!(n)]).await;
    }
    assert_eq!(service.ended().await.code(), Some(70));
    queue.assert_failed_in_words("spin").await;

    let _other = Service::start(folder.path(), &[]);
    for n in 0..5 {
        queue.until_state(&format!("echo-{n}"), JobState::Finished).await;
    }
    queue.until("sleep", "started again", |job| job.state == JobState::Started && job.attempt == 2).await;
}

#[actix_rt::test]
async fn neighbour_on_a_lost_thread_goes_back_unharmed_and_runs_on_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path()).await;
    let service = Service::start(folder.path(), &["service.max_stuck=8", "worker.threads=1"]);
    queue.enqueue("sleep", "tikkun.sleep", &[json!(FOR_EVER)]).await;
    queue.until_state("sleep", JobState::Started).await;
    queue.enqueue("spin", "tikkun.spin", &[]).await;
    queue.assert_failed_in_words("spin").await;
    let again =
        queue.until("sleep", "started again", |job| job.state == JobState::Started && job.attempt == 2).await;
    assert_eq!((again.failures, again.orphaned), (0, 0));
    until_stuck(&service, 1).await;
}

#[actix_rt::test]
async fn spinning_job_that_ends_after_all_changes_nothing_and_its_thread_ends() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path()).await;
    let service = Service::start(folder.path(), &["service.max_stuck=8"]);
    queue.enqueue("spin", "tikkun.spin", &[json!(8)]).await;
    until_stuck(&service, 1).await;
    queue.assert_failed_in_words("spin").await;
    until_stuck(&service, 0).await;
    queue.assert_failed_in_words("spin").await;
    let (_, health) = service.get("/api/jobs/health").await;
    let runners: Vec<_> = health["supervision"]["children"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|child| child["supervisor"] == "runners")
        .map(|child| child["state"].as_str().unwrap())
        .collect();
    assert_eq!(runners, ["running", "running"]);
}

#[actix_rt::test]
async fn process_told_to_leave_does_not_wait_for_a_spinning_job() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path()).await;
    let mut service = Service::start(folder.path(), &["lease.ttl=10m"]);
    let spin =
        NewJob { timeout: Some(Limit::Never), ..NewJob::new("spin", QUEUE, "tikkun.spin", Args::default()) };
    queue.0.enqueue(&[spin]).await.unwrap();
    queue.until_state("spin", JobState::Started).await;
    until_it_spins(&service).await;
    service.terminate();
    assert_eq!(service.ended().await.code(), Some(0));
    let leases = queue.0.processes().await.unwrap();
    assert_eq!(leases.len(), 1, "nobody may run the job beside the code that still ran");
}

#[actix_rt::test]
async fn jobs_that_hold_their_threads_within_their_time_do_not_end_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path()).await;
    // Either of them holds its thread for far longer than a part of the service may be silent.
    let service = Service::start(folder.path(), &["service.max_stuck=1", "supervision.heartbeat=1s"]);
    let hour = Some(Limit::After(Duration::from_secs(FOR_EVER)));
    let spin = |id: &str| {
        let args = Args::positional([json!(5)]);
        NewJob { timeout: hour, ..NewJob::new(id, QUEUE, "tikkun.spin", args) }
    };
    queue.0.enqueue(&[spin("long-1"), spin("long-2")]).await.unwrap();
    for id in ["long-1", "long-2"] {
        queue.until_state(id, JobState::Finished).await;
    }
    assert_eq!(service.stuck_threads().await, 0);
}

#[actix_rt::test]
async fn a_persons_stop_is_heard_while_the_process_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path()).await;
    let mut service = Service::start(folder.path(), &["service.drain_timeout=50s"]);
    queue.enqueue("deaf", "tikkun.sleep", &[json!(FOR_EVER), json!(true)]).await;
    queue.until_state("deaf", JobState::Started).await;
    service.terminate();
    let began = Instant::now();
    while service.get("/readyz").await.0 != 503 {
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for the drain to begin");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    queue.0.stop(&"deaf".into()).await.unwrap();
    assert_eq!(service.ended().await.code(), Some(0));
    let job = queue.job("deaf").await;
    assert_eq!((job.state, job.stopped), (JobState::Failed, true), "{job:?}");
}

#[actix_rt::test]
async fn with_every_slot_spinning_nobody_else_misses_a_deadline_and_the_process_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(folder.path()).await;
    let short_lease = ["lease.ttl=3s", "lease.renew=1s", "rescuer.interval=500ms"];
    let mut spinning =
        Service::start(folder.path(), &["service.max_stuck=2", short_lease[0], short_lease[1]]);
    let other = Service::start_for("other", folder.path(), &short_lease);
    queue.enqueue_in("other", "sleep", "tikkun.sleep", &[json!(FOR_EVER)]).await;
    queue.until_state("sleep", JobState::Started).await;

    let of_the_spinning = actix_rt::spawn(answers_until_it_leaves(spinning.address.clone()));
    let of_the_other = actix_rt::spawn(answers_until_it_leaves(other.address.clone()));
    for id in ["spin-1", "spin-2"] {
        queue.enqueue(id, "tikkun.spin", &[]).await;
        queue.until_state(id, JobState::Started).await;
    }
    for n in 0..5 {
        queue.enqueue(&format!("waits-{n}"), "tikkun.echo", &[json!(n)]).await;
    }
    let mut looks = 0;
    while !of_the_spinning.is_finished() {
        let (listed, id) = (queue.0.processes().await.unwrap().len(), format!("echo-{looks}"));
        assert!(listed == 2 || spinning.child.try_wait().unwrap().is_some() || listed == 1 && looks > 0);
        queue.enqueue_in("other", &id, "tikkun.echo", &[json!(looks)]).await;
        queue.until_state(&id, JobState::Finished).await;
        looks += 1;
    }
    assert_eq!(spinning.ended().await.code(), Some(70), "it makes room for its successor");
    assert!(of_the_spinning.await.unwrap() > 0 && looks > 0);
    let complaints: Vec<_> = spinning.lines.try_iter().filter(|line| line.contains("lease")).collect();
    assert_eq!(complaints, Vec::<String>::new(), "the control plane kept its lease");

    let _successor = Service::start(folder.path(), &[]);
    for n in 0..5 {
        queue.until_state(&format!("waits-{n}"), JobState::Finished).await;
    }
    for id in ["spin-1", "spin-2"] {
        queue.assert_failed_in_words(id).await;
    }
    let sleep = queue.job("sleep").await;
    assert_eq!(
        (sleep.state, sleep.attempt, sleep.orphaned),
        (JobState::Started, 1, 0),
        "it slept through all"
    );
    assert!(!of_the_other.is_finished(), "the other one did not answer all the time");
    of_the_other.abort();
    let complaints: Vec<_> = other.lines.try_iter().filter(|line| line.contains("lease")).collect();
    assert_eq!(complaints, Vec::<String>::new(), "the other one kept its lease");
}
