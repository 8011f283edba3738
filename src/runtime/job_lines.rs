//! A tracing layer that keeps log lines per job, besides the log itself: events inside a span with the field
//! `job.id`, and events that have that field themselves.
//!
//! For an event without a job only its spans are checked. The filter of the log applies here, too.

use std::fmt;
use std::sync::Arc;

use chrono::Utc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::text_line::Facts;
use crate::job_log::{JobLine, JobLog};
use crate::user_log::USER_LOG;

/// The field with the id of a job.
const JOB: &str = "job.id";

pub(super) struct JobLinesLayer(pub(super) Arc<JobLog>);

/// Stored in a span: the job that it belongs to.
struct OfJob(Arc<str>);

/// Collects the job's id from fields.
#[derive(Default)]
struct JobName(Option<String>);

impl Visit for JobName {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == JOB {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == JOB {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

impl<S> Layer<S> for JobLinesLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if attributes.fields().field(JOB).is_some() {
            let mut name = JobName::default();
            attributes.record(&mut name);
            remember(name, id, &ctx);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let mut name = JobName::default();
        values.record(&mut name);
        remember(name, id, &ctx);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        // The outermost span with the field belongs to the attempt; inner ones may name other jobs.
        let spans = ctx.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let of_span = spans.into_iter().find_map(|span| {
            let extensions = span.extensions();
            extensions.get::<OfJob>().map(|of| Arc::clone(&of.0))
        });
        match of_span {
            Some(job) => self.keep(&job, event),
            None if event.metadata().fields().field(JOB).is_some() => {
                let mut name = JobName::default();
                event.record(&mut name);
                if let Some(job) = name.0 {
                    self.keep(&job, event);
                }
            }
            None => {}
        }
    }
}

fn remember<S>(name: JobName, id: &Id, ctx: &Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if let (Some(name), Some(span)) = (name.0, ctx.span(id)) {
        span.extensions_mut().replace(OfJob(name.into()));
    }
}

impl JobLinesLayer {
    fn keep(&self, job: &str, event: &Event<'_>) {
        let mut facts = Facts::default();
        event.record(&mut facts);
        let metadata = event.metadata();
        if metadata.target() != USER_LOG {
            facts.message.push_str(&facts.fields);
        }
        let (text, level) = (facts.message.trim_start().into(), metadata.level().as_str());
        self.0.write(job, JobLine { at: Utc::now(), level, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_log::JobLogBounds;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn kept(work: impl FnOnce()) -> Arc<JobLog> {
        let log = Arc::new(JobLog::new(JobLogBounds { lines: 10, bytes: 1 << 20 }));
        let subscriber = tracing_subscriber::registry().with(JobLinesLayer(Arc::clone(&log)));
        tracing::subscriber::with_default(subscriber, work);
        log
    }

    fn texts(log: &JobLog, job: &str) -> Vec<String> {
        log.of(job).lines.iter().map(|line| format!("{} {}", line.level, line.text)).collect()
    }

    #[test]
    fn what_is_said_inside_a_jobs_span_is_that_jobs() {
        let log = kept(|| {
            tracing::info!("before any job");
            let span = tracing::info_span!("attempt", job.id = %"a-1", job.attempt = 2);
            span.in_scope(|| {
                tracing::info!(rows = 3, "read");
                let inner = tracing::info_span!("step", job.id = "another");
                inner.in_scope(|| tracing::warn!("slow\nand two lines"));
                tracing::info!(job.id = "27", "its number elsewhere");
            });
        });
        assert_eq!(
            texts(&log, "a-1"),
            ["INFO read rows=3", "WARN slow\\nand two lines", "INFO its number elsewhere job.id=\"27\""]
        );
        assert_eq!((log.count("another"), log.count("27")), (0, 0));
    }

    #[test]
    fn an_event_may_name_its_job_itself_and_a_span_may_learn_it_later() {
        let log = kept(|| {
            tracing::error!(target: USER_LOG, { job.id = "a-1", error = "no" }, "❌ JOB FAILED");
            let span = tracing::info_span!("late", job.id = tracing::field::Empty);
            span.record("job.id", "b-1");
            span.in_scope(|| tracing::info!("here"));
        });
        assert_eq!(texts(&log, "a-1"), ["ERROR ❌ JOB FAILED"]);
        assert_eq!(texts(&log, "b-1"), ["INFO here"]);
    }
}
