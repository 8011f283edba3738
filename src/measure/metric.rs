//! One figure: its name, what it is, and how it is told apart by labels.

use metrics::{Counter, Gauge, Histogram, Label};

/// What sort of figure it is, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One figure. The unit is in its name.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// What it means, for people.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
}

impl Metric {
    /// The counter under these values of its labels.
    pub fn counter(&self, values: &[&str]) -> Counter {
        metrics::counter!(self.name, self.labelled(values))
    }

    /// The gauge under these values of its labels.
    pub fn gauge(&self, values: &[&str]) -> Gauge {
        metrics::gauge!(self.name, self.labelled(values))
    }

    /// The histogram under these values of its labels.
    pub fn histogram(&self, values: &[&str]) -> Histogram {
        metrics::histogram!(self.name, self.labelled(values))
    }

    fn labelled(&self, values: &[&str]) -> Vec<Label> {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        self.labels.iter().zip(values).map(|(label, value)| Label::new(*label, (*value).to_owned())).collect()
    }
}
