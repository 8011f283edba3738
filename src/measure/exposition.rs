//! The recorder that everything is counted in, and its text.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::list;
use super::metric::Kind;

/// One process has one recorder, however many services run in it.
static INSTALLED: OnceLock<Option<Exposition>> = OnceLock::new();

/// Outcomes that are shown as 0 before they have happened: a first failure is seen as a step only from there.
const FROM_ZERO: &[(&super::Metric, &[&str])] = &[
    (&list::JOBS_RESCUED, &["returned", "retried", "failed"]),
    (&list::JOBS_ABANDONED, &["returned", "retried", "failed"]),
    (&list::RECEIPTS, &["deleted", "set_aside"]),
    (&list::BATCH_FAULTS, &["unavailable", "retryable", "permanent"]),
    (&list::OBJECTS, &["deleted", "failed"]),
];

/// What is shown of all that was counted.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

/// Begins to count; once more does nothing. None when this program has a recorder of its own, which then counts
/// for Tikkun too.
pub fn install() -> Option<Exposition> {
    INSTALLED.get_or_init(begin).clone()
}

fn begin() -> Option<Exposition> {
    let with_buckets = list::all().filter(|metric| metric.kind == Kind::Histogram).try_fold(
        PrometheusBuilder::new(),
        |builder, metric| {
            builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), metric.buckets)
        },
    );
    let recorder = match with_buckets {
        Ok(builder) => builder.build_recorder(),
        Err(error) => {
            tracing::error!(%error, "a histogram has no buckets; nothing is counted");
            return None;
        }
    };
    let exposition = Exposition(recorder.handle());
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::info!("this program counts by a recorder of its own; /metrics is not served");
        return None;
    }
    describe();
    Some(exposition)
}

fn describe() {
    for metric in list::all() {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    for (metric, values) in FROM_ZERO {
        for value in *values {
            metric.counter(&[value]).increment(0);
        }
    }
    list::JOBS_ENQUEUED_ANEW.counter(&[]).increment(0);
}

impl Exposition {
    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Adds up what histograms were given since the last time. Until then each value takes up room.
    pub fn add_up(&self) {
        self.0.run_upkeep();
    }
}
