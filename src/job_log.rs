//! The newest log lines of each job that this process has written, for the page and the API. They are kept in
//! memory within two limits, and lost with a restart.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

/// The estimated memory of a line besides its text, and of a job besides its lines, in bytes.
const OVERHEAD: usize = 64;
/// The longest text of a line, in bytes; the rest is cut off.
const LONGEST: usize = 4096;

/// One log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLine {
    /// The time.
    pub at: DateTime<Utc>,
    /// The level: `ERROR` to `TRACE`.
    pub level: &'static str,
    /// Message and fields.
    pub text: Box<str>,
}

/// The lines of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobLines {
    /// Oldest first.
    pub lines: Vec<JobLine>,
    /// How many earlier lines are no longer kept.
    pub dropped: u64,
}

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLogBounds {
    /// The most lines per job; with 0 none are kept.
    pub lines: usize,
    /// The most bytes of all jobs together.
    pub bytes: usize,
}

/// The lines of all jobs.
#[derive(Debug)]
pub struct JobLog(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    bounds: JobLogBounds,
    bytes: usize,
    /// Counts writes, to find the job that has been silent for longest.
    clock: u64,
    jobs: HashMap<Arc<str>, OfJob>,
    by_write: BTreeMap<u64, Arc<str>>,
}

#[derive(Debug, Default)]
struct OfJob {
    lines: VecDeque<JobLine>,
    dropped: u64,
    bytes: usize,
    written: u64,
}

static OF_PROCESS: LazyLock<Arc<JobLog>> =
    LazyLock::new(|| Arc::new(JobLog::new(JobLogBounds { lines: 0, bytes: 0 })));

impl JobLog {
    /// An empty log.
    #[must_use]
    pub fn new(bounds: JobLogBounds) -> Self {
        let (jobs, by_write) = (HashMap::new(), BTreeMap::new());
        Self(Mutex::new(Kept { bounds, bytes: 0, clock: 0, jobs, by_write }))
    }

    /// The log of this process, which has one. It keeps nothing before [`keep`](Self::keep) sets limits.
    #[must_use]
    pub fn of_process() -> Arc<Self> {
        Arc::clone(&OF_PROCESS)
    }

    /// Sets the limits from now on.
    pub fn keep(&self, bounds: JobLogBounds) {
        self.0.lock().bounds = bounds;
    }

    /// Adds a line. If there is no room, the jobs that have been silent for longest are dropped.
    pub fn write(&self, job: &str, mut line: JobLine) {
        if line.text.len() > LONGEST {
            let cut = line.text.floor_char_boundary(LONGEST);
            line.text = format!("{}…", &line.text.get(..cut).unwrap_or_default()).into();
        }
        self.0.lock().write(job, line);
    }

    /// The kept lines of a job.
    #[must_use]
    pub fn of(&self, job: &str) -> JobLines {
        let kept = self.0.lock();
        let lines = |of: &OfJob| JobLines { lines: of.lines.iter().cloned().collect(), dropped: of.dropped };
        kept.jobs.get(job).map(lines).unwrap_or_default()
    }

    /// How many lines a job has written, kept or not; 0 once the job is dropped.
    #[must_use]
    pub fn count(&self, job: &str) -> u64 {
        let kept = self.0.lock();
        kept.jobs.get(job).map_or(0, |of| of.dropped + of.lines.len() as u64)
    }
}

impl Kept {
    fn write(&mut self, job: &str, line: JobLine) {
        if self.bounds.lines == 0 {
            return;
        }
        self.clock += 1;
        let name = self.jobs.get_key_value(job).map_or_else(|| Arc::from(job), |(name, _)| Arc::clone(name));
        let of = self.jobs.entry(Arc::clone(&name)).or_insert_with(|| {
            let bytes = OVERHEAD + job.len();
            self.bytes += bytes;
            OfJob { bytes, ..OfJob::default() }
        });
        self.by_write.remove(&of.written);
        of.written = self.clock;
        self.by_write.insert(self.clock, name);
        let before = of.bytes;
        of.bytes += size(&line);
        of.lines.push_back(line);
        while of.lines.len() > self.bounds.lines {
            of.drop_oldest();
        }
        self.bytes = self.bytes + of.bytes - before;
        self.make_room();
    }

    /// Drops the jobs that have been silent for longest; if one job is left, its oldest lines.
    fn make_room(&mut self) {
        while self.bytes > self.bounds.bytes && self.by_write.len() > 1 {
            let Some((_, name)) = self.by_write.pop_first() else { break };
            self.bytes -= self.jobs.remove(&name).map_or(0, |of| of.bytes);
        }
        let Some(last) = self.by_write.values().next_back().and_then(|name| self.jobs.get_mut(name)) else {
            return;
        };
        while self.bytes > self.bounds.bytes && last.lines.len() > 1 {
            let before = last.bytes;
            last.drop_oldest();
            self.bytes -= before - last.bytes;
        }
    }
}

impl OfJob {
    fn drop_oldest(&mut self) {
        if let Some(line) = self.lines.pop_front() {
            self.bytes -= size(&line);
            self.dropped += 1;
        }
    }
}

fn size(line: &JobLine) -> usize {
    OVERHEAD + line.text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> JobLine {
        JobLine { at: DateTime::UNIX_EPOCH, level: "INFO", text: text.into() }
    }

    fn texts(log: &JobLog, job: &str) -> Vec<String> {
        log.of(job).lines.iter().map(|line| line.text.to_string()).collect()
    }

    fn bytes(log: &JobLog) -> (usize, usize) {
        let kept = log.0.lock();
        (kept.bytes, kept.jobs.values().map(|of| of.bytes).sum())
    }

    #[test]
    fn of_each_job_the_newest_lines_are_kept_and_the_others_are_counted() {
        let log = JobLog::new(JobLogBounds { lines: 3, bytes: 1 << 20 });
        for number in 1..=5 {
            log.write("a", line(&number.to_string()));
        }
        log.write("b", line("alone"));
        assert_eq!(texts(&log, "a"), ["3", "4", "5"]);
        assert_eq!((log.of("a").dropped, log.count("a"), log.count("b"), log.count("c")), (2, 5, 1, 0));
    }

    #[test]
    fn memory_is_bounded_and_the_job_that_was_silent_for_longest_makes_room() {
        let log = JobLog::new(JobLogBounds { lines: 100, bytes: 5000 });
        for number in 0..1000 {
            log.write(&format!("job-{}", number % 50), line("something of forty bytes, or a little less."));
            log.write("busy", line("b"));
            let (counted, there) = bytes(&log);
            assert!(counted <= 5000 && counted == there, "{counted} counted, {there} there");
        }
        assert!(!texts(&log, "busy").is_empty(), "whoever writes stays");
        assert!(!texts(&log, "job-49").is_empty(), "the newest is there");
        assert!(texts(&log, "job-0").is_empty(), "the oldest is not");
    }

    #[test]
    fn one_job_alone_stays_within_the_bound_and_long_lines_are_cut() {
        let log = JobLog::new(JobLogBounds { lines: 100, bytes: 10_000 });
        for _ in 0..20 {
            log.write("a", line(&"ק".repeat(10_000)));
        }
        let kept = log.of("a");
        assert!(bytes(&log).0 <= 10_000 && !kept.lines.is_empty() && kept.dropped >= 17, "{}", kept.dropped);
        assert!(kept.lines.iter().all(|line| line.text.len() <= LONGEST + '…'.len_utf8()));
    }

    #[test]
    fn without_lines_nothing_is_kept() {
        let log = JobLog::new(JobLogBounds { lines: 0, bytes: 1 << 20 });
        log.write("a", line("x"));
        assert_eq!((log.of("a"), log.count("a"), bytes(&log).0), (JobLines::default(), 0, 0));
    }
}
