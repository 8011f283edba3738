//! The load for the benchmark of the page, in separate processes: jobs at a steady rate or all at once, and
//! users of the page.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use tikkun::config::{Settings, Sources};
use tikkun::job::{Args, Limit, NewJob};
use tikkun::queue::Broker;
use tikkun::runtime::{JobPorts, System};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Jobs in one call of the client.
const CHUNK: u64 = 500;
/// Calls of a client that sends at a steady rate, in a second.
const BEATS: u64 = 50;
/// Days that an ended job is kept: longer than any run.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Functions of the jobs that end well: the service has them, and all of them do nothing.
const FUNCTIONS: [&str; 2] = ["tikkun.noop", "tikkun.echo"];

#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    what: What,
}

/// Where the jobs go.
#[derive(clap::Args)]
struct Ground {
    /// Where the queues are: Redis, or nothing for the embedded engine.
    #[arg(long, default_value = "")]
    broker: String,
    /// Where the service keeps its files.
    #[arg(long)]
    data: PathBuf,
    /// The queues, with commas between them; jobs go to each in turn.
    #[arg(long, value_delimiter = ',')]
    queues: Vec<String>,
}

/// Which jobs.
#[derive(clap::Args)]
struct Jobs {
    #[arg(long, default_value_t = 0)]
    good: u64,
    #[arg(long, default_value_t = 0)]
    failing: u64,
    /// Seconds until they are due.
    #[arg(long)]
    delay: Option<u64>,
    /// Seconds that those which end well take.
    #[arg(long)]
    sleep: Option<u64>,
}

#[derive(Subcommand)]
enum What {
    /// Puts in jobs that end well, fail, or call what nobody here has, and tells how long that took.
    Fill {
        #[command(flatten)]
        ground: Ground,
        #[command(flatten)]
        jobs: Jobs,
    },
    /// Sends jobs at a steady rate for some seconds, and tells how many it sent.
    Offer {
        #[command(flatten)]
        ground: Ground,
        #[arg(long)]
        per_second: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Opens pages as browsers do and keeps them open until its input ends; a line when all of them are, and
    /// one with what they received at the end.
    Look {
        #[arg(long)]
        at: SocketAddr,
        #[arg(long)]
        pages: u64,
        /// The session's cookie.
        #[arg(long)]
        cookie: String,
        /// What a page asks for before it follows the stream, with commas between them.
        #[arg(long, value_delimiter = ',')]
        first: Vec<String>,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    System::new().block_on(carry_out(Command::parse().what))
}

async fn carry_out(what: What) -> Result<(), Box<dyn Error>> {
    match what {
        What::Fill { ground, jobs } => fill(&ground, &jobs).await,
        What::Offer { ground, per_second, seconds } => offer(&ground, per_second, seconds).await,
        What::Look { at, pages, cookie, first } => look(at, pages, &cookie, first).await,
    }
}

impl Ground {
    async fn open(&self) -> Result<Arc<dyn Broker>, Box<dyn Error>> {
        let sources = Sources::none()
            .set("service.data", self.data.display().to_string())
            .set("http.enabled", "false")
            .set("broker.url", &self.broker);
        Ok(JobPorts::open(&Settings::load(&sources)?.settings).await?.broker)
    }

    fn job(&self, number: u64, function: &str, args: Value) -> NewJob {
        let id = format!("{:08x}-{:04x}-4000-8000-{number:012x}", std::process::id(), number % 0x1_0000);
        let queue = usize::try_from(number).unwrap_or(0) % self.queues.len().max(1);
        let queue = self.queues.get(queue).map_or("default", String::as_str);
        NewJob {
            result_ttl: Some(Limit::After(KEPT)),
            failure_ttl: Some(Limit::After(KEPT)),
            ..NewJob::new(id, queue, function, Args::positional(args.as_array().cloned().unwrap_or_default()))
        }
    }

    /// A job that ends well.
    fn good(&self, number: u64) -> NewJob {
        // One in sixteen is of the second function, whichever queue it goes to.
        match FUNCTIONS {
            [_, echo] if (number / 7).is_multiple_of(16) => self.job(number, echo, json!([number])),
            [noop, _] => self.job(number, noop, json!([])),
        }
    }

    /// A job that fails, and has no retries.
    fn failing(&self, number: u64) -> NewJob {
        self.job(number, "tikkun.fail", json!(["as it was told", true]))
    }
}

async fn fill(ground: &Ground, jobs: &Jobs) -> Result<(), Box<dyn Error>> {
    let broker = ground.open().await?;
    let began = Instant::now();
    let all = jobs.good + jobs.failing;
    for first in (0..all).step_by(CHUNK as usize) {
        let numbers = first..all.min(first + CHUNK);
        let some: Vec<_> = numbers.map(|number| jobs.job(ground, number)).collect();
        broker.enqueue(&some).await?;
    }
    report(all, began);
    Ok(())
}

impl Jobs {
    fn job(&self, ground: &Ground, number: u64) -> NewJob {
        // Those that fail are spread among the others.
        let all = self.good + self.failing;
        let fails = number * self.failing / all != (number + 1) * self.failing / all;
        let job = match self.sleep {
            _ if fails => ground.failing(number),
            Some(seconds) => ground.job(number, "tikkun.sleep", json!([seconds])),
            None => ground.good(number),
        };
        NewJob { delay: self.delay.map(Duration::from_secs), ..job }
    }
}

async fn offer(ground: &Ground, per_second: u64, seconds: u64) -> Result<(), Box<dyn Error>> {
    let broker = ground.open().await?;
    let began = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_secs(1) / u32::try_from(BEATS)?);
    let mut sent = 0;
    for turn in 1..=seconds * BEATS {
        beat.tick().await;
        let due = turn * per_second / BEATS;
        let jobs: Vec<_> = (sent..due).map(|number| ground.good(number)).collect();
        broker.enqueue(&jobs).await?;
        sent = due;
    }
    report(sent, began);
    Ok(())
}

fn report(jobs: u64, began: Instant) {
    println!("{}", json!({ "jobs": jobs, "seconds": began.elapsed().as_secs_f64() }));
}

/// What all pages have received together.
#[derive(Default)]
struct Received {
    open: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicU64,
}

async fn look(at: SocketAddr, pages: u64, cookie: &str, first: Vec<String>) -> Result<(), Box<dyn Error>> {
    let received = Arc::<Received>::default();
    for _ in 0..pages {
        let (page, received, first) = (Page::open(at, cookie).await?, Arc::clone(&received), first.clone());
        actix_rt::spawn(async move {
            if page.live(&first, &received).await.is_err() {
                received.ended.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while received.open.load(Ordering::Relaxed) < pages {
        if received.ended.load(Ordering::Relaxed) > 0 {
            return Err("a page could not be opened".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{}", json!({ "open": pages }));
    let mut lines = BufReader::new(tokio::fs::File::from_std(std::fs::File::open("/dev/stdin")?)).lines();
    while lines.next_line().await?.is_some() {
        let told = |count: &AtomicU64| count.load(Ordering::Relaxed);
        println!("{}", json!({ "bytes": told(&received.bytes), "ended": told(&received.ended) }));
    }
    Ok(())
}

/// One page: a connection that is kept, as a browser keeps it.
struct Page {
    stream: BufReader<TcpStream>,
    cookie: String,
}

impl Page {
    async fn open(at: SocketAddr, cookie: &str) -> Result<Self, Box<dyn Error>> {
        Ok(Self { stream: BufReader::new(TcpStream::connect(at).await?), cookie: cookie.to_owned() })
    }

    /// Asks for everything that a page needs, then follows the stream for ever.
    async fn live(mut self, first: &[String], received: &Received) -> std::io::Result<()> {
        for path in first {
            let length = self.ask(path).await?;
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await?;
            received.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
        self.ask("/api/v1/events").await?;
        let mut bytes = vec![0; 64 * 1024];
        let mut seen = false;
        loop {
            let length = self.stream.read(&mut bytes).await?;
            if length == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            received.bytes.fetch_add(length as u64, Ordering::Relaxed);
            if !std::mem::replace(&mut seen, true) {
                received.open.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Sends a request and reads the head of its answer; how long its body is, where it says.
    async fn ask(&mut self, path: &str) -> std::io::Result<usize> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n", self.cookie);
        self.stream.write_all(request.as_bytes()).await?;
        let (mut line, mut length, mut good) = (String::new(), 0, None);
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let told = line.trim_end();
            good.get_or_insert_with(|| told.contains(" 200 "));
            if told.is_empty() {
                break;
            }
            if let Some((name, value)) = told.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        if good == Some(true) { Ok(length) } else { Err(std::io::Error::other(format!("{path} is refused"))) }
    }
}
