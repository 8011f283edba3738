//! Metrics of the Python processes.

use std::collections::BTreeMap;

use crate::measure::list;
use crate::python::{PoolCounts, PoolSnapshot, ProcessState};

/// The reasons for leaving that are told by their own name; what follows a colon is left out.
const REASONS: [&str; 5] = ["jobs", "lifetime", "memory", "timeout", "dirty"];

/// Sets the metrics of all pools together; without processes the gauges are 0.
pub(super) fn show(pools: &[PoolSnapshot]) {
    let children = || pools.iter().flat_map(|pool| &pool.children);
    for state in ProcessState::ALL {
        let count = children().filter(|row| row.state == state).count();
        list::PYTHON_PROCESSES.gauge(&[state.as_str()]).set(count as f64);
    }
    let memory: u64 = children().filter_map(|row| row.memory).map(|memory| memory.private).sum();
    list::PYTHON_MEMORY.gauge(&[]).set(memory as f64);
    if pools.is_empty() {
        return;
    }
    let sum = |count: fn(&PoolCounts) -> u64| pools.iter().map(|pool| count(&pool.counts)).sum::<u64>();
    list::PYTHON_STARTED.counter(&[]).absolute(sum(|counts| counts.forked));
    list::PYTHON_FORK_FAILURES.counter(&[]).absolute(sum(|counts| counts.fork_failures));
    let mut all = BTreeMap::<_, u64>::new();
    for (reason, ended) in pools.iter().flat_map(|pool| ends(&pool.counts)) {
        *all.entry(reason).or_default() += ended;
    }
    for (reason, ended) in all {
        list::PYTHON_ENDED.counter(&[reason]).absolute(ended);
    }
}

/// How many ended for which reason; each is counted once.
fn ends(counts: &PoolCounts) -> BTreeMap<&'static str, u64> {
    let given: u64 = counts.reasons.values().sum();
    let mut ends = BTreeMap::from([("died", counts.died), ("left", counts.left.saturating_sub(given))]);
    for (reason, count) in &counts.reasons {
        let word = reason.split(':').next().unwrap_or_default();
        *ends.entry(REASONS.into_iter().find(|known| *known == word).unwrap_or("other")).or_default() +=
            count;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_counted_once_under_a_word_that_is_known_beforehand() {
        let reasons = [("jobs", 2), ("dirty: threads", 3), ("dirty: cwd", 1), ("exit", 1)];
        let counts = PoolCounts {
            left: 10,
            died: 4,
            reasons: reasons.map(|(reason, count)| (reason.to_owned(), count)).into(),
            ..PoolCounts::default()
        };
        let expected = [("died", 4), ("dirty", 4), ("jobs", 2), ("left", 3), ("other", 1)];
        assert_eq!(ends(&counts), expected.into());
    }
}
