//! Reads jobs.

use crate::fault::Fault;
use crate::job::{JobId, JobRecord, JobState, QueueName};
use crate::queue::rq::server::{Fields, Server};
use crate::queue::rq::wire::{self, Hash, LastOutcome};

/// The number of jobs read in one round trip.
pub(in crate::queue::rq) const AT_ONCE: usize = 500;

/// The registries, with the state of their jobs.
pub(in crate::queue::rq) const PLACES: [(&str, JobState); 6] = [
    ("wip", JobState::Started),
    ("scheduled", JobState::Scheduled),
    ("deferred", JobState::Scheduled),
    ("finished", JobState::Finished),
    ("failed", JobState::Failed),
    ("canceled", JobState::Canceled),
];

impl Server {
    /// Every queue ever used.
    pub(in crate::queue::rq) async fn queues(&self) -> Result<Vec<QueueName>, Fault> {
        let mut commands = redis::pipe();
        commands.smembers(self.keys.queues());
        let (members,): (Vec<String>,) = self.people.ask(&commands, || "list queues".to_owned()).await?;
        let mut queues: Vec<QueueName> =
            members.iter().filter_map(|member| self.keys.queue_of(member)).map(QueueName::from).collect();
        queues.sort();
        Ok(queues)
    }

    /// One job.
    pub(in crate::queue::rq) async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, Fault> {
        let found = self.read(&[id.as_str().to_owned()], || format!("look at job {id}")).await?;
        let records = self.with_outcomes(found, |job| job, || format!("look at job {id}")).await;
        records.map(|mut records| records.pop())
    }

    /// The keys of the jobs that wait because of RQ's rate limits, one for each limit; the newest have the
    /// highest scores.
    pub(in crate::queue::rq) async fn limited(&self) -> Result<Vec<String>, Fault> {
        let mut commands = redis::pipe();
        commands.smembers(self.keys.limits());
        let (limits,): (Vec<String>,) = self.people.ask(&commands, || "list rate limits".to_owned()).await?;
        Ok(limits.iter().map(|limit| self.keys.limited(limit)).collect())
    }

    /// The hashes of existing jobs. An id may be a member of the registry of running jobs.
    pub(in crate::queue::rq) async fn read(
        &self,
        ids: &[String],
        what: impl Fn() -> String,
    ) -> Result<Vec<(String, Hash)>, Fault> {
        let mut found: Vec<(String, Hash)> = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            let mut commands = redis::pipe();
            for id in some {
                commands.hgetall(self.keys.job(id));
            }
            let hashes: Vec<Option<Fields>> = self.people.ask_each(&mut commands, &what).await?;
            let hashes = hashes.into_iter().map(Option::unwrap_or_default);
            let mut again = Vec::new();
            for (id, hash) in some.iter().zip(hashes) {
                match (hash.is_empty(), wire::split_member(id)) {
                    (false, _) => found.push((id.clone(), Hash(hash.into()))),
                    (true, (plain, Some(_))) => again.push(plain.to_owned()),
                    (true, (_, None)) => {}
                }
            }
            if !again.is_empty() {
                let mut commands = redis::pipe();
                for id in &again {
                    commands.hgetall(self.keys.job(id));
                }
                let hashes: Vec<Option<Fields>> = self.people.ask_each(&mut commands, &what).await?;
                let hashes = hashes.into_iter().map(Option::unwrap_or_default);
                let there = again.into_iter().zip(hashes).filter(|(_, hash)| !hash.is_empty());
                found.extend(there.map(|(id, hash)| (id, Hash(hash.into()))));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found.dedup_by(|(a, _), (b, _)| a == b);
        Ok(found)
    }

    /// Records, processed by `kept`, with their newest outcome and the due time of jobs that Python
    /// scheduled.
    pub(in crate::queue::rq) async fn with_outcomes(
        &self,
        found: Vec<(String, Hash)>,
        kept: impl Fn(JobRecord) -> JobRecord,
        what: impl Fn() -> String,
    ) -> Result<Vec<JobRecord>, Fault> {
        let mut records = Vec::with_capacity(found.len());
        let mut found = found.into_iter().peekable();
        while found.peek().is_some() {
            let some: Vec<_> = found.by_ref().take(AT_ONCE).collect();
            let mut commands = redis::pipe();
            for (id, hash) in &some {
                commands.cmd("XREVRANGE").arg(self.keys.results(id)).arg("+").arg("-").arg("COUNT").arg(1);
                commands.zscore(self.keys.registry("scheduled", hash.queue()), id);
            }
            let answers: Vec<Option<redis::Value>> = self.people.ask_each(&mut commands, &what).await?;
            let mut answers = answers.into_iter().map(Option::unwrap_or_default);
            for (id, hash) in some {
                let last = answers.next().and_then(last_outcome);
                let due: Option<f64> =
                    answers.next().and_then(|value| redis::from_redis_value(value).ok().flatten());
                let (record, _) = hash.record(&id, last.as_ref(), &self.limits);
                let mut record = kept(record);
                if record.state == JobState::Scheduled && record.due_at.is_none() {
                    record.due_at = due.and_then(|score| wire::from_millis((score * 1000.0) as i64));
                }
                records.push(record);
            }
        }
        Ok(records)
    }
}

/// The newest entry of a stream, from a list of one.
fn last_outcome(answer: redis::Value) -> Option<LastOutcome> {
    let entries: Vec<(String, Fields)> = redis::from_redis_value(answer).ok()?;
    entries.into_iter().next().map(|(_, fields)| LastOutcome(fields))
}
