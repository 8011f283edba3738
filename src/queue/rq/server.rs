//! What the calls to the server share; how jobs are enqueued, and which are lent.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use redis::ScriptInvocation;
use serde::Serialize;

use super::codec::{self, Limits, Serializer};
use super::keys::Keys;
use super::link::Link;
use super::scripts::Scripts;
use super::taken::{Left, Values};
use super::wire::{self, Hash};
use super::workers::Workers;
use crate::fault::{Fault, FaultKind};
use crate::job::{Args, ArgsError, ExecutionId, JobId, NewJob, QueueEnd, QueueName};
use crate::queue::delivery::{Delivery, Enqueued, Requeued, Settlement};
use crate::queue::lost_answers::LostAnswers;

/// The fields of a hash in a script's answer.
pub(super) type Fields = HashMap<String, Vec<u8>>;

/// What the calls share.
pub(super) struct Server {
    pub(super) link: Link,
    /// The connection for users' queries, so that a long answer delays no settlement.
    pub(super) people: Link,
    pub(super) scripts: Scripts,
    pub(super) keys: Keys,
    pub(super) workers: Workers,
    /// The limits of a payload.
    pub(super) limits: Limits,
    /// The queues whose deliveries bring the whole hash of their job.
    pub(super) whole_hashes: Vec<QueueName>,
    /// How our own jobs are written.
    serializer: Serializer,
    /// The jobs that are lent.
    pub(super) lent: Mutex<HashMap<ExecutionId, Out>>,
    pub(super) lost_answers: LostAnswers,
    pub(super) left: Left,
}

/// A job that is lent.
pub(super) struct Out {
    pub(super) id: String,
    /// The hash as it was fetched.
    pub(super) hash: Arc<Hash>,
    /// The serializer of its result.
    pub(super) serializer: Serializer,
}

impl Server {
    pub(super) fn new(
        [link, people]: [Link; 2],
        keys: Keys,
        (workers, whole_hashes): (Workers, Vec<QueueName>),
        limits: Limits,
    ) -> Self {
        Self {
            link,
            people,
            scripts: Scripts::new(),
            keys,
            workers,
            limits,
            whole_hashes,
            serializer: Serializer::default(),
            lent: Mutex::default(),
            lost_answers: LostAnswers::default(),
            left: Left::default(),
        }
    }

    /// A call with the prefixes, which are the first arguments of every script.
    pub(super) fn prepare<'a>(&self, script: &'a redis::Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.arg(&self.keys.rq).arg(&self.keys.ours);
        call
    }

    /// Adds jobs to a call that enqueues them.
    pub(super) fn add_jobs(&self, call: &mut ScriptInvocation<'_>, jobs: &[NewJob]) -> Result<(), Fault> {
        for (place, job) in jobs.iter().enumerate() {
            let how = How::of(place, job);
            let fields = wire::fields(job, self.serializer)?;
            call.arg(job.id.as_str()).arg(job.queue.as_str()).arg(told(&how)?).arg(fields.len() * 2);
            for (name, value) in fields {
                call.arg(name).arg(value);
            }
        }
        Ok(())
    }

    /// Enqueues jobs.
    pub(super) async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Fault> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.prepare(&self.scripts.enqueue);
        self.add_jobs(&mut call, jobs)?;
        let answers: Vec<redis::Value> =
            self.link.invoke(&call, || format!("enqueue {} jobs", jobs.len())).await?;
        Ok(answers.into_iter().map(enqueued).collect())
    }

    /// Puts ended jobs back into their queues.
    pub(super) async fn requeue(&self, ids: &[JobId]) -> Result<Vec<Requeued>, Fault> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.prepare(&self.scripts.requeue);
        for id in ids {
            call.arg(id.as_str());
        }
        let answers: Vec<String> = self.link.invoke(&call, || format!("put {} jobs back", ids.len())).await?;
        Ok(answers.into_iter().map(requeued).collect())
    }

    /// A delivery, which is remembered until its end. Its queue is the one from which it was taken, whatever
    /// its fields say.
    pub(super) fn delivery(
        &self,
        execution: ExecutionId,
        queue: &QueueName,
        id: &str,
        values: Values,
    ) -> Delivery {
        let (whole, hash) = (values.whole.clone(), Arc::new(Hash(values)));
        let (job, serializer) = hash.record(id, None, &self.limits);
        let mut job = job.folded();
        job.queue = queue.clone();
        self.lent.lock().insert(execution.clone(), Out { id: id.to_owned(), hash, serializer });
        Delivery { job, execution, hash: whole }
    }

    /// The arguments of a lent delivery; `None` if it is not remembered.
    pub(super) fn unfold(&self, delivery: &Delivery) -> Option<Result<Args, ArgsError>> {
        let hash = self.lent.lock().get(&delivery.execution).map(|lent| Arc::clone(&lent.hash))?;
        let data = hash.0.get("data")?;
        Some(codec::decode_call(data, &self.limits).map(|call| call.args).map_err(|call| call.error))
    }

    /// The same for a delivery that is only shown: it is not remembered.
    pub(super) fn shown(
        &self,
        execution: ExecutionId,
        queue: &QueueName,
        id: &str,
        fields: Fields,
    ) -> Delivery {
        let (job, _) = Hash(fields.into()).record(id, None, &self.limits);
        let mut job = job.folded();
        job.queue = queue.clone();
        Delivery { job, execution, hash: None }
    }

    /// Forgets ended deliveries.
    pub(super) fn forget(&self, settlements: &[Settlement]) {
        self.workers.release(settlements.iter().map(|one| &one.execution));
        let mut lent = self.lent.lock();
        for one in settlements {
            lent.remove(&one.execution);
        }
    }
}

/// The options of a new job. Unset ones are left out, because the script would not treat null as unset.
#[derive(Serialize)]
struct How<'a> {
    /// Its index in the call.
    place: usize,
    to_head: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period_ms: Option<u64>,
}

impl<'a> How<'a> {
    fn of(place: usize, job: &'a NewJob) -> Self {
        let period = job.unique.as_ref().and_then(|unique| unique.period);
        Self {
            place,
            to_head: job.end == QueueEnd::Head,
            delay_ms: job.delay.map(wire::millis),
            unique: job.unique.as_ref().map(|unique| unique.key.as_str()),
            period_ms: period.map(wire::millis),
        }
    }
}

/// A script's argument, as JSON.
pub(super) fn told(what: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(what)
        .map_err(|error| Fault::new(FaultKind::Permanent, "write down what a script is told").because(error))
}

/// What became of a job that was to be put back.
fn requeued(text: String) -> Requeued {
    match text.as_str() {
        "1" => Requeued::Waits,
        "" => Requeued::Missing,
        word => match word.strip_prefix('!') {
            Some(holder) => Requeued::Duplicate(JobId::from(holder)),
            None => Requeued::Is(wire::state(word)),
        },
    }
}

fn enqueued(answer: redis::Value) -> Enqueued {
    match answer {
        redis::Value::Int(1) => Enqueued::Accepted,
        redis::Value::Int(_) => Enqueued::Exists,
        holder => match redis::from_redis_value::<String>(holder) {
            Ok(holder) => Enqueued::Duplicate(JobId::from(holder)),
            Err(_) => Enqueued::Exists,
        },
    }
}
