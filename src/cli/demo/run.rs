//! Starts the service, writes the data, requests the deletion over HTTP, follows it, drains and counts.

use std::time::Duration;

use actix_rt::task::JoinHandle;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Stage;
use super::check::{facts, look};
use super::front::Front;
use super::plan::Plan;
use super::report::{Report, peak_memory};
use super::seed::{Arrived, Seeded, Seeder};
use crate::cli::advice::Advice;
use crate::cli::ending::Complaint;
use crate::cli::reach::loopback;
use crate::job::BackgroundJobId;
use crate::runtime::{Ended, Ports, Service, Signals, open_trial};
use crate::store::TrialData;

/// The time between two reads of the job.
const LOOK: Duration = Duration::from_millis(100);
/// The demonstration fails after this many failed reads in a row.
const LOOKS: u32 = 20;
/// How long to wait for the last objects to be deleted. Objects left over by a crash are held back for a
/// minute before the Rescuer deletes them.
const CLEAN_UP: Duration = Duration::from_secs(150);

/// Runs everything, from the first row to the verdict.
pub(super) async fn perform(stage: &Stage, signals: Signals) -> Result<(), Complaint> {
    let trial = open_trial(&stage.settings).await?;
    let service = Service::start_under(stage.settings.clone(), signals).await;
    let service = service.map_err(Complaint::from)?;
    let address = service.address().map(loopback);
    let address =
        address.ok_or_else(|| Complaint::failed("the service has no window", Advice::REPORT_DEMO))?;
    let ports = service.ports().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = actix_rt::spawn(service.run_until(async {
        // A dropped sender means the same.
        let _ = stopped.await;
    }));
    stage.screen.say(&format!("service: http://{address}, X-Internal-Secret: {}", stage.secret));
    stage.screen.say(&format!("page: http://{address}/ (the same secret signs in)"));

    let front = Front::new(format!("http://{address}"), stage.secret.clone());
    let acts = Acts { stage, ports: &ports, trial: &*trial, front };
    let played = tokio::select! {
        played = acts.play() => played,
        _ = &mut serving => return Err(Complaint::failed("the demonstration was stopped before the deletion was done", Advice::AGAIN)),
    };
    let (job, seeded, arrived) = match played {
        Ok(played) => played,
        Err(complaint) => {
            leave(stop, serving).await;
            return Err(complaint);
        }
    };
    let judged = if stage.keep {
        let judged = acts.judge(job, &seeded, arrived).await;
        stage.screen.say(&format!("the service goes on at http://{address} until Ctrl-C"));
        let ended = serving.await;
        tracing::debug!(?ended, "the service has left");
        judged
    } else {
        leave(stop, serving).await;
        acts.judge(job, &seeded, arrived).await
    };
    verdict(judged?.as_str())
}

async fn leave(stop: oneshot::Sender<()>, serving: JoinHandle<Ended>) {
    let told = stop.send(());
    let ended = serving.await;
    tracing::debug!(?told, ?ended, "the service has left");
}

fn verdict(differences: &str) -> Result<(), Complaint> {
    match differences {
        "" => Ok(()),
        _ => Err(Complaint::failed(format!("the count differs: {differences}"), Advice::REPORT_DEMO)),
    }
}

/// What the steps have in common.
struct Acts<'a> {
    stage: &'a Stage,
    ports: &'a Ports,
    trial: &'a dyn TrialData,
    front: Front,
}

impl Acts<'_> {
    /// Writes the data, requests the deletion, and waits until it has completed and its objects are gone.
    async fn play(&self) -> Result<(BackgroundJobId, Seeded, Arrived), Complaint> {
        let plan = Plan { receipts: self.stage.receipts.into() };
        let root = self.stage.settings.attachments.folder.clone();
        let seeder = Seeder { plan, trial: self.trial, root };
        let total = (plan.receipts + plan.neighbours()).unsigned_abs();
        let mut meter = self.stage.screen.meter("making receipts", total);
        let seeded = seeder.seed(|done| meter.show(done)).await;
        meter.end();
        let seeded = seeded?;
        let job = self.front.delete_all().await?;
        let arrived = seeder.arrive().await?;
        self.follow(job).await?;
        self.clean_up().await?;
        Ok((BackgroundJobId(job), seeded, arrived))
    }

    async fn follow(&self, job: i64) -> Result<(), Complaint> {
        let mut meter = self.stage.screen.meter("deleting receipts", self.stage.receipts.into());
        let mut failures = 0;
        loop {
            let seen = match self.front.job(job).await {
                Ok(seen) => seen,
                Err(complaint) if failures >= LOOKS => return Err(complaint),
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
            };
            failures = 0;
            meter.show(seen.get("processed").and_then(Value::as_u64).unwrap_or_default());
            match seen.get("status").and_then(Value::as_str).unwrap_or_default() {
                "completed" => break,
                status @ ("failed" | "cancelled") => {
                    let error =
                        seen.get("last_error").and_then(Value::as_str).unwrap_or("no reason is known");
                    let text = format!("background job {job} {status}: {error}");
                    return Err(Complaint::failed(text, Advice::REPORT_DEMO));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
        meter.end();
        Ok(())
    }

    /// Waits until the outbox is empty, for at most [`CLEAN_UP`]. The count afterwards reports what is left.
    async fn clean_up(&self) -> Result<(), Complaint> {
        let until = Instant::now() + CLEAN_UP;
        let mut told = false;
        loop {
            let pending = self.ports.store.outbox.summary(None).await?.pending;
            if pending == 0 || Instant::now() >= until {
                return Ok(());
            }
            if !std::mem::replace(&mut told, true) {
                self.stage.screen.say(&format!(
                    "{pending} objects are still to be deleted; waiting up to {} for the Rescuer",
                    humantime::format_duration(CLEAN_UP)
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Counts and prints the result, and returns the differences.
    async fn judge(
        &self,
        job: BackgroundJobId,
        seeded: &Seeded,
        arrived: Arrived,
    ) -> Result<String, Complaint> {
        let root = &self.stage.settings.attachments.folder;
        let found = look(self.trial, &self.ports.store, root, job).await?;
        let took = found.job.as_ref().and_then(|job| (job.finished_at? - job.started_at?).to_std().ok());
        let report = Report {
            facts: facts(seeded, arrived, &found),
            receipts: self.stage.receipts.into(),
            seconds: took.unwrap_or_default().as_secs_f64(),
            memory: peak_memory(),
        };
        report.print(self.stage.json);
        Ok(report.differences())
    }
}
