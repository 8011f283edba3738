//! The recorder of all metrics, and its text format.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::list;
use super::metric::Kind;

/// A process has one recorder, however many services run in it.
static INSTALLED: OnceLock<Option<Exposition>> = OnceLock::new();

/// Outcomes that are shown as 0 before they happen, so that the first failure is seen as an increase. Counters
/// without labels begin at 0 by themselves.
const FROM_ZERO: &[(&super::Metric, &[&str])] = &[
    (&list::JOBS_RESCUED, &["returned", "retried", "failed"]),
    (&list::JOBS_ABANDONED, &["returned", "retried", "failed"]),
    (&list::WEBHOOKS, &["sent", "failed", "dropped"]),
    (&list::RECEIPTS, &["deleted", "set_aside"]),
    (&list::BATCH_FAULTS, &["unavailable", "retryable", "permanent"]),
    (&list::OBJECTS, &["deleted", "failed"]),
    (&list::PYTHON_ENDED, &["left", "died", "jobs", "lifetime", "memory", "timeout", "dirty", "other"]),
];

/// A handle to the recorded metrics.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

/// Installs the recorder; repeated calls do nothing. `None` if the program has a recorder of its own, which
/// then records Tikkun's metrics, too.
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
            Kind::Counter => {
                metrics::describe_counter!(metric.name, metric.help);
                if metric.labels.is_empty() {
                    metric.counter(&[]).increment(0);
                }
            }
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    for (metric, values) in FROM_ZERO {
        for value in *values {
            metric.counter(&[value]).increment(0);
        }
    }
}

impl Exposition {
    /// All metrics in Prometheus' text format, sorted.
    #[must_use]
    pub fn render(&self) -> String {
        in_order(&self.0.render())
    }

    /// Aggregates the values recorded in histograms; until then each of them takes up memory.
    pub fn add_up(&self) {
        self.0.run_upkeep();
    }
}

/// Sorts metrics by name and series by label. In the text, metrics are separated by empty lines.
fn in_order(text: &str) -> String {
    let metrics = text.split("\n\n").map(str::trim).filter(|metric| !metric.is_empty());
    let mut metrics: Vec<String> = metrics
        .map(|metric| {
            let mut lines: Vec<&str> = metric.lines().collect();
            lines.sort_by(|one, other| labels(one).cmp(&labels(other)));
            lines.join("\n")
        })
        .collect();
    metrics.sort_unstable();
    metrics.join("\n\n") + "\n"
}

/// The labels of a series without `le`, so that buckets keep their numerical order; `None` for a comment.
fn labels(line: &str) -> Option<&str> {
    if line.starts_with('#') {
        return None;
    }
    let inner = line.split_once('{').map_or("", |(_, inner)| inner);
    let end = if inner.starts_with("le=\"") { Some(0) } else { inner.find(",le=\"") };
    inner.get(..end.or_else(|| inner.rfind('}')).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_without_labels_are_0_before_anything_is_counted() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, describe);
        let (shown, mut checked) = (recorder.handle().render(), 0);
        for metric in list::all().filter(|one| one.kind == Kind::Counter && one.labels.is_empty()) {
            assert!(shown.contains(&format!("\n{} 0\n", metric.name)), "{}: {shown}", metric.name);
            checked += 1;
        }
        assert!(checked > 0);
    }

    #[test]
    fn series_are_by_label_and_buckets_stay_as_they_were() {
        let given = "# HELP b x\n# TYPE b histogram\nb_bucket{q=\"z\",le=\"5\"} 1\nb_bucket{q=\"z\",le=\"15\"} 1\nb_sum{q=\"z\"} 1\n\
                     b_bucket{q=\"a\",le=\"5\"} 1\nb_bucket{q=\"a\",le=\"15\"} 1\nb_sum{q=\"a\"} 1\n\n\
                     # TYPE a gauge\na{schedule=\"2\"} 1\na{schedule=\"1\"} 1\n\n";
        let wanted = "# HELP b x\n# TYPE b histogram\nb_bucket{q=\"a\",le=\"5\"} 1\nb_bucket{q=\"a\",le=\"15\"} 1\nb_sum{q=\"a\"} 1\n\
                      b_bucket{q=\"z\",le=\"5\"} 1\nb_bucket{q=\"z\",le=\"15\"} 1\nb_sum{q=\"z\"} 1\n\n\
                      # TYPE a gauge\na{schedule=\"1\"} 1\na{schedule=\"2\"} 1\n";
        assert_eq!(in_order(given), wanted);
    }
}
