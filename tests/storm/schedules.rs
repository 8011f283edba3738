//! Schedules that come due each minute, for a queue of Python. By the time that the processes start, nobody has kept time
//! for a while: each due time since then has one job, whoever leads, and however wrong the leader's clock is.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use tikkun::job::CronRule;
use tikkun::queue::{ScheduleMark, ScheduleStep};

use super::place::Place;
use super::python::{QUEUE, marks};

const RULE: &str = "* * * * *";
const COUNT: usize = 5;
/// For so long nobody has kept time: longer than the clock of any process is behind.
const BEFORE: TimeDelta = TimeDelta::minutes(8);

pub struct Schedules<'a> {
    place: &'a Place<'a>,
    since: DateTime<Utc>,
    folder: tempfile::TempDir,
}

impl<'a> Schedules<'a> {
    /// Makes the file, and notes in Redis how far each has come.
    pub async fn new(place: &'a Place<'a>) -> Self {
        let (since, folder) = (Utc::now() - BEFORE, tempfile::tempdir().unwrap());
        let schedules = Self { place, since, folder };
        let rule = CronRule::parse(RULE, Tz::UTC).unwrap().to_string();
        let mut text = format!("[worker]\nknown_queues = [\"{QUEUE}\"]\n");
        for number in 0..COUNT {
            let name = name(number);
            text += &format!(
                "[[schedule]]\nname = \"{name}\"\ncron = \"{RULE}\"\nfunction = \"shop.leave_a_mark\"\n\
                 queue = \"{QUEUE}\"\nretries = 100\nretry_delay = \"1s\"\nmissed = \"all\"\n"
            );
            let to = ScheduleMark { rule: rule.clone(), until: since, last: None };
            let step = ScheduleStep { name, from: None, to, jobs: Vec::new() };
            assert!(place.broker.mark_schedule(&step).await.unwrap());
        }
        std::fs::write(schedules.file(), text).unwrap();
        schedules
    }

    pub fn file(&self) -> String {
        self.folder.path().join("tikkun.toml").display().to_string()
    }

    /// Waits until each of their jobs has left its mark; how many there are.
    pub async fn have_run(&self) -> usize {
        let mut due = BTreeSet::new();
        for (name, mark) in self.place.broker.schedule_marks().await.unwrap() {
            let rule = CronRule::parse(RULE, Tz::UTC).unwrap();
            let mut times = std::iter::successors(rule.next_after(self.since), |time| rule.next_after(*time));
            due.extend(
                times
                    .by_ref()
                    .take_while(|time| *time <= mark.until)
                    .map(|time| format!("cron-{name}-{}", time.format("%Y%m%dT%H%M%SZ"))),
            );
        }
        assert!(due.len() >= COUNT, "no time has come: {due:?}");
        let all = async || due.is_subset(&marks(self.place)).then_some(());
        self.place.until("a mark of each due time", all).await;
        let all = marks(self.place).into_iter().filter(|id| id.starts_with("cron-")).collect::<BTreeSet<_>>();
        assert_eq!(all, due, "nothing comes before its time");
        due.len()
    }
}

fn name(number: usize) -> String {
    format!("each-minute-{number}")
}
