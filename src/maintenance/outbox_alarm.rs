//! Decides when to report that objects wait too long to be deleted: once, until none does.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::store::OutboxSummary;

/// Whether the alarm is raised.
#[derive(Debug, Default)]
pub(super) struct OutboxAlarm {
    raised: bool,
}

impl OutboxAlarm {
    /// The age of the oldest object, if the alarm is to be reported now.
    pub(super) fn look(
        &mut self,
        outbox: &OutboxSummary,
        now: DateTime<Utc>,
        after: Duration,
    ) -> Option<Duration> {
        let overdue = outbox.age(now).filter(|age| *age > after);
        let stood = std::mem::replace(&mut self.raised, overdue.is_some());
        overdue.filter(|_| !stood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_is_raised_once_until_nothing_is_overdue() {
        let mut alarm = OutboxAlarm::default();
        let (hour, now) = (Duration::from_secs(3600), Utc::now());
        let mut look = |hours: Option<i64>| {
            let oldest = hours.map(|hours| now - chrono::TimeDelta::hours(hours));
            alarm.look(&OutboxSummary { oldest, ..OutboxSummary::default() }, now, hour)
        };
        assert_eq!((look(None), look(Some(1))), (None, None));
        assert_eq!(look(Some(2)), Some(hour * 2));
        assert_eq!((look(Some(2)), look(Some(3))), (None, None));
        assert_eq!(look(None), None);
        assert_eq!(look(Some(5)), Some(hour * 5), "a new one");
    }
}
