//! One process of the service: started, observed, signalled, killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::client::{self, Answer};

pub const SECRET: &str = "a-secret-of-thirty-two-characters-or-more";
/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(15);
/// Lines of the log that a failure shows.
const TAIL: usize = 60;

/// How a process is to be started.
#[derive(Clone)]
pub struct Start {
    environment: Vec<(String, String)>,
    /// The program and its arguments that run the service's; none: it runs by itself.
    wrapper: Vec<String>,
    /// The command of `tikkun` and its arguments.
    words: Vec<String>,
}

impl Start {
    /// As it ships.
    pub fn bare(data: &std::path::Path) -> Self {
        Self { environment: Vec::new(), wrapper: Vec::new(), words: vec!["serve".to_owned()] }
            .set("TIKKUN_SERVICE__DATA", data.to_str().unwrap())
            .set("TIKKUN_SERVICE__DRAIN_TIMEOUT", "20s")
            .set("TIKKUN_HTTP__PORT", "0")
            .set("INTERNAL_SECRET", SECRET)
    }

    /// Quick in everything, so that a test need not wait.
    pub fn on(data: &std::path::Path) -> Self {
        Self::bare(data)
            .set("LOG_LEVEL", "DEBUG")
            .set("RQ_QUEUES", "maintenance,default")
            .set("TIKKUN_WORKER__SLOTS", "2")
            .set("TIKKUN_WORKER__FETCH_PATIENCE", "1s")
            .set("TIKKUN_RESCUER__INTERVAL", "100ms")
            .set("TIKKUN_RESCUER__OUTBOX_BACKOFF_FIRST", "200ms")
            .set("TIKKUN_RESCUER__OUTBOX_BACKOFF_CAP", "500ms")
            .set("TIKKUN_SCHEDULER__INTERVAL", "200ms")
            .set("TIKKUN_TRACKER__PROGRESS_INTERVAL", "50ms")
            .set("TIKKUN_TRACKER__HEARTBEAT_INTERVAL", "200ms")
            .set("TIKKUN_SUPERVISION__DELAY_FIRST", "10ms")
            .set("TIKKUN_DELETION__BATCH", "20")
            .set("TIKKUN_DELETION__THROTTLE", "5ms")
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Run by this program, which must end in the service's place.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Started by this command of `tikkun`, and not by `serve`.
    #[allow(dead_code, reason = "not every test binary needs another one")]
    pub fn running<'a>(mut self, words: impl Iterator<Item = &'a str>) -> Self {
        self.words = words.map(str::to_owned).collect();
        self
    }

    /// What breaks where, as in `deletion.before_commit=1*off->return`.
    pub fn failing(self, points: &str) -> Self {
        self.set("FAILPOINTS", points)
    }

    /// A command of `tikkun` in the same environment.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
        command.env_clear().envs(self.environment.iter().cloned()).stdin(Stdio::null()).args(words);
        command
    }

    /// Starts without waiting for anything.
    pub fn spawn(&self) -> Process {
        let mut line = self.wrapper.clone();
        line.push(env!("CARGO_BIN_EXE_tikkun").to_owned());
        line.extend_from_slice(&self.words);
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().push(line);
            }
        });
        Process { child, log, listener: Some(listener) }
    }

    /// Starts, and waits until it serves.
    pub async fn start(&self) -> Service {
        let mut process = self.spawn();
        let address = process.until("`tikkun serves`", async |process| process.address()).await;
        Service { process, address }
    }
}

/// A process that was started; killed when dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
}

impl Process {
    /// Where it serves, once it does.
    pub fn address(&self) -> Option<SocketAddr> {
        let log = self.log.lock();
        let line = log.iter().find(|line| line.contains("tikkun serves"))?;
        // In text, and in JSON.
        let after = line.split_once("address=\"").or_else(|| line.split_once("\"address\":\""))?.1;
        after.split('"').next()?.parse().ok()
    }

    /// Waits until `look` finds something, and says what it waited for if it never does.
    pub async fn until<T>(&mut self, what: &str, mut look: impl AsyncFnMut(&mut Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            assert!(began.elapsed() < DEADLINE, "waited in vain for {what}; the log's end:\n{}", self.tail());
            tokio::time::sleep(LOOK).await;
        }
    }

    pub fn tail(&self) -> String {
        let log = self.log.lock();
        log[log.len().saturating_sub(TAIL)..].join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The lines that hold `text`.
    pub fn lines(&self, text: &str) -> Vec<String> {
        self.log.lock().iter().filter(|line| line.contains(text)).cloned().collect()
    }

    /// How it ended; none while it lives.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// `kill -9`, and nothing of it is left.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, once it has; everything it said has been heard.
    pub async fn exited(&mut self) -> ExitStatus {
        let status = self.until("the process to end", async |process| process.ended()).await;
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that serves.
pub struct Service {
    pub process: Process,
    pub address: SocketAddr,
}

impl Service {
    pub async fn until<T>(&mut self, what: &str, mut look: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            let tail = || self.process.tail();
            assert!(began.elapsed() < DEADLINE, "waited in vain for {what}; the log's end:\n{}", tail());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it is ready.
    pub async fn is_ready(&mut self) {
        let ready = async |service: &Self| (service.get("/readyz").status == 200).then_some(());
        self.until("readiness", ready).await;
    }

    /// Waits for a line that holds `text`.
    pub async fn says(&mut self, text: &str) -> String {
        let what = format!("the line `{text}`");
        self.until(&what, async |service| service.lines(text).into_iter().next()).await
    }

    /// The lines that hold `text`.
    pub fn lines(&self, text: &str) -> Vec<String> {
        self.process.lines(text)
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Asks it to leave, and waits until it has.
    pub async fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.process.exited().await.code()
    }

    /// Waits until it has killed itself at a fail point.
    pub async fn dies(&mut self) {
        let status = self.process.exited().await;
        assert_eq!(status.signal(), Some(9), "{status:?}; the log's end:\n{}", self.process.tail());
    }

    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        client::try_call(self.address, method, path, headers).unwrap_or_else(|| {
            panic!("no answer to {method} {path}; the log's end:\n{}", self.process.tail())
        })
    }

    /// A call with the secret and without a tenant.
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[("X-Internal-Secret", SECRET)])
    }

    /// A call in the name of a tenant's owner.
    pub fn owner(&self, tenant: i64, method: &str, path: &str) -> Answer {
        let tenant = tenant.to_string();
        let headers = [
            ("X-Internal-Secret", SECRET),
            ("X-Business-Id", tenant.as_str()),
            ("X-User-Id", "5"),
            ("X-User-Role", "owner"),
        ];
        self.call(method, path, &headers)
    }

    /// Requests a deletion; the id of its row.
    pub fn delete_all(&self, tenant: i64) -> i64 {
        self.owner(tenant, "POST", "/api/receipts/delete_all").expect(202).json()["job_id"].as_i64().unwrap()
    }

    pub fn health(&self) -> Value {
        self.get("/api/jobs/health").json()
    }

    /// What the health answer says of all actors of one name.
    pub fn role(&self, name: &str) -> Value {
        let health = self.health();
        let roles = health["supervision"]["roles"].as_array().unwrap().clone();
        roles.into_iter().find(|role| role["role"] == name).unwrap_or(Value::Null)
    }

    /// Restarts of all actors together.
    pub fn restarts(&self) -> u64 {
        let health = self.health();
        let roles = health["supervision"]["roles"].as_array().unwrap();
        roles.iter().map(|role| role["restarts"].as_u64().unwrap()).sum()
    }
}
