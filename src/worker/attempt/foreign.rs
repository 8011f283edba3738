//! An attempt at a job whose function is in another program.

use std::sync::Arc;

use super::disposition::{after_attempt, cut_off, outcome};
use super::run::Attempt;
use crate::job::{ForeignJob, ForeignJobs, JobError, own_words};
use crate::queue::{Disposition, Settlement};
use crate::supervision::catch_panic;
use crate::user_log::USER_LOG;

/// Runs the job in the other program, which keeps its time and calls its callbacks. A drain lets it go on for as long
/// as jobs may take to stop.
pub(crate) async fn run_foreign(attempt: &Attempt, jobs: &dyn ForeignJobs) -> Settlement {
    let job = &attempt.delivery.job;
    let Some(hash) = &attempt.delivery.hash else {
        let error = "the queue hands over no jobs of other programs: they need RQ's queues on Redis";
        return attempt.settlement(attempt.unknown(JobError::permanent(error), false).await);
    };
    if !jobs.is_quiet() {
        tracing::info!(
            target: USER_LOG,
            { job.id = %job.id, job.kind = %job.kind, job.attempt = job.attempt, queue.name = %job.queue },
            "🔨 JOB PICKED queue='{}' job_id={} function={}", job.queue, job.id, attempt.function()
        );
    }
    let ctx = attempt.context();
    let execution = &attempt.delivery.execution;
    let handed = ForeignJob { record: job, execution, worker: &hash.worker, fields: &hash.fields };
    let ended = tokio::select! {
        biased;
        ended = catch_panic(jobs.run(handed, &ctx)) => outcome(ended),
        () = attempt.control.drained_for(attempt.grace) => cut_off(&attempt.settings, attempt.grace),
    };
    let mut words = own_words(&ended).cloned();
    let changed = words.as_ref().map(|words| job.clone().changed(&words.changes));
    let verdict = after_attempt(changed.as_ref().unwrap_or(job), &attempt.settings, ended, fastrand::f64());
    if let Some(error) = verdict.error() {
        let again = matches!(verdict, Disposition::RetryAt { .. });
        attempt.log_failed(job.id.as_str(), error, again);
    }
    if !jobs.lists_failures() && matches!(verdict, Disposition::Discard { .. } | Disposition::Stop { .. }) {
        Arc::make_mut(words.get_or_insert_default()).unlisted = true;
    }
    attempt.settlement((verdict, None, words))
}
