//! A Redis for the tests: one for each test binary, on a socket in a temporary folder and optionally on a
//! free port; it ends with the process that started it, however that ends.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tikkun::queue::RqSettings;

/// Longest wait for the server to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the server and ends it when this pipe closes, which it does when the test process is gone.
const WATCHED: &str = r#"
folder=$1 port=$2 keeps=$3
shift 3
"${REDIS_SERVER:-redis-server}" --bind 127.0.0.1 --port "$port" --databases 256 --unixsocket "$folder/redis.sock" --dir "$folder" --save '' --appendonly "$keeps" --appendfsync always --daemonize no "$@" >"$folder/log" 2>&1 &
read -r _
kill -9 $!
"#;

/// A running server.
pub struct Redis {
    folder: TempDir,
    port: u16,
    /// Whether it writes everything to its disk before it answers.
    keeps: bool,
    /// What else it is started with.
    options: &'static [&'static str],
    /// Variables of its own.
    variables: BTreeMap<&'static str, String>,
    watched: Child,
}

/// The one that the tests of this binary share; each of them works under a prefix of its own.
pub static SHARED: LazyLock<Redis> = LazyLock::new(Redis::start);

impl Redis {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        Self::start_as(&[])
    }

    /// Starts one with these options.
    pub fn start_as(options: &'static [&'static str]) -> Self {
        Self::start_on(0, options).unwrap_or_else(|log| panic!("redis-server did not start; its log:\n{log}"))
    }

    /// Starts one that has its data again when it is started again.
    pub fn start_keeping() -> Self {
        let mut redis = Self::start();
        redis.stop();
        redis.keeps = true;
        redis.start_again();
        redis
    }

    /// The same of the oldest version that is served. Its clock can be wrong, which a newer one does not bear.
    pub fn start_oldest_keeping() -> Self {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("redis62/bin/redis-server");
        let mut redis = Self::start_keeping();
        redis.stop();
        std::fs::remove_dir_all(redis.folder.path().join("appendonlydir")).unwrap();
        redis.variables.insert("REDIS_SERVER", program.display().to_string());
        redis.start_again();
        redis
    }

    /// `kill -9`, and nothing of it is left but what is on its disk.
    pub fn stop(&mut self) {
        drop(self.watched.stdin.take());
        self.watched.wait().unwrap();
    }

    /// Starts it where it was.
    pub fn start_again(&mut self) {
        self.watched = spawn(&self.folder, self.port, (self.keeps, self.options), &self.variables);
        self.wait().unwrap_or_else(|log| panic!("redis-server did not start again; its log:\n{log}"));
    }

    /// The same with these variables, until it is stopped.
    pub fn start_again_with(&mut self, variables: impl IntoIterator<Item = (&'static str, String)>) {
        let usual = self.variables.clone();
        self.variables.extend(variables);
        self.start_again();
        self.variables = usual;
    }

    /// It has to save and cannot, because a folder stands where its file belongs; so it refuses writes until it need not.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread that breaks a server")]
    pub fn cannot_save(&self) {
        // What was saved in the background meanwhile.
        let _ = std::fs::remove_file(self.snapshot());
        std::fs::create_dir(self.snapshot()).unwrap();
        self.ask(&["CONFIG", "SET", "save", "3600 1"]);
        let began = Instant::now();
        while !self.ask(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err") {
            assert!(began.elapsed() < PATIENCE, "a snapshot that fails");
            self.ask(&["BGSAVE"]);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The end of that.
    pub fn need_not_save(&self) {
        self.ask(&["CONFIG", "SET", "save", ""]);
        std::fs::remove_dir(self.snapshot()).unwrap();
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.path().join("dump.rdb")
    }

    /// A queue on it, for a process with so many slots.
    pub fn settings(&self, slots: usize) -> RqSettings {
        RqSettings {
            url: self.url().into(),
            prefix: "rq".to_owned(),
            slots,
            payload_limit: 1 << 20,
            expanded_limit: 16 << 20,
            whole_hashes: Vec::new(),
            worker_name: None,
        }
    }

    /// A command by its own client; the answer as text.
    pub fn ask(&self, words: &[&str]) -> String {
        let answer = Command::new("redis-cli").arg("-s").arg(self.socket()).args(words).output().unwrap();
        String::from_utf8(answer.stdout).unwrap().trim().to_owned()
    }

    /// Starts one that listens on a free port too; another one when somebody was quicker.
    pub fn start_with_port() -> Self {
        let port = || TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let started = (0..5).find_map(|_| Self::start_on(port(), &[]).ok());
        started.expect("one port of five that stays free")
    }

    /// The log of one that could not have its port.
    fn start_on(port: u16, options: &'static [&'static str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let variables = BTreeMap::new();
        let watched = spawn(&folder, port, (false, options), &variables);
        let redis = Self { folder, port, keeps: false, options, variables, watched };
        redis.wait()?;
        Ok(redis)
    }

    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread that starts a server")]
    fn wait(&self) -> Result<(), String> {
        let began = Instant::now();
        while !self.answers() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            if log.contains("Failed listening") {
                return Err(log);
            }
            assert!(
                began.elapsed() < PATIENCE,
                "redis-server did not answer within {PATIENCE:?}; `tests/run` installs it. Its log:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub fn answers(&self) -> bool {
        let answer = Command::new("redis-cli").arg("-s").arg(self.socket()).arg("ping").output();
        answer.is_ok_and(|answer| answer.stdout.starts_with(b"PONG"))
    }

    /// Where it is, as the configuration has it.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Where one of its databases is, for those who know no sockets.
    pub fn tcp_url(&self, database: u32) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }
}

/// The version of the `redis-server` that is started.
pub fn version() -> String {
    let told = Command::new("redis-server").arg("--version").output().expect("redis-server is installed");
    let told = String::from_utf8(told.stdout).unwrap();
    told.split_whitespace().find_map(|word| word.strip_prefix("v=")).expect("its version").to_owned()
}

fn spawn(
    folder: &TempDir,
    port: u16,
    (keeps, options): (bool, &[&str]),
    variables: &BTreeMap<&str, String>,
) -> Child {
    Command::new("sh")
        .args(["-c", WATCHED, "redis"])
        .arg(folder.path())
        .arg(port.to_string())
        .arg(if keeps { "yes" } else { "no" })
        .args(options)
        .envs(variables)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh starts")
}
