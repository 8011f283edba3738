//! The definition of a metric: its name, kind and labels.

use metrics::{Counter, Gauge, Histogram, Label};

/// The kind of a metric, in Prometheus' terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only increases, from 0 at the start of the process.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// Counts values by size.
    Histogram,
}

impl Kind {
    /// The name of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric. Its unit is in its name.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels, in the order of the values given.
    pub labels: &'static [&'static str],
    /// Its meaning.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
}

impl Metric {
    /// The counter with these label values.
    pub fn counter(&self, values: &[&str]) -> Counter {
        metrics::counter!(self.name, self.labelled(values))
    }

    /// The gauge with these label values.
    pub fn gauge(&self, values: &[&str]) -> Gauge {
        metrics::gauge!(self.name, self.labelled(values))
    }

    /// The histogram with these label values.
    pub fn histogram(&self, values: &[&str]) -> Histogram {
        metrics::histogram!(self.name, self.labelled(values))
    }

    fn labelled(&self, values: &[&str]) -> Vec<Label> {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        self.labels.iter().zip(values).map(|(label, value)| Label::new(*label, (*value).to_owned())).collect()
    }
}
