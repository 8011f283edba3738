//! Metrics of the attempts at the jobs of one queue. Handles are kept, so that no labels are built per job,
//! and unregistered function names never become labels.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram};

use super::Unanswered;
use super::list::{ACTOR_MESSAGES, JOB_ATTEMPTS, JOB_RUN, JOB_WAIT, JOBS_IN_FLIGHT, QUEUE_OUTAGE};

/// The label for all unregistered functions.
const OTHER: &str = "other";

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The job finished.
    Finished,
    /// The job failed for good.
    Failed,
    /// A user stopped the job.
    Stopped,
    /// The attempt failed, and the job is retried.
    Retried,
    /// The job was given back without a failure.
    Returned,
    /// The job was sent to another queue.
    Forwarded,
    /// The result came after the job had been given to another worker, and does not count.
    Fenced,
}

impl AttemptEnd {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Finished, "finished"),
        (Self::Failed, "failed"),
        (Self::Stopped, "stopped"),
        (Self::Retried, "retried"),
        (Self::Returned, "returned"),
        (Self::Forwarded, "forwarded"),
        (Self::Fenced, "fenced"),
    ];
}

/// Records the attempts at the jobs of one queue.
pub struct QueueMeter {
    queue: String,
    /// The index in `meters` of each registered function, by all its spellings.
    spelled: HashMap<String, usize>,
    /// One per function, and one for all others; created with the first job.
    meters: Vec<(&'static str, OnceLock<Arc<FunctionMeter>>)>,
    in_flight: Gauge,
    messages: Gauge,
}

struct FunctionMeter {
    ends: Vec<Counter>,
    run: Histogram,
    wait: Histogram,
}

impl QueueMeter {
    /// A meter for `queue`; `functions` are names with the spellings under which each may be enqueued.
    pub fn new(queue: &str, functions: impl Iterator<Item = (&'static str, Vec<String>)>) -> Self {
        let (mut spelled, mut meters) = (HashMap::new(), vec![(OTHER, OnceLock::new())]);
        for (name, spellings) in functions {
            spelled.extend(spellings.into_iter().map(|spelling| (spelling, meters.len())));
            meters.push((name, OnceLock::new()));
        }
        let (in_flight, messages) =
            (JOBS_IN_FLIGHT.gauge(&[queue]), ACTOR_MESSAGES.gauge(&["queue_listener"]));
        // So that both are shown before the first job.
        in_flight.increment(0.0);
        QUEUE_OUTAGE.gauge(&[queue]).increment(0.0);
        Self { queue: queue.to_owned(), spelled, meters, in_flight, messages }
    }

    /// Records the start of an attempt at a job that has waited for this time.
    #[must_use]
    pub fn begin(&self, function: &str, waited: Option<Duration>) -> UnderWay {
        let meter = self.of(function);
        if let (Some(meter), Some(waited)) = (&meter, waited) {
            meter.wait.record(waited);
        }
        self.in_flight.increment(1.0);
        UnderWay { meter, began: Instant::now(), in_flight: Some(self.in_flight.clone()) }
    }

    /// Counts a message to the queue's listener.
    #[must_use]
    pub fn message(&self) -> Unanswered {
        Unanswered::counted(self.messages.clone())
    }

    fn of(&self, function: &str) -> Option<Arc<FunctionMeter>> {
        let place = self.spelled.get(function).copied().unwrap_or_default();
        let (name, meter) = self.meters.get(place)?;
        Some(Arc::clone(meter.get_or_init(|| Arc::new(FunctionMeter::new(&self.queue, name)))))
    }
}

impl FunctionMeter {
    fn new(queue: &str, function: &str) -> Self {
        let end = |(_, word): &(AttemptEnd, &str)| {
            let counter = JOB_ATTEMPTS.counter(&[queue, function, word]);
            // Shown as 0 first: otherwise the first failure would not be seen as an increase.
            counter.increment(0);
            counter
        };
        Self {
            ends: AttemptEnd::ALL.iter().map(end).collect(),
            run: JOB_RUN.histogram(&[queue, function]),
            wait: JOB_WAIT.histogram(&[queue, function]),
        }
    }
}

/// An attempt being measured; it counts as in flight until it has ended or is dropped.
pub struct UnderWay {
    meter: Option<Arc<FunctionMeter>>,
    began: Instant,
    in_flight: Option<Gauge>,
}

impl UnderWay {
    /// Records that the attempt has ended; its result is not written yet.
    pub fn ended(&mut self) {
        self.land();
        if let Some(meter) = &self.meter {
            meter.run.record(self.began.elapsed());
        }
    }

    /// Records that its result has been written.
    pub fn settled(&self, end: AttemptEnd) {
        if let Some(counter) = self.meter.as_ref().and_then(|meter| meter.ends.get(end as usize)) {
            counter.increment(1);
        }
    }

    fn land(&mut self) {
        if let Some(gauge) = self.in_flight.take() {
            gauge.decrement(1.0);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.land();
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn series(text: &str) -> usize {
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count()
    }

    #[test]
    fn ten_thousand_made_up_functions_are_one() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let functions = [("shop.greet", vec!["shop.greet".to_owned(), "greet".to_owned()])];
            let meter = QueueMeter::new("default", functions.into_iter());
            let run = |function: &str| {
                let mut under_way = meter.begin(function, Some(Duration::from_millis(1)));
                under_way.ended();
                under_way.settled(AttemptEnd::Failed);
            };
            run("shop.greet");
            run("greet");
            run("made.up.0");
            let before = series(&handle.render());
            (1..10_000).for_each(|number| run(&format!("made.up.{number}")));
            let text = handle.render();
            assert_eq!(series(&text), before);
            assert!(!text.contains("made"), "{text}");
            for (function, count) in [("shop.greet", 2), ("other", 10_000)] {
                let line = format!(
                    "tikkun_job_attempts_total{{queue=\"default\",function=\"{function}\",outcome=\"failed\"}} {count}"
                );
                assert!(text.contains(&line), "{line}\n{text}");
            }
        });
    }

    #[test]
    fn every_end_is_counted_under_its_own_word() {
        for (place, (end, _)) in AttemptEnd::ALL.iter().enumerate() {
            assert_eq!(*end as usize, place);
        }
    }

    #[test]
    fn an_attempt_that_is_dropped_is_not_in_flight_any_more() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let meter = QueueMeter::new("default", std::iter::empty());
            let (mut ended, dropped) = (meter.begin("a", None), meter.begin("b", None));
            assert!(handle.render().contains("tikkun_jobs_in_flight{queue=\"default\"} 2"));
            ended.ended();
            drop((ended, dropped));
            assert!(handle.render().contains("tikkun_jobs_in_flight{queue=\"default\"} 0"));
        });
    }
}
