//! The client on the real library: one process for each version, shared by concurrent tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Longer than any command may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// A version of RQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Rq1,
    Rq2,
    Rq3,
}

pub const ALL: &[Version] = &[Version::Rq1, Version::Rq2, Version::Rq3];
pub const SINCE_2: &[Version] = &[Version::Rq2, Version::Rq3];
pub const ONLY_3: &[Version] = &[Version::Rq3];

impl Version {
    pub fn number(self) -> &'static str {
        match self {
            Self::Rq1 => "1.16.2",
            Self::Rq2 => "2.12.0",
            Self::Rq3 => "3.0.0",
        }
    }

    /// A program of the version's environment.
    pub fn program(self, name: &str) -> PathBuf {
        let folder = match self {
            Self::Rq1 => "rq1",
            Self::Rq2 => "rq2",
            Self::Rq3 => "rq3",
        };
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder).join("bin").join(name);
        let there = program.is_file();
        assert!(there, "{} is missing: `tests/run` installs what the tests need", program.display());
        program
    }

    /// A worker of RQ itself, which runs each job within its own process: whoever kills it kills the job.
    pub fn worker(self, url: &str, name: &str, queue: &str) -> Child {
        Command::new(self.program("python"))
            .args(["-m", "rq.cli", "worker", "-w", "rq.worker.SimpleWorker", "-n", name, "-u", url, queue])
            .env("PYTHONPATH", script("functions"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    pub fn python(self) -> &'static Python {
        static PYTHONS: [LazyLock<Python>; 3] = [
            LazyLock::new(|| Python::start(Version::Rq1)),
            LazyLock::new(|| Python::start(Version::Rq2)),
            LazyLock::new(|| Python::start(Version::Rq3)),
        ];
        &PYTHONS[self as usize]
    }
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rq").join(name)
}

type Waiting = Arc<Mutex<HashMap<u64, Sender<Value>>>>;

/// A client that takes commands.
pub struct Python {
    stdin: Mutex<ChildStdin>,
    waiting: Waiting,
    next: AtomicU64,
    /// Ends when its standard input closes, that is with this process.
    _child: Child,
}

impl Python {
    fn start(version: Version) -> Self {
        let mut child = Command::new(version.program("python"))
            .arg(script("client.py"))
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let waiting = Waiting::default();
        let (answers, asked) = (child.stdout.take().unwrap(), Arc::clone(&waiting));
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                let answer: Value = serde_json::from_str(&line).unwrap();
                if let Some(sender) = asked.lock().remove(&answer["id"].as_u64().unwrap()) {
                    // Who asked may have lost patience, and failed by itself.
                    let _ = sender.send(answer);
                }
            }
        });
        let stdin = Mutex::new(child.stdin.take().unwrap());
        Self { stdin, waiting, next: AtomicU64::new(1), _child: child }
    }

    /// The exit status of a command, and its document.
    pub fn ask(&self, words: &[String]) -> (i64, Value) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = channel();
        self.waiting.lock().insert(id, sender);
        {
            let mut stdin = self.stdin.lock();
            writeln!(stdin, "{}", json!({ "id": id, "argv": words })).unwrap();
            stdin.flush().unwrap();
        }
        let answer = receiver.recv_timeout(PATIENCE);
        let mut answer = answer.unwrap_or_else(|_| panic!("no answer within {PATIENCE:?} to {words:?}"));
        (answer["status"].as_i64().unwrap(), answer["document"].take())
    }
}
