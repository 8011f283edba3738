//! Decides which schedules are due: pure functions of marks and the time. A decision counts only when the
//! broker has accepted its step.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::job::{Missed, Schedule};
use crate::queue::{ScheduleMark, ScheduleStep};

/// A due time older than this counts as missed; schedules have a resolution of one minute.
const ON_TIME: TimeDelta = TimeDelta::minutes(1);
/// The most jobs of one schedule in one step, the latest ones; it limits the effect of a long downtime.
const MOST: usize = 100;
/// A mark further ahead was made by a wrong clock; waiting for it would silence the schedule. Clocks that are right
/// differ by less, so that no process repeats a due time of another one.
const AHEAD: TimeDelta = TimeDelta::minutes(15);

/// A step for the broker, and how many due times it leaves out.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The step.
    pub step: ScheduleStep,
    /// Due times without a job; a minimum if there are very many.
    pub left_out: usize,
    /// The index of the schedule.
    place: usize,
}

/// All schedules, with the mark of each.
#[derive(Debug)]
pub struct Timetable {
    schedules: Arc<[Schedule]>,
    marks: Vec<Option<ScheduleMark>>,
    next: Vec<Option<DateTime<Utc>>>,
}

impl Timetable {
    /// The schedules with the broker's marks.
    #[must_use]
    pub fn new(schedules: Arc<[Schedule]>, marks: &BTreeMap<String, ScheduleMark>) -> Self {
        let marks: Vec<_> = schedules.iter().map(|schedule| marks.get(&schedule.name).cloned()).collect();
        let next = schedules.iter().zip(&marks).map(|(schedule, mark)| next(schedule, mark.as_ref()));
        Self { next: next.collect(), schedules, marks }
    }

    /// The steps that are due at `now`.
    #[must_use]
    pub fn due(&self, now: DateTime<Utc>) -> Vec<Planned> {
        let entries = self.schedules.iter().zip(self.marks.iter().zip(&self.next)).enumerate();
        let planned = entries.filter_map(|(place, (schedule, (mark, next)))| {
            let (step, left_out) = plan(schedule, (mark.as_ref(), *next), now)?;
            Some(Planned { step, left_out, place })
        });
        planned.collect()
    }

    /// Records that the broker has accepted the step.
    pub fn taken(&mut self, planned: &Planned) {
        let place = planned.place;
        if let (Some(schedule), Some(mark), Some(due)) =
            (self.schedules.get(place), self.marks.get_mut(place), self.next.get_mut(place))
        {
            *mark = Some(planned.step.to.clone());
            *due = next(schedule, mark.as_ref());
        }
    }
}

fn next(schedule: &Schedule, mark: Option<&ScheduleMark>) -> Option<DateTime<Utc>> {
    mark.and_then(|mark| schedule.rule.next_after(mark.until))
}

/// The step of a schedule, if one is due. `next` is its first due time after the mark.
fn plan(
    schedule: &Schedule,
    (mark, next): (Option<&ScheduleMark>, Option<DateTime<Utc>>),
    now: DateTime<Utc>,
) -> Option<(ScheduleStep, usize)> {
    let rule = schedule.rule.to_string();
    let usable = mark.filter(|mark| mark.rule == rule && mark.until - now <= AHEAD);
    let Some(usable) = usable else {
        // The schedule starts now: due times before it existed were not missed.
        let last = mark.and_then(|mark| mark.last);
        return Some((step(schedule, mark, ScheduleMark { rule, until: now.trunc_subsecs(3), last }), 0));
    };
    next.filter(|next| *next <= now)?;
    let due = schedule.rule.latest(usable.until, now, MOST + 1);
    let until = *due.last()?;
    let chosen = choose(schedule.missed, &due, now);
    let last = chosen.last().copied().or(usable.last);
    let mut step = step(schedule, mark, ScheduleMark { rule, until, last });
    step.jobs = chosen.iter().map(|time| schedule.job_at(*time)).collect();
    Some((step, due.len() - chosen.len()))
}

fn step(schedule: &Schedule, from: Option<&ScheduleMark>, to: ScheduleMark) -> ScheduleStep {
    ScheduleStep { name: schedule.name.clone(), from: from.cloned(), to, jobs: Vec::new() }
}

/// The due times that get a job, according to `missed`.
fn choose(missed: Missed, due: &[DateTime<Utc>], now: DateTime<Utc>) -> &[DateTime<Utc>] {
    let first = match missed {
        Missed::Skip => due.partition_point(|time| now - *time > ON_TIME),
        Missed::Once => due.len().saturating_sub(1),
        Missed::All => due.len().saturating_sub(MOST),
    };
    due.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Args, CronRule};
    use chrono_tz::Tz;
    use std::time::Duration;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-03-{text}Z").parse().unwrap()
    }

    fn schedule(fields: &str, missed: Missed) -> Schedule {
        Schedule {
            name: "s".to_owned(),
            rule: CronRule::parse(fields, Tz::UTC).unwrap(),
            kind: "k".into(),
            args: Args::default(),
            queue: "q".into(),
            timeout: None,
            retries: None,
            jitter: Duration::ZERO,
            missed,
        }
    }

    fn marked(schedule: &Schedule, until: &str) -> BTreeMap<String, ScheduleMark> {
        let mark = ScheduleMark { rule: schedule.rule.to_string(), until: at(until), last: None };
        [("s".to_owned(), mark)].into()
    }

    fn table(schedule: &Schedule, marks: &BTreeMap<String, ScheduleMark>) -> Timetable {
        Timetable::new(Arc::from([schedule.clone()]), marks)
    }

    fn ids(planned: &Planned) -> Vec<&str> {
        planned.step.jobs.iter().map(|job| job.id.as_str()).collect()
    }

    #[test]
    fn a_new_schedule_begins_now_and_catches_nothing_up() {
        let hourly = schedule("0 * * * *", Missed::All);
        let mut table = table(&hourly, &BTreeMap::new());
        let begin = table.due(at("01T10:30:00.123456")).remove(0);
        assert_eq!((begin.step.jobs.len(), &begin.step.from), (0, &None));
        assert_eq!(begin.step.to.until, at("01T10:30:00.123"), "as a broker can keep it");
        table.taken(&begin);
        assert_eq!(table.due(at("01T10:59:59")), []);
        let due = table.due(at("01T11:00:00")).remove(0);
        assert_eq!(ids(&due), ["cron-s-20260301T110000Z"]);
        table.taken(&due);
        assert_eq!(table.due(at("01T11:00:01")), [], "the second run changes nothing");
    }

    #[test]
    fn a_changed_rule_begins_anew() {
        let (old, new) = (schedule("0 0 1 1 *", Missed::All), schedule("* * * * *", Missed::All));
        let marks = marked(&old, "01T00:00:00");
        let begin = table(&new, &marks).due(at("20T10:00:00")).remove(0);
        assert_eq!((begin.step.jobs.len(), begin.step.to.until), (0, at("20T10:00:00")));
        assert_eq!(begin.step.from.as_ref(), marks.get("s"));
    }

    #[test]
    fn missed_times_follow_the_policy() {
        let table_of = |missed, until, now| {
            let schedule = schedule("0 * * * *", missed);
            let planned = table(&schedule, &marked(&schedule, until)).due(at(now)).remove(0);
            assert_eq!(planned.step.to.until, at("01T14:00:00"), "all of them are decided");
            let hours: Vec<String> = ids(&planned).iter().map(|id| id[16..18].to_owned()).collect();
            (hours.join(","), planned.left_out)
        };
        let late = |missed| table_of(missed, "01T11:00:00", "01T14:30:00");
        assert_eq!(late(Missed::Skip), (String::new(), 3));
        assert_eq!(late(Missed::Once), ("14".to_owned(), 2));
        assert_eq!(late(Missed::All), ("12,13,14".to_owned(), 0));
        let just = |missed| table_of(missed, "01T11:00:00", "01T14:00:30");
        assert_eq!(just(Missed::Skip), ("14".to_owned(), 2), "within its minute it is on time");
        assert_eq!(just(Missed::Once), ("14".to_owned(), 2));
        assert_eq!(just(Missed::All), ("12,13,14".to_owned(), 0));
    }

    #[test]
    fn catching_up_is_bounded_to_the_latest() {
        let minutely = schedule("* * * * *", Missed::All);
        let planned = table(&minutely, &marked(&minutely, "01T00:00:00")).due(at("20T00:00:00")).remove(0);
        assert_eq!(planned.step.jobs.len(), MOST);
        assert_eq!(ids(&planned).last(), Some(&"cron-s-20260320T000000Z"));
        assert!(planned.left_out > 0);
    }

    #[test]
    fn what_was_skipped_keeps_the_last_run_as_it_was() {
        let hourly = schedule("0 * * * *", Missed::Skip);
        let mut marks = marked(&hourly, "01T11:00:00");
        marks.get_mut("s").unwrap().last = Some(at("01T11:00:00"));
        let planned = table(&hourly, &marks).due(at("01T14:30:00")).remove(0);
        assert_eq!(planned.step.to.last, Some(at("01T11:00:00")));
    }

    #[test]
    fn a_clock_that_steps_back_a_little_repeats_nothing_and_a_wrong_one_silences_nothing() {
        let hourly = schedule("0 * * * *", Missed::All);
        assert_eq!(table(&hourly, &marked(&hourly, "01T12:00:00")).due(at("01T11:45:00")), []);
        for ahead in ["01T14:00:00", "28T12:00:00"] {
            let anew = table(&hourly, &marked(&hourly, ahead)).due(at("01T11:30:00")).remove(0);
            assert_eq!((anew.step.jobs.len(), anew.step.to.until), (0, at("01T11:30:00")), "{ahead}");
        }
    }
}
