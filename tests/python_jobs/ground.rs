//! An application in Python with a worker command, a client of it, and Tikkun in front of the command.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::servers::redis::Redis;
use crate::service::client::{Answer, try_call};
use crate::service::process::SECRET;

/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// An environment with a version of RQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rq {
    One,
    Two,
    Three,
}

pub const ALL: [Rq; 3] = [Rq::One, Rq::Two, Rq::Three];

impl Rq {
    pub fn program(self, name: &str) -> PathBuf {
        let folder = match self {
            Self::One => "rq1",
            Self::Two => "rq2",
            Self::Three => "rq3",
        };
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder).join("bin").join(name);
        assert!(
            program.is_file(),
            "{} is missing: `tests/run` installs what the tests need",
            program.display()
        );
        program
    }
}

fn application() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_jobs/app")
}

/// Redis, and a client of the application on it.
pub struct Ground {
    pub rq: Rq,
    pub redis: Redis,
    client: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Ground {
    pub fn new(rq: Rq) -> Self {
        Self::on(rq, Redis::start())
    }

    /// With a Redis that has its data again when it is started again.
    pub fn with_redis_that_can_go(rq: Rq) -> Self {
        Self::on(rq, Redis::start_keeping())
    }

    fn on(rq: Rq, redis: Redis) -> Self {
        let mut client = Command::new(rq.program("python"))
            .arg(application().join("client.py"))
            .arg(redis.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (asked, answers) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
        Self { rq, redis, client, asked, answers: BufReader::new(answers) }
    }

    /// Where Redis is, as RQ's command takes it.
    pub fn url(&self) -> String {
        format!("unix://{}", self.redis.socket().display())
    }

    /// The worker's command as it is today.
    pub fn worker(&self, words: &[&str]) -> Vec<String> {
        let url = self.url();
        let rq = self.rq.program("rq").display().to_string();
        [rq, "worker".into(), "--url".into(), url]
            .into_iter()
            .chain(words.iter().map(|w| (*w).into()))
            .collect()
    }

    /// The worker's command, which cannot be started while the file `broken` is there.
    pub fn breakable(&self, broken: impl AsRef<Path>, queue: &str) -> Vec<String> {
        let broken = broken.as_ref();
        let words = serde_json::to_string(&self.worker(&[queue])[1..]).unwrap();
        let code = format!(
            "import os, sys\nif os.path.exists({broken:?}): import nothing_of_this_name\n\
             from rq.cli import main\nsys.argv = ['rq'] + {words}\nmain()"
        );
        self.command(&["python", "-c", &code])
    }

    /// Tikkun in front of a command.
    pub fn run(&self, options: &[&str], command: &[String]) -> Run {
        self.run_with(options, command, &[])
    }

    /// The same with more variables.
    pub fn run_with(&self, options: &[&str], command: &[String], variables: &[(&str, &str)]) -> Run {
        let url = self.url();
        Run::start(options, command, &[&[("APP_REDIS", url.as_str())], variables].concat())
    }

    /// `tikkun serve` with this file, on this Redis.
    pub fn serve(&self, file: &str, variables: &[(&str, &str)]) -> Run {
        let url = self.url();
        let on_redis = [("APP_REDIS", url.as_str()), ("REDIS_URL", url.as_str())];
        Run::serve(file, &[&on_redis[..], variables].concat())
    }

    /// A command whose program is one of this RQ's environment.
    pub fn command(&self, words: &[&str]) -> Vec<String> {
        let program = self.rq.program(words[0]).display().to_string();
        [program].into_iter().chain(words[1..].iter().map(|word| (*word).to_owned())).collect()
    }

    /// A file of the application.
    pub fn file(&self, name: &str) -> String {
        application().join(name).display().to_string()
    }

    /// Names of the workers that RQ's readers see.
    pub fn workers(&mut self) -> Value {
        self.ask(&json!({ "do": "workers" }))
    }

    /// Waits until this is so.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
    pub fn wait(&mut self, what: &str, run: &mut Run, is_so: impl Fn(&mut Self, &Run) -> bool) {
        let began = Instant::now();
        while !is_so(self, run) {
            run.assert_lives();
            assert!(began.elapsed() < DEADLINE, "waited in vain for {what}\n{}", run.log());
            std::thread::sleep(LOOK);
        }
    }

    fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.asked, "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: `{line}` to {command}"));
        assert!(answer["error"].is_null(), "{command}: {answer}");
        answer["answer"].clone()
    }

    /// Enqueues a call; `options` go to `enqueue_call`.
    pub fn enqueue(&mut self, queue: &str, function: &str, args: &Value, options: &Value) -> String {
        let mut command = json!({ "do": "enqueue", "queue": queue, "function": function, "args": args });
        let object = command.as_object_mut().unwrap();
        object.extend(options.as_object().cloned().unwrap_or_default());
        self.ask(&command).as_str().unwrap().to_owned()
    }

    pub fn look(&mut self, id: &str) -> Value {
        self.ask(&json!({ "do": "look", "id": id }))
    }

    /// The same for a job that is read with this serializer.
    pub fn look_with(&mut self, id: &str, serializer: &str) -> Value {
        self.ask(&json!({ "do": "look", "id": id, "serializer": serializer }))
    }

    /// The job once it has ended well.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
    pub fn wait_for_end(&mut self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            let job = self.look(id);
            if job["status"] == "finished" {
                return job;
            }
            assert!(began.elapsed() < DEADLINE, "it does not end: {job}");
            std::thread::sleep(LOOK);
        }
    }

    /// Time between two looks.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
    pub fn pause(&self) {
        std::thread::sleep(LOOK);
    }

    pub fn stop(&mut self, id: &str) {
        self.ask(&json!({ "do": "stop", "id": id }));
    }

    /// The job once it has this status.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
    pub fn until(&mut self, id: &str, status: &str, run: &mut Run) -> Value {
        let began = Instant::now();
        loop {
            let job = self.look(id);
            if job["status"] == status {
                return job;
            }
            run.assert_lives();
            assert!(began.elapsed() < DEADLINE, "waited in vain for `{status}`: {job}\n{}", run.log());
            std::thread::sleep(LOOK);
        }
    }

    /// The job at its good end, and what it returned.
    pub fn result(&mut self, id: &str, run: &mut Run) -> String {
        self.until(id, "finished", run)["result"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// `tikkun run` or `tikkun serve` at work. Killed when dropped.
pub struct Run {
    process: Child,
    stdout: tempfile::NamedTempFile,
    stderr: tempfile::NamedTempFile,
    /// With the file and the data of `tikkun serve`.
    _folder: Option<tempfile::TempDir>,
}

impl Run {
    pub fn start(options: &[&str], command: &[String], variables: &[(&str, &str)]) -> Self {
        // The application's own, which mean something else there.
        let of_application = [
            ("DATABASE_URL", "the application's"),
            ("REDIS_URL", "redis://nowhere.invalid:1/0"),
            ("RQ_QUEUES", ""),
        ];
        let words: Vec<_> = ["run", "--port", "0"].into_iter().chain(options.iter().copied()).collect();
        let command = command.iter().map(String::as_str);
        let words: Vec<_> = words.into_iter().chain(["--"]).chain(command).collect();
        Self::spawn(&words, &[&of_application[..], variables].concat(), None)
    }

    fn serve(file: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tikkun.toml");
        std::fs::write(&config, file).unwrap();
        let data = folder.path().join("data").display().to_string();
        let config = config.display().to_string();
        let words = ["serve", "--port", "0", "--config", &config, "--data", &data];
        Self::spawn(&words, variables, Some(folder))
    }

    fn spawn(words: &[&str], variables: &[(&str, &str)], folder: Option<tempfile::TempDir>) -> Self {
        let [stdout, stderr] = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
        let output = |file: &tempfile::NamedTempFile| Stdio::from(file.as_file().try_clone().unwrap());
        // Whoever runs the tests under `nohup` has had hangups ignored.
        let process = Command::new("env")
            .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_tikkun")])
            .args(words)
            .current_dir(application())
            .env("PYTHONPATH", application())
            .env("TIKKUN_WORKER__FETCH_PATIENCE", "1s")
            .env("INTERNAL_SECRET", SECRET)
            .envs(variables.iter().copied())
            .stdout(output(&stdout))
            .stderr(output(&stderr))
            .spawn()
            .unwrap();
        Self { process, stdout, stderr, _folder: folder }
    }

    /// All that was written.
    pub fn log(&self) -> String {
        self.stdout() + &self.stderr()
    }

    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Where the server is, once it has said so.
    pub fn address(&self) -> Option<SocketAddr> {
        let log = self.log();
        let after = log.split_once("tikkun serves").and_then(|(_, rest)| rest.split_once("address=\""));
        after.and_then(|(_, rest)| rest.split('"').next()?.parse().ok())
    }

    /// The answer to a GET, once the server is there.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
    pub fn get(&mut self, path: &str) -> Answer {
        let began = Instant::now();
        loop {
            let headers = [("X-Internal-Secret", SECRET)];
            if let Some(answer) = self.address().and_then(|address| try_call(address, "GET", path, &headers))
            {
                return answer;
            }
            self.assert_lives();
            assert!(began.elapsed() < DEADLINE, "nobody answers {path}:\n{}", self.log());
            std::thread::sleep(LOOK);
        }
    }

    /// The answer to a GET once it is as expected.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
    pub fn get_until(&mut self, path: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
        let began = Instant::now();
        loop {
            let answer = self.get(path);
            if is_so(&answer) {
                return answer;
            }
            assert!(began.elapsed() < DEADLINE, "{path} stays {answer:?}\n{}", self.log());
            std::thread::sleep(LOOK);
        }
    }

    pub fn assert_lives(&mut self) {
        if let Some(status) = self.process.try_wait().unwrap() {
            panic!("tikkun ended with {status}:\n{}", self.log());
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// It ends with code 2 and says this, with one hint.
    pub fn refuses(mut self, expected: &[&str]) {
        assert_eq!(self.ended().code(), Some(2), "{}", self.log());
        let said = self.stderr();
        for words in expected {
            assert!(said.contains(words), "`{words}` is not in:\n{said}");
        }
        assert_eq!(said.matches("  try: ").count(), 1, "{said}");
    }

    pub fn pid(&self) -> i32 {
        Pid::from_child(&self.process).as_raw_pid()
    }

    /// Its exit status, once it has ended.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
    pub fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < DEADLINE, "it does not end:\n{}", self.log());
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(file: &tempfile::NamedTempFile) -> String {
    let mut text = String::new();
    file.reopen().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// The processes that this one has started, of whatever depth: the worker's process first.
pub fn descendants(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    children.flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

/// Sends a signal to a process, which may have ended by itself.
pub fn strike(pid: i32, signal: Signal) {
    let _ = Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok());
}

/// Whether a process is there.
pub fn lives(pid: i32) -> bool {
    // One that has ended and is not waited for is no process any more.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_dead = state.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'));
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok()) && !is_dead
}

/// Waits until none of these processes is there.
pub fn all_gone(pids: &[i32]) {
    gone_within(DEADLINE, pids);
}

/// The same, no longer than this.
#[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
pub fn gone_within(deadline: Duration, pids: &[i32]) {
    let began = Instant::now();
    while let Some(pid) = pids.iter().find(|pid| lives(**pid)) {
        assert!(began.elapsed() < deadline, "process {pid} lives on");
        std::thread::sleep(LOOK);
    }
}
