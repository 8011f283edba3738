//! A Redis of the tests' own: one for each test binary, on a socket in a temporary folder, gone with the process
//! that started it, however that ends.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait for the server to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the server and ends it when this pipe closes, which it does when the test process is gone.
const WATCHED: &str = r#"
redis-server --port 0 --unixsocket "$1/redis.sock" --dir "$1" --save '' --appendonly no --daemonize no >"$1/log" 2>&1 &
read -r _
kill -9 $!
"#;

/// A running server.
pub struct Redis {
    folder: TempDir,
    _watched: Child,
}

/// The one that the tests of this binary share; each of them works under a prefix of its own.
pub static SHARED: LazyLock<Redis> = LazyLock::new(Redis::start);

impl Redis {
    /// Starts one and waits until it answers.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread that starts a server")]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let watched = Command::new("sh")
            .args(["-c", WATCHED, "redis"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let redis = Self { folder, _watched: watched };
        let began = Instant::now();
        while !redis.answers() {
            let log = std::fs::read_to_string(redis.folder.path().join("log")).unwrap_or_default();
            assert!(
                began.elapsed() < PATIENCE,
                "redis-server did not answer within {PATIENCE:?}; `tests/run` installs it. Its log:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn answers(&self) -> bool {
        let answer = Command::new("redis-cli").arg("-s").arg(self.socket()).arg("ping").output();
        answer.is_ok_and(|answer| answer.stdout.starts_with(b"PONG"))
    }

    /// Where it is, as the configuration has it.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }
}
