//! Tikkun's part in the benchmark with its peers: a worker for one queue, and a client that fills it.
//!
//! The job does nothing, or reports how long it waited: its argument is the time at which it was sent, in
//! nanoseconds since the epoch, or zero.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use tikkun::config::{Settings, Sources};
use tikkun::job::{Completion, Job, JobContext, JobResult, NewJob};
use tikkun::queue::Broker;
use tikkun::runtime::{Ended, JobPorts, Service, System};

/// Jobs in one call of the client that sends many.
const CHUNK: u64 = 500;
/// Time between two looks at a queue that is being emptied.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Parser)]
struct Command {
    /// Where the queues are: Redis, or nothing for the embedded engine.
    #[arg(long, default_value = "")]
    broker: String,
    /// Where the service keeps its files.
    #[arg(long)]
    data: PathBuf,
    /// Queues, with commas between them.
    #[arg(long, default_value = "bench")]
    queues: String,
    #[arg(long, default_value_t = 64)]
    slots: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Counts for /metrics, too.
    #[arg(long)]
    metrics: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Works until it is told to stop; jobs that were told when they were sent append a line to `waits`.
    Work { waits: Option<PathBuf> },
    /// Sends jobs one by one.
    Single { count: u64 },
    /// Sends jobs in bulk.
    Bulk { count: u64 },
    /// Sends jobs at a steady rate, each with its time.
    Steady { count: u64, per_second: f64 },
    /// Fills the queue and works until it is empty.
    Drain { count: u64 },
}

/// Does nothing, or tells how long it waited.
#[derive(Default)]
struct Noop {
    waits: Option<PathBuf>,
    begun: Arc<AtomicU64>,
}

impl Job for Noop {
    const NAME: &'static str = "peers.noop";
    type Args = (u64,);

    async fn run(&self, (sent,): (u64,), _: &JobContext) -> JobResult {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if let (1.., Some(waits)) = (sent, &self.waits) {
            let waited = now().saturating_sub(sent);
            writeln!(OpenOptions::new().append(true).create(true).open(waits)?, "{waited}")?;
        }
        Ok(Completion::Finished(Value::Null))
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn job(number: u64, sent: u64) -> Result<NewJob, Box<dyn Error>> {
    let id = format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id());
    Ok(NewJob::of::<Noop>(id, "bench", &(sent,))?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let command = Command::parse();
    let sources = Sources::none()
        .set("service.data", command.data.display().to_string())
        .set("http.enabled", command.metrics.to_string())
        .set("http.port", "0")
        .set("broker.url", &command.broker)
        .set("worker.queues", &command.queues)
        .set("worker.slots", command.slots.to_string())
        .set("worker.threads", command.threads.to_string());
    let settings = Settings::load(&sources)?.settings;
    System::new().block_on(carry_out(settings, command.what))
}

async fn carry_out(settings: Settings, what: What) -> Result<(), Box<dyn Error>> {
    match what {
        What::Work { waits } => {
            let service = Service::builder(settings).with(Noop { waits, ..Noop::default() }).start().await?;
            let ended = service.run_until(std::future::pending()).await;
            if ended == Ended::Drained { Ok(()) } else { Err("not everything was settled".into()) }
        }
        What::Drain { count } => drain(settings, count).await,
        What::Single { count } => {
            let broker = JobPorts::open(&settings).await?.broker;
            let began = Instant::now();
            for number in 0..count {
                broker.enqueue(&[job(number, 0)?]).await?;
            }
            report(count, began);
            Ok(())
        }
        What::Bulk { count } => {
            let broker = JobPorts::open(&settings).await?.broker;
            let began = Instant::now();
            fill(&*broker, count).await?;
            report(count, began);
            Ok(())
        }
        What::Steady { count, per_second } => {
            let broker = JobPorts::open(&settings).await?.broker;
            let began = Instant::now();
            let mut pace = tokio::time::interval(Duration::from_secs_f64(per_second.recip()));
            for number in 0..count {
                pace.tick().await;
                broker.enqueue(&[job(number, now())?]).await?;
            }
            report(count, began);
            Ok(())
        }
    }
}

async fn fill(broker: &dyn Broker, count: u64) -> Result<(), Box<dyn Error>> {
    for first in (0..count).step_by(CHUNK as usize) {
        let jobs: Result<Vec<_>, _> =
            (first..count.min(first + CHUNK)).map(|number| job(number, 0)).collect();
        broker.enqueue(&jobs?).await?;
    }
    Ok(())
}

/// The clock runs from the start of the service to the end of the last job.
async fn drain(settings: Settings, count: u64) -> Result<(), Box<dyn Error>> {
    fill(&*JobPorts::open(&settings).await?.broker, count).await?;
    let began = Instant::now();
    let begun = Arc::<AtomicU64>::default();
    let noop = Noop { waits: None, begun: Arc::clone(&begun) };
    let service = Service::builder(settings).with(noop).start().await?;
    let broker = Arc::clone(&service.ports().broker);
    let emptied = async {
        // Counting what has ended is work for the queue: only when every job has begun.
        while begun.load(Ordering::Relaxed) < count || !has_ended(&*broker, count).await {
            tokio::time::sleep(LOOK).await;
        }
        report(count, began);
    };
    let ended = service.run_until(emptied).await;
    if ended == Ended::Drained { Ok(()) } else { Err("not everything was settled".into()) }
}

async fn has_ended(broker: &dyn Broker, count: u64) -> bool {
    broker.counts().await.is_ok_and(|counts| counts.values().any(|counts| counts.finished >= count))
}

fn report(jobs: u64, began: Instant) {
    println!("{}", json!({ "jobs": jobs, "seconds": began.elapsed().as_secs_f64() }));
}
