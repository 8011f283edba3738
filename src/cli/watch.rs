//! `tikkun watch`: follows a background job until it ends.

use std::io::{IsTerminal as _, stdout};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::views::{background_job, paused_by};
use super::{Common, page, spans};
use crate::job::background::{BackgroundJob, PauseReason, Status};
use crate::job::{BackgroundJobId, QueueName};
use crate::operations::present;
use crate::queue::Broker;
use crate::runtime::JobPorts;

/// The bar, then the progress, the rate and the remaining time in words.
const BAR: &str = "{bar:24.cyan/dim} {msg}";

/// Options of `watch`.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The id of the row in `background_jobs`.
    id: i64,
    /// The time between two reads.
    #[arg(long, default_value = "500ms", value_parser = spans::some_time)]
    every: Duration,
}

impl Watch {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        finish(common.with_found_ports(async move |settings, ports| {
            let screen = match (json, stdout().is_terminal()) {
                (true, _) => Screen::Json { last: Value::Null },
                (false, true) => Screen::bar(),
                (false, false) => Screen::Lines { last: String::new() },
            };
            self.follow(&ports, &settings.deletion.queue, screen).await
        }))
    }

    async fn follow(self, ports: &JobPorts, queue: &QueueName, mut screen: Screen) -> Result<(), Complaint> {
        let mut silent = false;
        loop {
            match ports.store.background_jobs.get(BackgroundJobId(self.id)).await {
                Ok(Some(job)) => {
                    silent = false;
                    let unheard = job.status == Status::Queued && !listened_to(&*ports.broker, queue).await;
                    screen.show(&job, &in_words(&job, unheard.then_some(queue)));
                    if !job.status.is_active() {
                        screen.close();
                        return ended(&job);
                    }
                }
                Ok(None) => {
                    screen.close();
                    let text = format!("there is no background job {}", self.id);
                    return Err(Complaint::failed(text, Advice::LIST_DELETIONS));
                }
                Err(fault) if fault.is_retryable() => {
                    if !std::mem::replace(&mut silent, true) {
                        screen.say(&format!(
                            "cannot look now, going on to try: {}",
                            page::safe(&fault.chain())
                        ));
                    }
                }
                Err(fault) => return Err(fault.into()),
            }
            tokio::time::sleep(self.every).await;
        }
    }
}

/// Whether a live process listens to `queue`. An error counts as yes, so that no false alarm is shown.
async fn listened_to(broker: &dyn Broker, queue: &QueueName) -> bool {
    present(broker).await.is_ok_and(|all| all.iter().any(|process| process.listens_to(queue)))
}

fn ended(job: &BackgroundJob) -> Result<(), Complaint> {
    let why = job.last_error.as_ref().map_or_else(String::new, |error| format!(": {}", page::safe(error)));
    let next = Advice::retry_deletion(job.id);
    match job.status {
        Status::Completed => Ok(()),
        Status::Cancelled => Err(Complaint::failed(format!("background job {} was cancelled", job.id), next)),
        status => Err(Complaint::failed(format!("background job {} {status}{why}", job.id), next)),
    }
}

/// The state of the job in one line; `unheard` is its queue if no process listens to it.
fn in_words(job: &BackgroundJob, unheard: Option<&QueueName>) -> String {
    let progress = &job.progress;
    let mut text =
        format!("{} {}/{} ({:.1}%)", job.status, progress.processed, progress.total, progress.percent());
    if progress.failed > 0 {
        text += &format!(", {} failed", progress.failed);
    }
    if let (Status::Running, Some(rate)) = (job.status, job.note.rate) {
        text += &format!(", {rate:.0}/s");
    }
    if let (Status::Running, Some(eta)) = (job.status, job.note.eta_seconds) {
        text += &format!(", {} left", spans::short(eta));
    }
    if let Some(what) = job.note.waiting_for.as_ref().filter(|_| job.status.is_active()) {
        text += &format!(", waits: {}", page::safe(what));
    }
    match paused_by(job) {
        Some(PauseReason::Continuation) => text += ", makes room for others and goes on by itself",
        Some(PauseReason::Person) => {
            let by = job.note.changed_by.as_deref().unwrap_or("a person");
            text += &format!(", paused by {}; goes on when it is resumed", page::safe(by));
        }
        None => {}
    }
    if let Some(queue) = unheard {
        text += &format!(", waits: no live process listens to queue `{queue}`");
    }
    text
}

/// The output: a progress bar, lines or JSON.
enum Screen {
    Bar(ProgressBar),
    Lines { last: String },
    Json { last: Value },
}

impl Screen {
    fn bar() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template(BAR);
        Self::Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    fn show(&mut self, job: &BackgroundJob, words: &str) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(job.progress.total.unsigned_abs());
                bar.set_position(job.progress.processed.unsigned_abs());
                bar.set_message(words.to_owned());
            }
            Self::Lines { last } if last != words => {
                page::line(words);
                words.clone_into(last);
            }
            Self::Json { last } => {
                let value = page::object(background_job(job));
                if *last != value {
                    page::line(&value.to_string());
                    *last = value;
                }
            }
            Self::Lines { .. } => {}
        }
    }

    /// Prints a message on standard error without breaking the bar.
    fn say(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| page::note(text)),
            Self::Lines { .. } | Self::Json { .. } => page::note(text),
        }
    }

    fn close(self) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }
}
