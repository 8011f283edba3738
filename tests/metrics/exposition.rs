//! One answer of `/metrics`, checked by a real Prometheus parser.

use std::collections::{BTreeMap, BTreeSet};

use super::process::Service;
use super::promtool::promtool;

/// Every series with its value, and every metric with its kind.
#[derive(Clone, Debug)]
pub struct Exposition {
    pub text: String,
    series: BTreeMap<String, f64>,
    pub kinds: BTreeMap<String, String>,
}

impl Exposition {
    /// Scrapes without a secret, as Prometheus does.
    pub fn scrape(service: &Service) -> Self {
        let answer = service.call("GET", "/metrics", &[]).expect(200);
        assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::read(answer.body)
    }

    fn read(text: String) -> Self {
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {name}");
        }
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let kinds = kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        Self { series, kinds, text }
    }

    /// The same, once Prometheus' own parser and linter have nothing against it.
    pub fn checked(self) -> Self {
        assert_eq!(promtool(&["check", "metrics"], &self.text), "", "{}", self.text);
        self
    }

    /// The value of one series, as it is written.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// The sum of all series of a metric whose labels hold all of this.
    pub fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        let ours = |name: &str| {
            let (found, given) = name.split_once('{').unwrap_or((name, ""));
            found == metric && labels.iter().all(|label| given.contains(label))
        };
        self.series.iter().filter(|(name, _)| ours(name)).map(|(_, value)| value).sum()
    }

    /// The values that a label has.
    pub fn values_of(&self, label: &str) -> BTreeSet<String> {
        let opening = format!("{label}=\"");
        let values = self.series.keys().flat_map(|name| name.split(opening.as_str()).skip(1));
        values.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    }
}
