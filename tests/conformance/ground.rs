//! A database of a real Redis, a service on it, and a client of one version of RQ.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::process::{Service, Start};
use crate::python::Version;
use crate::redis_server::Redis;

/// Longest wait for something that comes.
pub const DEADLINE: Duration = Duration::from_secs(60);

static REDIS: LazyLock<Redis> = LazyLock::new(Redis::start_with_port);
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Drives the few things that are asynchronous.
pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().unwrap());

/// Services that many tests share: one for each version.
static SHARED: [LazyLock<(Place, Service)>; 3] = [
    LazyLock::new(|| shared(Version::Rq1)),
    LazyLock::new(|| shared(Version::Rq2)),
    LazyLock::new(|| shared(Version::Rq3)),
];

fn shared(version: Version) -> (Place, Service) {
    let place = Place::new(version);
    let start = place.start("default,second", 24);
    let service = RUNTIME.block_on(start.start());
    (place, service)
}

/// Ends what the tests shared; nothing else would.
pub fn end_shared() {
    for (_, service) in SHARED.iter().filter_map(LazyLock::get) {
        service.signal(rustix::process::Signal::KILL);
    }
}

/// Where a test works: a database of its own, asked through one version of RQ.
pub struct Place {
    pub version: Version,
    pub url: String,
    folder: TempDir,
}

impl Place {
    /// An empty database, on which nothing runs yet.
    pub fn new(version: Version) -> Self {
        let url = REDIS.tcp_url(DATABASES.fetch_add(1, Ordering::Relaxed));
        Self { version, url, folder: tempfile::tempdir().unwrap() }
    }

    /// One that is shared with other tests, with a service on the queues `default` and `second`.
    pub fn shared(version: Version) -> &'static Self {
        &SHARED[version as usize].0
    }

    /// How a service is started here.
    pub fn start(&self, queues: &str, slots: u32) -> Start {
        Start::on(self.folder.path())
            .set("REDIS_URL", &self.url)
            .set("RQ_QUEUES", queues)
            .set("TIKKUN_WORKER__SLOTS", &slots.to_string())
            .set("TIKKUN_DIAGNOSTICS__ENABLED", "true")
            .set("TIKKUN_LEASE__TTL", "2s")
            .set("TIKKUN_LEASE__RENEW", "400ms")
    }

    /// A service of the test's own.
    pub fn serve(&self, queues: &str, slots: u32) -> Service {
        RUNTIME.block_on(self.start(queues, slots).start())
    }

    pub fn data(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What RQ answers to a command, which must work.
    pub fn ask(&self, line: &str) -> Value {
        let (status, document) = self.try_ask(line);
        assert_eq!(status, 0, "{line}: {document}");
        document
    }

    /// The exit status of a command, and what RQ answers.
    pub fn try_ask(&self, line: &str) -> (i64, Value) {
        self.ask_words(line.split_whitespace())
    }

    /// As [`Self::try_ask`], for words with spaces in them.
    pub fn ask_words<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> (i64, Value) {
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let command = words.remove(0);
        let words = [command, "--redis".to_owned(), self.url.clone()].into_iter().chain(words);
        self.version.python().ask(&words.collect::<Vec<_>>())
    }

    /// Enqueues; the id of the job.
    pub fn enqueue(&self, line: &str) -> String {
        text(&self.ask(&format!("enqueue {line}"))["id"])
    }

    /// The job once it has ended.
    pub fn end_of(&self, id: &str) -> Value {
        self.ask(&format!("wait {id} --timeout 60"))
    }

    /// The job once it has this status.
    pub fn becomes(&self, id: &str, status: &str) -> Value {
        self.ask(&format!("wait {id} --timeout 60 --status {status}"))
    }

    pub fn job(&self, id: &str) -> Value {
        self.ask(&format!("job {id}"))
    }

    /// A command of the server itself.
    pub fn raw(&self, line: &str) -> Value {
        self.ask(&format!("raw -- {line}"))
    }

    /// Seconds since the epoch, as the server sees it.
    pub fn now(&self) -> f64 {
        text(&self.raw("TIME")[0]).parse().unwrap_or_else(|_| self.raw("TIME")[0].as_f64().unwrap())
    }

    /// Waits until `look` finds something, and says what it waited for if it never does.
    pub fn until<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        self.until_within(DEADLINE, what, look)
    }

    /// As [`Self::until`], for a span that the claim itself names.
    pub fn until_within<T>(&self, span: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(began.elapsed() < span, "waited in vain for {what}, for {span:?}");
            pause(Duration::from_millis(50));
        }
    }

    /// The names of the workers, of all queues.
    pub fn workers(&self) -> Vec<Value> {
        self.ask("workers").as_array().unwrap().clone()
    }
}

/// Lets time pass: for spans that the test is about, never to force an order.
#[allow(clippy::disallowed_methods, reason = "no actor lives on a test's thread")]
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The names of the registries that hold a job.
pub fn registries(job: &Value) -> Vec<String> {
    job["in_registries"].as_object().unwrap_or_else(|| panic!("{job}")).keys().cloned().collect()
}

/// What ended the job, last line first.
pub fn last_line(job: &Value) -> String {
    text(&job["exc_info"]).trim_end().lines().last().unwrap_or_default().to_owned()
}
