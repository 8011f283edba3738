//! A working folder with its data, and a service that works in it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tikkun::job::background::DELETE_RECEIPTS_ALL;
use tikkun::job::{BackgroundJobId, BusinessId};
use tikkun::store::{
    Coverage, NewRequest, Requested, Schema, Store, TrialReceipt, open_sqlite, open_sqlite_trial,
};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What the services here want to see.
pub const SECRET: &str = "a-secret-of-the-tests-of-terminals";
/// The binary.
pub const TIKKUN: &str = env!("CARGO_BIN_EXE_tikkun");

/// A working folder of its own, with its data in `data`.
pub struct WorkingFolder {
    folder: TempDir,
}

/// What a command has answered.
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Ends with this code, and says all of these on standard error.
    #[track_caller]
    pub fn refuses(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "no `{word}` in: {}", self.err);
        }
    }
}

/// A request for the deletion of all receipts of business 789.
pub fn request_of_789() -> NewRequest {
    NewRequest {
        business_id: BusinessId(789),
        user_id: Some(5),
        job_type: DELETE_RECEIPTS_ALL.to_owned(),
        queue_job: "carrier".into(),
        covers: Coverage::Everything,
    }
}

impl WorkingFolder {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With a data folder, and one job in it that nobody takes.
    pub fn with_data() -> Self {
        let folder = Self::new();
        folder.run(&["enqueue", "warm_up", "--id", "warm-up", "--queue", "nobody"]).ok();
        folder
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(TIKKUN);
        command.env_clear().env("TIKKUN_HTTP__PORT", "0").current_dir(self.path()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Answer {
        self.run_with(args, &[])
    }

    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Answer {
        let ended = self.command(args).envs(env.iter().copied()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Answer { code: ended.status.code().unwrap(), out: text(ended.stdout), err: text(ended.stderr) }
    }

    /// A background job of business 789 over `receipts` receipts, queued, its job not yet in the queue.
    pub async fn background_job(&self, receipts: i64) -> (Store, BackgroundJobId) {
        let tables = self.path().join("data/tikkun.db");
        let store = open_sqlite(&tables, Schema::Migrate).await.unwrap();
        let trial = open_sqlite_trial(&tables).await.unwrap();
        let rows: Vec<TrialReceipt> = (1..=receipts)
            .map(|id| TrialReceipt {
                id: Some(id),
                business_id: 789,
                attachment_id: None,
                preview_attachment_id: None,
                label: "t",
            })
            .collect();
        assert_eq!(trial.insert_receipts(&rows).await.unwrap(), receipts.unsigned_abs());
        match store.background_jobs.request(&request_of_789()).await.unwrap() {
            Requested::Created(job) => (store, job.id),
            other => panic!("{other:?}"),
        }
    }

    /// The same for tests that are not asynchronous.
    pub fn deletion(&self, receipts: i64) -> BackgroundJobId {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.background_job(receipts)).1
    }

    /// Waits until `jobs show` says so of a job.
    #[track_caller]
    pub fn until(&self, id: &str, good: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let job = self.run(&["jobs", "show", id, "--json"]).json();
            if good(&job) {
                return job;
            }
            assert!(Instant::now() < end, "waited in vain; {id} is {job:#}");
        }
    }

    /// Waits until a live process listens to the default queue.
    #[track_caller]
    pub fn until_listening(&self) {
        let end = Instant::now() + PATIENCE;
        let mut number = 0;
        loop {
            number += 1;
            let probe = format!("probe-{number}");
            let told = self.run(&["enqueue", "probe", "--id", &probe, "--delay", "1day"]);
            if !told.err.contains("warning") {
                return;
            }
            assert!(Instant::now() < end, "nobody listens: {}", told.err);
        }
    }

    /// Starts the service; `port` 0 takes any free one.
    pub fn serve(&self, port: u16) -> Served {
        let port = port.to_string();
        let args = [
            "serve",
            "--port",
            &port,
            "--set",
            "deletion.throttle=100ms",
            "--set",
            "http.page_interval=100ms",
        ];
        let mut command = self.command(&args);
        let mut child = command.env("INTERNAL_SECRET", SECRET).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let serves = lines.find_map(|line| line.ok().filter(|line| line.contains("tikkun serves")));
        let serves = serves.expect("the service says that it serves");
        let address = serves.split("address=\"").nth(1).unwrap().trim_end_matches('"').to_owned();
        // Somebody must go on reading, or the service blocks on a full pipe.
        let log = Some(std::thread::spawn(move || lines.map_while(Result::ok).collect()));
        Served { child, address, log }
    }
}

/// A running service.
pub struct Served {
    child: Child,
    address: String,
    log: Option<JoinHandle<Vec<String>>>,
}

impl Served {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Ends it as an orchestrator does.
    pub fn end(mut self) {
        signal(&self.child, Signal::TERM);
        let ended = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert!(ended.success(), "the service ended with {ended}:\n{}", log.join("\n"));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}
