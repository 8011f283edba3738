//! A job to enqueue, and a job as its queue stores it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::args::weight;
use super::{
    Args, ArgsError, Callbacks, Job, JobChanges, JobId, JobSettings, JobState, KindName, Limit, QueueEnd,
    QueueName, WebhookJob, Webhooks,
};

/// Retries enqueued with the job, as in RQ's `Retry(max=…, interval=…)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// The retries left after the one that failed.
    pub left: u32,
    /// The delays; the last one repeats. Empty: no delay.
    pub intervals: Vec<Duration>,
}

/// A uniqueness key: of several jobs with the same key only the first is enqueued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// Unique in the whole broker; it should begin with the function's name.
    pub key: String,
    /// The key is held while its job is open, and at least this long after enqueueing.
    pub period: Option<Duration>,
}

/// A job to enqueue. Fields that are `None` use the settings of the job's kind.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its id; must be new in its broker.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its function.
    pub kind: KindName,
    /// Its arguments.
    pub args: Args,
    /// The time limit of an attempt.
    pub timeout: Option<Limit>,
    /// Its own retries.
    pub retries: Option<Retries>,
    /// How long its result is kept.
    pub result_ttl: Option<Limit>,
    /// How long its failure is kept.
    pub failure_ttl: Option<Limit>,
    /// The delay before it is put into its queue.
    pub delay: Option<Duration>,
    /// Its position in the queue.
    pub end: QueueEnd,
    /// Its uniqueness key.
    pub unique: Option<Unique>,
    /// Free for use by the application.
    pub meta: Map<String, Value>,
}

impl NewJob {
    /// A job for the tail of `queue`, with all other settings from its kind.
    pub fn new(
        id: impl Into<JobId>,
        queue: impl Into<QueueName>,
        kind: impl Into<KindName>,
        args: Args,
    ) -> Self {
        Self {
            id: id.into(),
            queue: queue.into(),
            kind: kind.into(),
            args,
            timeout: None,
            retries: None,
            result_ttl: None,
            failure_ttl: None,
            delay: None,
            end: QueueEnd::Tail,
            unique: None,
            meta: Map::new(),
        }
    }

    /// A job of the kind `J` with typed arguments.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tikkun::job::{ArgsError, Completion, Job, JobContext, JobResult, NewJob};
    /// #[derive(Deserialize, Serialize)]
    /// struct Greet {
    ///     name: String,
    /// }
    /// # struct Greeting;
    /// # impl Job for Greeting {
    /// #     const NAME: &'static str = "shop.greet";
    /// #     type Args = Greet;
    /// #     async fn run(&self, _: Greet, _: &JobContext) -> JobResult { Ok(Completion::done()) }
    /// # }
    ///
    /// let job = NewJob::of::<Greeting>("greet-1", "default", &Greet { name: "Dana".into() })?;
    /// assert_eq!(job.kind.as_str(), "shop.greet");
    /// # Ok::<(), ArgsError>(())
    /// ```
    ///
    /// # Errors
    /// When the arguments are neither a struct nor a tuple nor `()`.
    pub fn of<J>(id: impl Into<JobId>, queue: impl Into<QueueName>, args: &J::Args) -> Result<Self, ArgsError>
    where
        J: Job,
        J::Args: Serialize,
    {
        Ok(Self::new(id, queue, J::NAME, Args::of(args)?))
    }
}

/// The most memory, in bytes, of arguments or a result that is kept in lists of records.
pub const LIGHT: usize = 64 << 10;

/// The most characters of an error in a list, where each job has a line.
const REASON: usize = 1000;

/// A job as its queue stores it. Fields that are `None` were not enqueued with the job, or have not happened
/// yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobRecord {
    /// The queue's id of the job.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its function.
    pub kind: KindName,
    /// Its arguments, or why they cannot be read.
    #[serde(serialize_with = "args_or_error")]
    pub args: Result<Args, ArgsError>,
    /// Its state.
    pub state: JobState,
    /// The number of starts, rescues included.
    pub attempt: u32,
    /// The number of failed attempts.
    pub failures: u32,
    /// How often its process died during an attempt.
    pub orphaned: u32,
    /// Times it was run again because it asked for it by what it returned.
    pub retries_asked: u32,
    /// Time for one attempt.
    pub timeout: Option<Limit>,
    /// Its own retries.
    pub retries: Option<Retries>,
    /// How long its result is kept.
    pub result_ttl: Option<Limit>,
    /// How long its failure is kept.
    pub failure_ttl: Option<Limit>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last put into its queue.
    pub enqueued_at: Option<DateTime<Utc>>,
    /// When a scheduled job is due.
    pub due_at: Option<DateTime<Utc>>,
    /// When its last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its result.
    pub result: Option<Value>,
    /// The error of its last attempt.
    pub error: Option<String>,
    /// Whether it failed because a user stopped it.
    pub stopped: bool,
    /// Free for use by the application.
    pub meta: Map<String, Value>,
    /// The callbacks for its end.
    #[serde(skip_serializing_if = "Callbacks::is_empty")]
    pub callbacks: Callbacks,
    /// The HTTP requests that are made when it has ended; never shown, for they may hold secrets.
    #[serde(skip)]
    pub webhooks: Webhooks,
    /// A remark on its end, such as a callback that this process has not registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

fn args_or_error<S: Serializer>(args: &Result<Args, ArgsError>, to: S) -> Result<S::Ok, S::Error> {
    match args {
        Ok(args) => args.serialize(to),
        Err(error) => to.collect_map([("error", error.to_string())]),
    }
}

impl JobRecord {
    /// What its webhooks need at its end; `None` if it has none.
    #[must_use]
    pub fn webhook_job(&self) -> Option<WebhookJob> {
        (!self.webhooks.is_empty()).then(|| WebhookJob {
            id: self.id.clone(),
            function: self.kind.clone(),
            enqueued_at: self.enqueued_at,
            webhooks: self.webhooks.clone(),
        })
    }

    /// The record of a job that is enqueued at `now`.
    #[must_use]
    pub fn of(job: NewJob, now: DateTime<Utc>) -> Self {
        let due_at = job.delay.and_then(|delay| now.checked_add_signed(TimeDelta::from_std(delay).ok()?));
        Self {
            state: if due_at.is_some() { JobState::Scheduled } else { JobState::Queued },
            enqueued_at: due_at.is_none().then_some(now),
            due_at,
            id: job.id,
            queue: job.queue,
            kind: job.kind,
            args: Ok(job.args),
            attempt: 0,
            failures: 0,
            orphaned: 0,
            retries_asked: 0,
            timeout: job.timeout,
            retries: job.retries,
            result_ttl: job.result_ttl,
            failure_ttl: job.failure_ttl,
            created_at: now,
            started_at: None,
            ended_at: None,
            result: None,
            error: None,
            stopped: false,
            meta: job.meta,
            callbacks: Callbacks::default(),
            webhooks: Webhooks::default(),
            remark: None,
        }
    }

    /// Why the last attempt failed, in a line: the last one of the error, cut after a thousand characters.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let line = self.error.as_deref()?.trim_end().rsplit('\n').next()?;
        let cut = line.char_indices().nth(REASON).and_then(|(end, _)| line.get(..end));
        Some(cut.map_or_else(|| line.to_owned(), |beginning| format!("{beginning}…")))
    }

    /// The record without large values, for lists: of arguments heavier than [`LIGHT`] only their weight is
    /// kept, of such a result nothing, of an error its [reason](Self::reason).
    #[must_use]
    pub fn folded(mut self) -> Self {
        let args = self.args.as_ref().map_or(0, Args::weight);
        if args > LIGHT {
            self.args = Err(ArgsError::folded(args));
        }
        self.result = self.result.filter(|result| weight(result) <= LIGHT);
        self.error = self.reason();
        self
    }

    /// The same with what the job's code has changed of it.
    #[must_use]
    pub fn changed(mut self, changes: &JobChanges) -> Self {
        self.result_ttl = changes.result_ttl.or(self.result_ttl);
        self.failure_ttl = changes.failure_ttl.or(self.failure_ttl);
        let (left, intervals) =
            self.retries.map_or((None, None), |own| (Some(own.left), Some(own.intervals)));
        // Intervals alone are no retries.
        self.retries = changes.retries_left.or(left).map(|left| Retries {
            left,
            intervals: changes.retry_intervals.clone().or(intervals).unwrap_or_default(),
        });
        self
    }

    /// The time one attempt has.
    #[must_use]
    pub fn time_limit(&self, settings: &JobSettings) -> Limit {
        self.timeout.unwrap_or(settings.timeout)
    }

    /// The delay until the next attempt after one failed now; `None` if no retry is left. `chance` is a
    /// random number from 0 to 1 from the caller.
    #[must_use]
    pub fn retry_delay(&self, settings: &JobSettings, chance: f64) -> Option<Duration> {
        match &self.retries {
            Some(retries) if retries.left > 0 => {
                let passed = retries.intervals.len().saturating_sub(retries.left as usize);
                Some(retries.intervals.get(passed).copied().unwrap_or_default())
            }
            Some(_) => None,
            None => {
                let failures = self.failures.saturating_add(1);
                (failures <= settings.retry.retries).then(|| settings.retry.backoff.delay(failures, chance))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::RetryPolicy;

    fn record() -> JobRecord {
        JobRecord::of(NewJob::new("j", "q", "k", Args::default()), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_delayed_job_is_scheduled_and_has_not_come_into_its_queue() {
        let delay = Some(Duration::from_secs(60));
        let job = JobRecord::of(
            NewJob { delay, ..NewJob::new("j", "q", "k", Args::default()) },
            DateTime::UNIX_EPOCH,
        );
        assert_eq!((job.state, job.enqueued_at), (JobState::Scheduled, None));
        assert_eq!(job.due_at.map(|at| at.timestamp()), Some(60));
        assert_eq!(record().state, JobState::Queued);
    }

    #[test]
    fn a_reason_is_the_last_line_and_at_most_a_thousand_characters() {
        let reason = |error: &str| JobRecord { error: Some(error.into()), ..record() }.reason().unwrap();
        assert_eq!(reason("Traceback\nValueError: no\n"), "ValueError: no");
        assert_eq!(reason(&"ק".repeat(1000)), "ק".repeat(1000));
        assert_eq!(reason(&"ק".repeat(1001)), format!("{}…", "ק".repeat(1000)));
        assert_eq!(record().reason(), None);
    }

    #[test]
    fn intervals_of_the_job_follow_rqs_rule() {
        let intervals = vec![10, 30, 60].into_iter().map(Duration::from_secs).collect::<Vec<_>>();
        let waits: Vec<_> = (1..=5)
            .rev()
            .map(|left| {
                let mut job = record();
                job.retries = Some(Retries { left, intervals: intervals.clone() });
                job.retry_delay(&JobSettings::default(), 0.5).unwrap().as_secs()
            })
            .collect();
        assert_eq!(waits, [10, 10, 10, 30, 60]);
    }

    #[test]
    fn what_a_job_changed_of_itself_counts_at_its_end() {
        let changes =
            JobChanges { retries_left: Some(2), result_ttl: Some(Limit::Never), ..JobChanges::default() };
        let job = record().changed(&changes);
        assert_eq!((job.result_ttl, job.failure_ttl), (Some(Limit::Never), None));
        assert_eq!(job.retry_delay(&JobSettings::default(), 0.5), Some(Duration::ZERO));
        let intervals = Some(vec![Duration::from_secs(9)]);
        let job = job.changed(&JobChanges { retry_intervals: intervals, ..JobChanges::default() });
        assert_eq!(job.retry_delay(&JobSettings::default(), 0.5), Some(Duration::from_secs(9)));
        assert_eq!(record().changed(&JobChanges::default()), record());
        let intervals = JobChanges { retry_intervals: Some(vec![]), ..JobChanges::default() };
        assert_eq!(record().changed(&intervals).retries, None, "its kind decides");
    }

    #[test]
    fn a_job_with_no_retries_of_its_own_follows_its_kind() {
        let settings = JobSettings { retry: RetryPolicy::exponential(2), ..JobSettings::default() };
        let mut job = record();
        assert_eq!(job.retry_delay(&settings, 0.5), Some(Duration::from_secs(5)));
        job.failures = 2;
        assert_eq!(job.retry_delay(&settings, 0.5), None);
        job.retries = Some(Retries { left: 0, intervals: vec![] });
        job.failures = 0;
        assert_eq!(job.retry_delay(&settings, 0.5), None);
    }
}
