//! A working folder with its data, and a service that works in it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tikkun::job::background::DELETE_RECEIPTS_ALL;
use tikkun::job::{BackgroundJobId, BusinessId};
use tikkun::store::{Coverage, NewRequest, Requested, Schema, TrialReceipt, open_sqlite, open_sqlite_trial};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What the services here want to see.
pub const SECRET: &str = "a-secret-of-the-tests-of-terminals";
/// The binary.
pub const TIKKUN: &str = env!("CARGO_BIN_EXE_tikkun");

/// A working folder of its own, with its data in `data`.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With a data folder, and one job in it that nobody takes.
    pub fn with_data() -> Self {
        let desk = Self::new();
        assert!(desk.run(&["enqueue", "warm_up", "--id", "warm-up", "--queue", "nobody"]).status.success());
        desk
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(TIKKUN);
        command.env_clear().env("TIKKUN_HTTP__PORT", "0").current_dir(self.path()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(args).envs(env.iter().copied()).output().unwrap()
    }

    /// A deletion over `receipts` receipts of business 789, queued, its job not yet in the queue.
    pub fn deletion(&self, receipts: i64) -> BackgroundJobId {
        let tables = self.path().join("data/tikkun.db");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
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
            let request = NewRequest {
                business_id: BusinessId(789),
                user_id: Some(5),
                job_type: DELETE_RECEIPTS_ALL.to_owned(),
                queue_job: "carrier".into(),
                covers: Coverage::Everything,
            };
            match store.background_jobs.request(&request).await.unwrap() {
                Requested::Created(job) => job.id,
                other => panic!("{other:?}"),
            }
        })
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
