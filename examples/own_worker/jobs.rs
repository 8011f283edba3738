//! The jobs of this worker: one whose first attempt fails, and a slow one that reports its progress.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tikkun::job::{
    Backoff, Completion, Job, JobContext, JobError, JobResult, JobSettings, Limit, Progress, QueueEnd,
    RetryPolicy, StopReason,
};

/// Whom to remind of which receipt.
#[derive(Debug, Deserialize, Serialize)]
pub struct Reminder {
    /// The receipt.
    pub receipt_id: i64,
    /// The address.
    pub to: String,
}

/// Stands for a mail server, which is busy the first time.
#[derive(Debug, Default)]
pub struct MailServer {
    awake: AtomicBool,
}

/// What it says then.
#[derive(Debug, thiserror::Error)]
#[error("the mail server is busy")]
pub struct Busy;

impl MailServer {
    fn send(&self, _letter: &str) -> Result<(), Busy> {
        if self.awake.swap(true, Ordering::AcqRel) { Ok(()) } else { Err(Busy) }
    }
}

/// Sends one reminder. A kind of job owns what it works with.
#[derive(Debug, Default)]
pub struct SendReminder {
    /// Takes the letters.
    pub mail: MailServer,
}

impl Job for SendReminder {
    const NAME: &'static str = "shop.jobs.send_reminder";
    type Args = Reminder;

    fn settings(&self) -> JobSettings {
        let backoff = Backoff {
            first: Duration::from_millis(200),
            factor: 2.0,
            cap: Duration::from_secs(60),
            jitter: 0.1,
        };
        JobSettings {
            timeout: Limit::After(Duration::from_secs(30)),
            retry: RetryPolicy { retries: 3, backoff },
            ..JobSettings::default()
        }
    }

    async fn run(&self, Reminder { receipt_id, to }: Reminder, ctx: &JobContext) -> JobResult {
        if !to.contains('@') {
            // No retry would help.
            return Err(JobError::permanent(format!("`{to}` is no address")));
        }
        // `?` on any error is a failed attempt, which the retry policy looks at.
        self.mail.send(&format!("To: {to}\n\nReceipt {receipt_id} waits for you."))?;
        Ok(Completion::Finished(json!({ "sent_to": to, "attempt": ctx.attempt })))
    }
}

/// A document.
#[derive(Debug, Deserialize, Serialize)]
pub struct Document {
    /// Its pages.
    pub pages: i64,
}

/// Reads a document, page by page.
#[derive(Debug)]
pub struct ReadDocument;

/// Time for one page.
const PAGE: Duration = Duration::from_millis(100);

impl Job for ReadDocument {
    const NAME: &'static str = "shop.jobs.read_document";
    type Args = Document;

    async fn run(&self, Document { pages }: Document, ctx: &JobContext) -> JobResult {
        for page in 1..=pages {
            // A safe point: whoever wants the job to stop is heard here.
            match ctx.sleep(PAGE).await {
                Ok(()) => {}
                Err(StopReason::Draining) => return Ok(Completion::Continue(QueueEnd::Head)),
                Err(reason) => return Err(reason.error()),
            }
            ctx.report(Progress { total: pages, processed: page, succeeded: page, failed: 0 });
        }
        Ok(Completion::Finished(json!({ "pages": pages })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tikkun::job::{JobErrorKind, Rehearsal};

    fn reminder(to: &str) -> Reminder {
        Reminder { receipt_id: 27, to: to.to_owned() }
    }

    #[actix_rt::test]
    async fn reminder_fails_while_the_mail_server_is_busy_and_is_sent_then() {
        let job = SendReminder::default();
        let first = Rehearsal::new().run(&job, reminder("dana@example.com")).await;
        assert_eq!(first, Err(JobError::retryable("the mail server is busy")));
        let second = Rehearsal::new().attempt(2).run(&job, reminder("dana@example.com")).await;
        let sent = json!({ "sent_to": "dana@example.com", "attempt": 2 });
        assert_eq!(second, Ok(Completion::Finished(sent)));
    }

    #[actix_rt::test]
    async fn reminder_to_nowhere_is_not_tried_again() {
        let ended = Rehearsal::new().run(&SendReminder::default(), reminder("dana")).await;
        assert_eq!(ended.unwrap_err().kind, JobErrorKind::Permanent);
    }

    #[actix_rt::test]
    async fn every_page_is_reported_and_a_drain_stops_between_two() {
        let whole = Rehearsal::new();
        assert!(whole.run(&ReadDocument, Document { pages: 3 }).await.is_ok());
        let told: Vec<_> = whole.reported().iter().map(|progress| progress.processed).collect();
        assert_eq!((told, whole.slept()), (vec![1, 2, 3], PAGE * 3));

        let drained = Rehearsal::new().stop_after(PAGE * 2, StopReason::Draining);
        let ended = drained.run(&ReadDocument, Document { pages: 3 }).await;
        assert_eq!((ended, drained.reported().len()), (Ok(Completion::Continue(QueueEnd::Head)), 2));
    }
}
