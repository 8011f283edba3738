//! Open jobs: by their ids, which is cheap, or by their function, which is a search.

use std::collections::BTreeSet;

use super::look::{AT_ONCE, PLACES};
use crate::fault::Fault;
use crate::job::{JobId, JobRecord, KindName, QueueName};
use crate::queue::rq::codec;
use crate::queue::rq::leases;
use crate::queue::rq::server::Server;
use crate::queue::rq::wire;

/// The ids of a queue read in one round trip.
const WINDOW: isize = 5000;

/// A job's status and call.
type Glance = (Option<Vec<u8>>, Option<Vec<u8>>);

impl Server {
    /// Those of these jobs that can still run.
    pub(in crate::queue::rq) async fn open_of(&self, ids: &[JobId]) -> Result<Vec<JobRecord>, Fault> {
        let ids: Vec<String> = ids.iter().map(JobId::to_string).collect();
        let found = self.read(&ids, || format!("look at {} jobs", ids.len())).await?;
        let record = |(id, hash): (String, wire::Hash)| hash.record(&id, None, &self.limits).0.folded();
        Ok(found.into_iter().map(record).filter(|job| job.state.is_open()).collect())
    }

    /// The jobs of a function that can still run.
    pub(in crate::queue::rq) async fn open_jobs(&self, kind: &KindName) -> Result<Vec<JobRecord>, Fault> {
        let mut of_kind = BTreeSet::new();
        for held in self.limited().await?.into_iter().chain([self.keys.of_rq_scheduler()]) {
            self.search_held(&held, kind, &mut of_kind).await?;
        }
        // RQ lists a queue once a job enters it. A queue with only deferred jobs is not listed, but its
        // listeners know it.
        let served = leases::processes(self).await?.into_iter().flat_map(|process| process.queues);
        let queues: BTreeSet<QueueName> = self.queues().await?.into_iter().chain(served).collect();
        for queue in queues {
            self.search_waiting(&queue, kind, &mut of_kind).await?;
            let open = PLACES.iter().filter(|(_, state)| state.is_open());
            for (registry, _) in open {
                let registry = self.keys.registry(registry, queue.as_str());
                self.search_held(&registry, kind, &mut of_kind).await?;
            }
        }
        let ids: Vec<JobId> = of_kind.into_iter().map(JobId::from).collect();
        let mut open = self.open_of(&ids).await?;
        open.sort_by_key(|record| record.created_at);
        Ok(open)
    }

    /// Counts from the tail: jobs leave at the head, so positions from there change during the search.
    async fn search_waiting(
        &self,
        queue: &QueueName,
        kind: &KindName,
        of_kind: &mut BTreeSet<String>,
    ) -> Result<(), Fault> {
        let list = self.keys.queue(queue.as_str());
        let mut last = -1;
        loop {
            let mut commands = redis::pipe();
            commands.lrange(&list, last + 1 - WINDOW, last);
            let ids = self.lists(&mut commands, &format!("search the queue `{queue}`")).await?.concat();
            self.glance(&ids, kind, of_kind).await?;
            if isize::try_from(ids.len()).unwrap_or(WINDOW) < WINDOW {
                return Ok(());
            }
            last -= WINDOW;
        }
    }

    /// Counts from the newest, because the oldest leave. Read in windows, so that a million held jobs fill neither an
    /// answer nor memory.
    async fn search_held(
        &self,
        held: &str,
        kind: &KindName,
        of_kind: &mut BTreeSet<String>,
    ) -> Result<(), Fault> {
        let mut at = 0;
        loop {
            let mut commands = redis::pipe();
            commands.zrevrange(held, at, at + WINDOW - 1);
            let members = self.lists(&mut commands, "search jobs that are held back").await?.concat();
            let read = members.len();
            // A member of the running jobs may be an id with its execution.
            let ids: Vec<String> = members.into_iter().flat_map(with_plain_id).collect();
            self.glance(&ids, kind, of_kind).await?;
            if isize::try_from(read).unwrap_or(WINDOW) < WINDOW {
                return Ok(());
            }
            at += WINDOW;
        }
    }

    /// Records which of these are open jobs of the function.
    async fn glance(
        &self,
        ids: &[String],
        kind: &KindName,
        of_kind: &mut BTreeSet<String>,
    ) -> Result<(), Fault> {
        for some in ids.chunks(AT_ONCE) {
            let mut commands = redis::pipe();
            for id in some {
                commands.hmget(self.keys.job(id), &["status", "data"]);
            }
            let found: Vec<Option<Glance>> =
                self.people.ask_each(&mut commands, || format!("look for jobs of {kind}")).await?;
            for (id, glance) in some.iter().zip(found) {
                let (status, data) = glance.unwrap_or_default();
                let status = String::from_utf8(status.unwrap_or_default()).unwrap_or_default();
                let call = codec::decode_call(&data.unwrap_or_default(), &self.limits);
                let found = call.as_ref().map_or_else(|error| error.kind.as_ref(), |call| Some(&call.kind));
                let is_it = found.is_some_and(|found| found == kind || found.as_str() == kind.short());
                if is_it && wire::state(&status).is_open() {
                    of_kind.insert(id.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// A member of a registry, and without its execution if it may have one.
fn with_plain_id(member: String) -> impl Iterator<Item = String> {
    let plain = match wire::split_member(&member) {
        (plain, Some(_)) => Some(plain.to_owned()),
        (_, None) => None,
    };
    std::iter::once(member).chain(plain)
}
