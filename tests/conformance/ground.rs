//! A database of a real Redis, a service on it, and a client of one version of RQ.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::process::{Service, Start};
use crate::python::{Version, script};
use crate::redis_server::Redis;

/// Longest wait for something that comes.
pub const DEADLINE: Duration = Duration::from_secs(60);

static REDIS: LazyLock<Redis> = LazyLock::new(Redis::start_with_port);
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Drives the few things that are asynchronous.
pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().unwrap());

/// A version of RQ, and where the functions of its jobs are.
#[derive(Clone, Copy, Debug)]
pub struct Ground {
    pub version: Version,
    pub functions: Functions,
}

/// Where the functions of jobs are; both ways they have the same names and do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// In the service, which is `tikkun serve`.
    Rust,
    /// In a module of Python: `tikkun run` stands in front of the version's own `rq worker`.
    Python,
    /// The same, in processes that run one job after another.
    Warm,
}

impl Ground {
    pub const fn rust(version: Version) -> Self {
        Self { version, functions: Functions::Rust }
    }

    pub const fn python(version: Version) -> Self {
        Self { version, functions: Functions::Python }
    }

    pub const fn warm(version: Version) -> Self {
        Self { version, functions: Functions::Warm }
    }

    /// What is tested here, as a name.
    pub fn name(self) -> String {
        let number = self.version.number().replace('.', "_");
        match self.functions {
            Functions::Rust => format!("rq_{number}"),
            Functions::Python => format!("python_rq_{number}"),
            Functions::Warm => format!("warm_rq_{number}"),
        }
    }
}

impl From<Version> for Ground {
    fn from(version: Version) -> Self {
        Self::rust(version)
    }
}

/// Services that many tests share: one for each ground.
static SHARED: [[LazyLock<(Place, Service)>; 3]; 3] = [
    [
        LazyLock::new(|| shared(Ground::rust(Version::Rq1))),
        LazyLock::new(|| shared(Ground::rust(Version::Rq2))),
        LazyLock::new(|| shared(Ground::rust(Version::Rq3))),
    ],
    [
        LazyLock::new(|| shared(Ground::python(Version::Rq1))),
        LazyLock::new(|| shared(Ground::python(Version::Rq2))),
        LazyLock::new(|| shared(Ground::python(Version::Rq3))),
    ],
    [
        LazyLock::new(|| shared(Ground::warm(Version::Rq1))),
        LazyLock::new(|| shared(Ground::warm(Version::Rq2))),
        LazyLock::new(|| shared(Ground::warm(Version::Rq3))),
    ],
];

fn shared(ground: Ground) -> (Place, Service) {
    let place = Place::new(ground);
    let start = place.start("default,second", 24);
    let service = RUNTIME.block_on(start.start());
    (place, service)
}

/// Ends what the tests shared; nothing else would.
pub fn end_shared() {
    for (_, service) in SHARED.iter().flatten().filter_map(LazyLock::get) {
        service.signal(rustix::process::Signal::KILL);
    }
}

/// Where a test works: a database of its own, asked through one version of RQ.
pub struct Place {
    pub ground: Ground,
    pub url: String,
    folder: TempDir,
}

impl Place {
    /// An empty database, on which nothing runs yet.
    pub fn new(ground: impl Into<Ground>) -> Self {
        let url = REDIS.tcp_url(DATABASES.fetch_add(1, Ordering::Relaxed));
        Self { ground: ground.into(), url, folder: tempfile::tempdir().unwrap() }
    }

    /// One that is shared with other tests, with a service on the queues `default` and `second`.
    pub fn shared(ground: impl Into<Ground>) -> &'static Self {
        let Ground { version, functions } = ground.into();
        &SHARED[functions as usize][version as usize].0
    }

    /// How a service is started here.
    pub fn start(&self, queues: &str, slots: u32) -> Start {
        self.start_as(queues, slots, &[])
    }

    /// The same with more options of `rq worker`, where there is one.
    pub fn start_as(&self, queues: &str, slots: u32, options: &[&str]) -> Start {
        let start =
            Start::on(self.folder.path()).set("TIKKUN_LEASE__TTL", "2s").set("TIKKUN_LEASE__RENEW", "400ms");
        let slots = slots.to_string();
        match self.ground.functions {
            Functions::Rust => start
                .set("REDIS_URL", &self.url)
                .set("RQ_QUEUES", queues)
                .set("TIKKUN_WORKER__SLOTS", &slots)
                .set("TIKKUN_DIAGNOSTICS__ENABLED", "true"),
            Functions::Python | Functions::Warm => {
                let isolation = if self.ground.functions == Functions::Warm { "warm" } else { "job" };
                let rq = self.ground.version.program("rq").display().to_string();
                let worker = ["worker", "--with-scheduler", "--url", &self.url];
                let words =
                    ["run", "--slots", &slots, "--isolation", isolation, "--", &rq].into_iter().chain(worker);
                start
                    .set("PYTHONPATH", &script("functions").display().to_string())
                    // What it puts there is gone with the place, however it ends.
                    .set("TMPDIR", &self.folder.path().display().to_string())
                    .running(words.chain(options.iter().copied()).chain(queues.split(',')))
            }
        }
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
        self.ground.version.python().ask(&words.collect::<Vec<_>>())
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

/// Whether a key is kept for about so many seconds: on the server a little longer, for where no process drops it.
pub fn is_kept_for(seconds: i64, ttl: &Value) -> bool {
    ttl.as_i64().is_some_and(|ttl| (seconds - 10..=seconds + 5).contains(&ttl))
}

/// What ended the job, last line first.
pub fn last_line(job: &Value) -> String {
    text(&job["exc_info"]).trim_end().lines().last().unwrap_or_default().to_owned()
}
