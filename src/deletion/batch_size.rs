//! The size of the next batch: a pure rule; the caller passes the time.

use std::time::Duration;

use crate::job::Limit;

/// The largest batch, also the largest that can be configured.
const MOST: u32 = 1000;

/// The size of a deletion's batches.
#[derive(Clone, Debug)]
pub(super) struct BatchSize {
    first: u32,
    next: u32,
    /// The intended duration of a batch; without one, the size is fixed.
    aim: Limit,
}

impl BatchSize {
    /// Begins with `first` receipts; without an intended duration, it stays there.
    pub(super) fn new(first: u32, aim: Limit) -> Self {
        Self { first, next: first, aim }
    }

    /// The number of receipts for the next batch.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Adapts to a full batch that took this long: the next is as large as would have taken the intended
    /// time, but at most twice and at least half as large.
    pub(super) fn good(&mut self, took: Duration) {
        let Some(aim) = self.aim.duration() else { return };
        let fitting = u128::from(self.next) * aim.as_micros() / took.as_micros().max(1);
        let (least, most) = ((self.next / 2).max(1), self.next.saturating_mul(2).min(MOST));
        self.next = u32::try_from(fitting).unwrap_or(MOST).clamp(least, most);
    }

    /// Halves the next batch after a time limit of the database, even if the size is fixed otherwise.
    /// `false`: it cannot be smaller.
    pub(super) fn smaller(&mut self) -> bool {
        let can_be = self.next > 1;
        self.next = (self.next / 2).max(1);
        can_be
    }

    /// After a conflict or too slow a batch, halves the next one, to at most the first size. A fixed size
    /// stays.
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

    /// The sizes while each receipt takes this many microseconds.
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
