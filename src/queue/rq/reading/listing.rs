//! Lists of jobs, newest first: RQ's lists and registries are each read from the newest end, in windows, and
//! merged.
//!
//! Users expect the order of creation. RQ's lists have nearly, but not exactly, that order. A job at most
//! [`SLACK`] entries from its proper position is listed correctly; one further away may be missing from a
//! page.

use std::collections::{BTreeMap, BTreeSet};

use super::look::PLACES;
use super::outline::{Choice, Outline};
use crate::fault::Fault;
use crate::job::{JobRecord, JobState, QueueName};
use crate::queue::rq::server::Server;
use crate::queue::seen::{JobFilter, JobsFound};

/// The number of entries read from a list at a time.
const WINDOW: usize = 256;
/// How far a job may be from its proper position.
const SLACK: usize = 128;
/// The number of newest jobs that a search for a function or a text reads, because it has to decode each.
const SEARCHED: usize = 8_000;
/// The number of rate limits whose jobs are listed.
const LIMITS: usize = 1_000;

/// A list or registry, and the position up to which it was read.
#[derive(Debug)]
struct Line {
    key: String,
    /// A list has its newest entries at its end; a registry has them at the highest scores.
    is_list: bool,
    /// The number of entries read, from the newest.
    at: usize,
    /// Whether there are more entries.
    more: bool,
    /// It holds jobs of any queue; only their hashes tell which.
    of_all: bool,
    /// The creation time of the oldest job that was read.
    oldest: Option<String>,
}

impl Line {
    /// Requests `count` entries after the first `at`, newest first, or in a list the other way round.
    fn ask(&self, commands: &mut redis::Pipeline, at: usize, count: usize) {
        let at = isize::try_from(at).unwrap_or(isize::MAX / 2);
        let count = isize::try_from(count).unwrap_or(isize::MAX / 2);
        if self.is_list {
            commands.lrange(&self.key, -(at + count), -(at + 1));
        } else {
            commands.zrevrange(&self.key, at, at + count - 1);
        }
    }
}

impl Server {
    /// Jobs that match a filter, newest first; a search reports whether it stopped after its limit.
    pub(in crate::queue::rq) async fn jobs(&self, filter: &JobFilter) -> Result<JobsFound, Fault> {
        let what = || "list jobs".to_owned();
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let mark = match &filter.after {
            None => None,
            Some(after) => match self.outlines(&[after.as_str().to_owned()], false).await?.pop().flatten() {
                Some(job) => Some((job.made, job.id)),
                None => return Ok(JobsFound { jobs: Vec::new(), complete: false }),
            },
        };
        let queues = match &filter.queue {
            Some(queue) => vec![queue.clone()],
            None => self.queues().await?,
        };
        let mut limited = match filter.state {
            None | Some(JobState::Scheduled) => self.limited().await?,
            Some(_) => Vec::new(),
        };
        let mut complete = limited.len() <= LIMITS;
        limited.truncate(LIMITS);
        let choice = Choice::new(filter);
        let mut lines = self.lines(&queues, filter.state, limited);
        if let Some((made, _)) = &mark {
            self.pass(&mut lines, made).await?;
        }
        let mut pool = self.leftovers(&lines, &choice).await?;
        let mut chosen: BTreeSet<Outline> = BTreeSet::new();
        let mut looked = pool.len();
        let is_wanted = |job: &Outline| {
            mark.as_ref().is_none_or(|(made, id)| (&job.made, &job.id) < (made, id)) && choice.wants(job)
        };
        loop {
            looked += self.read_on(&mut lines, choice.searches(), &mut pool).await?;
            chosen.extend(safe(&lines, &mut pool).into_iter().filter(is_wanted));
            if choice.searches() && looked >= SEARCHED {
                // The search stops; older jobs that it has seen are included.
                chosen.extend(std::mem::take(&mut pool).into_values().filter(is_wanted));
                complete &= lines.iter().all(|line| !line.more);
                break;
            }
            if chosen.len() >= limit || lines.iter().all(|line| !line.more) {
                break;
            }
        }
        let ids: Vec<String> = chosen.into_iter().rev().take(limit).map(|job| job.id).collect();
        let mut found: BTreeMap<String, _> = self.read(&ids, what).await?.into_iter().collect();
        let found = ids.into_iter().filter_map(|id| found.remove_entry(&id)).collect();
        Ok(JobsFound { jobs: self.with_outcomes(found, JobRecord::folded, what).await?, complete })
    }

    fn lines(&self, queues: &[QueueName], state: Option<JobState>, limited: Vec<String>) -> Vec<Line> {
        let line = |key, is_list| Line { key, is_list, at: 0, more: true, of_all: false, oldest: None };
        let of_queue = |queue: &QueueName| {
            let name = queue.as_str();
            let list = state
                .is_none_or(|state| state == JobState::Queued)
                .then(|| line(self.keys.queue(name), true));
            let registries = PLACES.iter().filter(|(_, of)| state.is_none_or(|state| state == *of));
            let registries = registries.map(|(kind, _)| line(self.keys.registry(kind, name), false));
            list.into_iter().chain(registries).collect::<Vec<_>>()
        };
        let limited = limited.into_iter().map(|key| Line { of_all: true, ..line(key, false) });
        queues.iter().flat_map(of_queue).chain(limited).collect()
    }

    /// Jobs that reading from the newest ends would miss: new ones at the heads of lists, and the one whose
    /// whole id is searched for.
    async fn leftovers(
        &self,
        lines: &[Line],
        choice: &Choice<'_>,
    ) -> Result<BTreeMap<String, Outline>, Fault> {
        let mut commands = redis::pipe();
        for line in lines.iter().filter(|line| line.is_list) {
            commands.lrange(&line.key, 0, isize::try_from(SLACK).unwrap_or(isize::MAX));
        }
        let heads = self.lists(&mut commands, "list the heads of queues").await?;
        let ids: BTreeSet<String> = heads.into_iter().flatten().chain(choice.whole_id()).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let found = self.outlines(&ids, choice.searches()).await?.into_iter().flatten();
        let whole = choice.whole_id();
        let stray = |mut job: Outline| {
            job.homeless = whole.as_ref() == Some(&job.id);
            (job.id.clone(), job)
        };
        Ok(found.map(stray).collect())
    }

    /// The lists that these commands return; empty without commands. A key that is no list of jobs lists none.
    pub(super) async fn lists(
        &self,
        commands: &mut redis::Pipeline,
        what: &str,
    ) -> Result<Vec<Vec<String>>, Fault> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let lists = self.people.ask_each(commands, || what.to_owned()).await?;
        Ok(lists.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Reads the next window of each line that has more; returns how many jobs were read.
    async fn read_on(
        &self,
        lines: &mut [Line],
        kinds: bool,
        pool: &mut BTreeMap<String, Outline>,
    ) -> Result<usize, Fault> {
        let mut open: Vec<&mut Line> = lines.iter_mut().filter(|line| line.more).collect();
        let mut commands = redis::pipe();
        for line in &open {
            line.ask(&mut commands, line.at, WINDOW);
        }
        let windows = self.lists(&mut commands, "list jobs").await?;
        let ids: Vec<String> = windows.iter().flatten().cloned().collect();
        let mut outlines = self.outlines(&ids, kinds).await?.into_iter();
        for (line, window) in open.iter_mut().zip(&windows) {
            line.at += window.len();
            line.more = window.len() == WINDOW;
            for mut job in outlines.by_ref().take(window.len()).flatten() {
                job.homeless = line.of_all;
                if line.oldest.as_ref().is_none_or(|oldest| job.made < *oldest) {
                    line.oldest = Some(job.made.clone());
                }
                pool.insert(job.id.clone(), job);
            }
        }
        Ok(ids.len())
    }

    /// Skips jobs created after `made`, except for [`SLACK`] entries: a binary search in all lines at once.
    async fn pass(&self, lines: &mut [Line], made: &str) -> Result<(), Fault> {
        if lines.is_empty() {
            return Ok(());
        }
        let what = || "find the page of a list".to_owned();
        let mut commands = redis::pipe();
        for line in lines.iter() {
            if line.is_list {
                commands.llen(&line.key)
            } else {
                commands.zcard(&line.key)
            };
        }
        let lengths: Vec<Option<usize>> = self.people.ask_each(&mut commands, what).await?;
        let mut spans: Vec<_> = lengths.into_iter().map(|length| (0, length.unwrap_or(0))).collect();
        while spans.iter().any(|(from, to)| to - from > SLACK / 2) {
            let mut commands = redis::pipe();
            for (line, (from, to)) in lines.iter().zip(&spans) {
                line.ask(&mut commands, usize::midpoint(*from, *to), 1);
            }
            let middles = self.lists(&mut commands, "find the page of a list").await?;
            let ids: Vec<String> =
                middles.into_iter().map(|ids| ids.into_iter().next().unwrap_or_default()).collect();
            for ((from, to), job) in spans.iter_mut().zip(self.outlines(&ids, false).await?) {
                let middle = usize::midpoint(*from, *to);
                // A missing job tells nothing; skipping less is only slower.
                if job.is_some_and(|job| job.made.as_str() > made) {
                    *from = middle;
                } else {
                    *to = middle;
                }
            }
        }
        for (line, (from, _)) in lines.iter_mut().zip(spans) {
            line.at = from.saturating_sub(SLACK);
        }
        Ok(())
    }
}

/// Takes from the pool the jobs that are final: no line can still contain a newer one.
fn safe(lines: &[Line], pool: &mut BTreeMap<String, Outline>) -> Vec<Outline> {
    let open: Vec<_> = lines.iter().filter(|line| line.more).collect();
    // A line with more entries, but no remaining job so far, tells nothing yet.
    if open.iter().any(|line| line.oldest.is_none()) {
        return Vec::new();
    }
    let bound = open.iter().filter_map(|line| line.oldest.as_deref()).max().unwrap_or_default();
    pool.extract_if(.., |_, job| open.is_empty() || job.made.as_str() > bound).map(|(_, job)| job).collect()
}
