//! Looking after what RQ's own workers left behind when they died: what RQ does itself, every few minutes and from
//! within a worker.

use std::time::Duration;

use chrono::Utc;

use super::callbacks::callback;
use super::codec;
use super::server::Server;
use super::steps::release;
use super::wire;
use crate::fault::Fault;
use crate::job::{JobId, QueueName};
use crate::queue::upkeep::{Abandoned, Fate};

/// How long an id may be out of its queue and in no registry: RQ's own grace.
const GRACE: Duration = Duration::from_secs(60);

/// The most groups, and of each the most jobs, in one look: the next one is ten minutes away.
const GROUPS: u32 = 2000;

/// The most steps of letting dependents go in one look.
const RELEASES: u32 = 50;

/// RQ's own words for a job whose worker never registered it.
const STUCK: &str = "Job was stuck in intermediate queue.";

/// Id, queue, fate, and name and time of the failure callback.
type Touched = (String, String, String, String, String);

/// As [`Broker::tend`](crate::queue::Broker::tend).
pub(super) async fn tend(server: &Server, max: u32) -> Result<Vec<Abandoned>, Fault> {
    // RQ's own words, with a time as Python prints it.
    let at = Utc::now().format("%Y-%m-%d %H:%M:%S%.6f+00:00");
    let abandoned = format!("Moved to FailedJobRegistry, due to AbandonedJobError, at {at}");
    let mut call = server.prepare(&server.scripts.tend);
    call.arg(max).arg(wire::millis(GRACE));
    call.arg(codec::encode_exc(&abandoned)).arg(codec::encode_exc(STUCK));
    let (touched, troubles): (Vec<Touched>, Vec<String>) =
        server.link.invoke(&call, || "look after RQ's registries".to_owned()).await?;
    for trouble in troubles {
        tracing::warn!(trouble, "RQ's registries of a queue cannot be looked after");
    }
    let rest = tend_the_rest(server, max).await;
    // Of what was moved somebody is to be told, and can be told now alone; what is refused the next look meets again.
    if touched.is_empty() {
        rest?;
    }
    Ok(touched.into_iter().map(abandoned_job).collect())
}

/// What is in no queue's registries.
async fn tend_the_rest(server: &Server, max: u32) -> Result<(), Fault> {
    // Also what a process that died in between has left.
    release(server, RELEASES).await?;
    let mut limits = server.prepare(&server.scripts.tend_limits);
    limits.arg(max);
    let _: u64 = server.link.invoke(&limits, || "look after RQ's rate limits".to_owned()).await?;
    let mut groups = server.prepare(&server.scripts.tend_groups);
    groups.arg(GROUPS);
    let _: u64 = server.link.invoke(&groups, || "look after RQ's groups".to_owned()).await?;
    Ok(())
}

fn abandoned_job((id, queue, fate, name, time): Touched) -> Abandoned {
    let fate = match &*fate {
        "returned" => Fate::Returned,
        "retried" => Fate::Retried,
        _ => Fate::Failed,
    };
    let on_failure = callback(Some(&name), Some(&time));
    Abandoned { job: JobId::from(id), queue: QueueName::from(queue), fate, on_failure }
}
