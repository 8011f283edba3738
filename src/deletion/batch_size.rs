//! How many receipts the next batch takes: a pure rule, with time from the caller.

use std::time::Duration;

use crate::job::Limit;

/// No batch is larger: it is as much as one may configure.
const MOST: u32 = 1000;

/// The size of a deletion's batches.
#[derive(Clone, Debug)]
pub(super) struct BatchSize {
    first: u32,
    next: u32,
    /// How long a batch may take; none: its size stays.
    aim: Limit,
}

impl BatchSize {
    /// Begins with `first` receipts, and stays there unless there is something to aim at.
    pub(super) fn new(first: u32, aim: Limit) -> Self {
        Self { first, next: first, aim }
    }

    /// Receipts of the next batch.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// A full batch took so long: the next is as large as would have taken the time that is aimed at, but at most
    /// twice as large, and at least half.
    pub(super) fn good(&mut self, took: Duration) {
        let Some(aim) = self.aim.duration() else { return };
        let fitting = u128::from(self.next) * aim.as_micros() / took.as_micros().max(1);
        let (least, most) = ((self.next / 2).max(1), self.next.saturating_mul(2).min(MOST));
        self.next = u32::try_from(fitting).unwrap_or(MOST).clamp(least, most);
    }

    /// A batch ran into a limit in time of the database: the next has half as many, also where sizes stay otherwise.
    /// `false`: none is smaller.
    pub(super) fn smaller(&mut self) -> bool {
        let can_be = self.next > 1;
        self.next = (self.next / 2).max(1);
        can_be
    }

    /// A batch met others at its rows, or took too long for the database: the next has half as many, and at most as
    /// many as the first.
    pub(super) fn unlucky(&mut self) {
        if self.aim.duration().is_some() {
            self.next = (self.next / 2).clamp(1, self.first.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIM: Limit = Limit::After(Duration::from_millis(100));

    /// The sizes while each receipt takes so many microseconds.
    fn sizes(size: &mut BatchSize, micros: u64, batches: usize) -> Vec<u32> {
        let mut sizes = Vec::new();
        for _ in 0..batches {
            size.good(Duration::from_micros(micros * u64::from(size.next())));
            sizes.push(size.next());
        }
        sizes
    }

    #[test]
    fn a_batch_grows_to_the_time_that_is_aimed_at_and_shrinks_with_it() {
        let mut size = BatchSize::new(50, AIM);
        assert_eq!(sizes(&mut size, 200, 5), [100, 200, 400, 500, 500]);
        assert_eq!(sizes(&mut size, 1000, 4), [250, 125, 100, 100]);
        assert_eq!(sizes(&mut size, 1, 6), [200, 400, 800, MOST, MOST, MOST]);
        assert_eq!(sizes(&mut size, 1_000_000, 12)[11], 1, "never none");
    }

    #[test]
    fn an_unlucky_batch_is_halved_and_at_most_the_first_size() {
        let mut size = BatchSize::new(50, AIM);
        assert_eq!(sizes(&mut size, 100, 3), [100, 200, 400]);
        size.unlucky();
        assert_eq!(size.next(), 50);
        size.unlucky();
        assert_eq!(size.next(), 25);
    }

    #[test]
    fn before_ten_failures_in_a_row_the_largest_batch_has_become_the_smallest() {
        let mut size = BatchSize::new(MOST, AIM);
        let sizes: Vec<_> = (0..10).map(|_| (size.unlucky(), size.next()).1).collect();
        assert_eq!(sizes, [500, 250, 125, 62, 31, 15, 7, 3, 1, 1]);
    }

    #[test]
    fn a_limit_in_time_halves_every_batch_until_none_is_smaller() {
        for aim in [AIM, Limit::Never] {
            let mut size = BatchSize::new(50, aim);
            let sizes: Vec<_> = (0..7).map(|_| (size.smaller(), size.next())).collect();
            let expected = [(true, 25), (true, 12), (true, 6), (true, 3), (true, 1), (false, 1), (false, 1)];
            assert_eq!(sizes, expected);
        }
    }

    #[test]
    fn without_an_aim_the_size_stays() {
        let mut size = BatchSize::new(50, Limit::Never);
        size.good(Duration::ZERO);
        size.good(Duration::from_secs(9));
        size.unlucky();
        assert_eq!(size.next(), 50);
    }
}
