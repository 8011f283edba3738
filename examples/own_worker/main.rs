//! A worker with its own jobs, using only the library: no server, and no command line.
//!
//! ```text
//! cargo run --example own_worker
//! ```
//!
//! It runs in a temporary folder, enqueues two jobs, shows their progress, and ends when both have ended.

mod jobs;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use jobs::{Document, ReadDocument, Reminder, SendReminder};
use tikkun::config::{Settings, Sources};
use tikkun::job::{JobId, NewJob};
use tikkun::queue::Broker;
use tikkun::runtime::{Ended, Service, System};
use tikkun::worker::Running;

/// Time between two looks at the jobs.
const LOOK: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    // `Sources::from_process(None, Vec::new())` would read the environment and ./tikkun.toml as well.
    let sources = Sources::none()
        .set("service.data", folder.path().display().to_string())
        .set("http.enabled", "false")
        .set("worker.queues", "mail,documents")
        .set("scheduler.interval", "100ms");
    let settings = Settings::load(&sources)?.settings;
    System::new().block_on(work(settings))
}

async fn work(settings: Settings) -> Result<(), Box<dyn Error>> {
    let service = Service::builder(settings).with(SendReminder::default()).with(ReadDocument).start().await?;

    let reminder = Reminder { receipt_id: 27, to: "dana@example.com".to_owned() };
    let jobs = [
        NewJob::of::<SendReminder>("reminder-27", "mail", &reminder)?,
        NewJob::of::<ReadDocument>("document-1", "documents", &Document { pages: 10 })?,
    ];
    let ids = jobs.each_ref().map(|job| job.id.clone());
    let broker = Arc::clone(&service.ports().broker);
    broker.enqueue(&jobs).await?;

    let running = service.running();
    // SIGTERM, SIGINT, SIGQUIT and SIGHUP end it as well; either way jobs in hand stop at their next safe point.
    let ended = service.run_until(until_ended(Arc::clone(&broker), &ids, &running)).await;

    for id in &ids {
        let job = broker.job(id).await?.ok_or("the job is gone")?;
        let result = job.result.unwrap_or_default();
        println!("{id}: {} after {} attempts, {} failed: {result}", job.state, job.attempt, job.failures);
    }
    println!("{ended:?}");
    if ended == Ended::Drained { Ok(()) } else { Err("not everything was settled".into()) }
}

/// Shows progress until all of the jobs have ended.
async fn until_ended(broker: Arc<dyn Broker>, ids: &[JobId], running: &Running) {
    let mut shown = None;
    loop {
        for job in running.list() {
            let Some(progress) = job.progress.filter(|progress| shown != Some(*progress)) else { continue };
            println!("{}: {} %", job.job_id, progress.percent());
            shown = Some(progress);
        }
        let mut open = 0;
        for id in ids {
            // An outage is waited out.
            let is_open = broker.job(id).await.map(|job| job.is_some_and(|job| job.state.is_open()));
            open += usize::from(is_open.unwrap_or(true));
        }
        if open == 0 {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}
