//! Calls the enqueuer's callback for the end of a job, if it is a registered kind of job. At the end of an
//! attempt it may be called twice: if a process dies before the end is written, another process ends the job.
//! For a job whose process died it is called at most once.

use std::sync::Arc;

use serde_json::{Value, json};

use super::not_running::NotRunning;
use crate::job::{Args, Callback, Callbacks, JobContext, JobError, JobErrorKind, JobId, QueueName, Registry};
use crate::supervision::catch_panic;

/// The ended job.
#[derive(Clone, Copy)]
pub(crate) struct Ended<'a> {
    pub(crate) id: &'a JobId,
    pub(crate) queue: &'a QueueName,
    pub(crate) attempt: u32,
}

/// The result of a callback.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Called {
    /// A remark for the job's record.
    pub(crate) remark: Option<String>,
    /// The error, if it failed.
    pub(crate) error: Option<String>,
}

impl Called {
    /// Calls the callback with the job's id and `rest`; does nothing if there is none.
    async fn of(
        registry: &Registry,
        callback: Option<&Callback>,
        ended: Ended<'_>,
        rest: Option<Value>,
    ) -> Self {
        let Some(callback) = callback else { return Self::default() };
        let function = &callback.function;
        let Ok(kind) = registry.find(function) else {
            let remark = Self::unregistered(registry, callback);
            tracing::warn!(job.id = %ended.id, queue.name = %ended.queue, callback = %function,
                "a job's enqueuer wants a function to be called that is not registered here; the job's end stands");
            return Self { remark, error: None };
        };
        let args = Args::positional([json!(ended.id)].into_iter().chain(rest));
        let (id, queue) = (ended.id.clone(), ended.queue.clone());
        let ctx = JobContext::new(id, queue, function.clone(), ended.attempt, Arc::new(NotRunning));
        let called = tokio::time::timeout(callback.timeout, catch_panic(kind.run(&args, &ctx))).await;
        let error = match called {
            Ok(Ok(Ok(_))) => return Self::default(),
            Ok(Ok(Err(error))) => error.message,
            Ok(Err(panic)) => format!("it panicked: {panic}"),
            // RQ's own text.
            Err(_) => format!("Task exceeded maximum timeout value ({} seconds)", callback.timeout.as_secs()),
        };
        tracing::warn!(job.id = %ended.id, queue.name = %ended.queue, callback = %function, error,
            "a function that was called after a job failed");
        Self { remark: None, error: Some(format!("callback `{function}`: {error}")) }
    }

    /// A remark for the job's record that its callback is not registered.
    pub(crate) fn unregistered(registry: &Registry, callback: &Callback) -> Option<String> {
        let function = &callback.function;
        let nobody = registry.find(function).is_err();
        nobody.then(|| format!("the callback `{function}` is not registered here and was not called"))
    }

    /// The enqueuer's callback for this end.
    pub(crate) fn named<'a>(callbacks: &'a Callbacks, error: Option<&JobError>) -> Option<&'a Callback> {
        match error {
            None => callbacks.success.as_ref(),
            Some(error) if error.kind == JobErrorKind::Stopped => callbacks.stopped.as_ref(),
            Some(_) => callbacks.failure.as_ref(),
        }
    }

    /// The result for a callback that did not end before its process left; otherwise like
    /// [`Self::after_error`] and [`Self::after_success`].
    pub(crate) fn dropped(callbacks: &Callbacks, error: Option<&JobError>) -> Self {
        let remark = |callback: &Callback| {
            format!(
                "the callback `{}` did not end before its process had to leave, and was dropped",
                callback.function
            )
        };
        Self { remark: Self::named(callbacks, error).map(remark), error: None }
    }

    /// Calls the callback for a successful job.
    pub(crate) async fn after_success(
        registry: &Registry,
        callbacks: &Callbacks,
        ended: Ended<'_>,
        result: &Value,
    ) -> Self {
        Self::of(registry, callbacks.success.as_ref(), ended, Some(result.clone())).await
    }

    /// Calls the callback for an attempt that failed with `error`, or for a job that a user stopped.
    pub(crate) async fn after_error(
        registry: &Registry,
        callbacks: &Callbacks,
        ended: Ended<'_>,
        error: &JobError,
    ) -> Self {
        if error.kind != JobErrorKind::Stopped {
            let told = Some(json!(error.message));
            return Self::of(registry, callbacks.failure.as_ref(), ended, told).await;
        }
        let called = Self::of(registry, callbacks.stopped.as_ref(), ended, None).await;
        Self { error: None, ..called }
    }
}
