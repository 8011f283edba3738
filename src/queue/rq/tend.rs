//! Takes care of jobs that RQ's own workers abandoned when they died. RQ's workers do the same every few
//! minutes.

use std::time::Duration;

use chrono::Utc;

use super::callbacks::callback;
use super::codec::{self, Limits};
use super::ends::{End, requests};
use super::server::{Fields, Server};
use super::steps::release;
use super::troubles::Troubles;
use super::wire::{self, Hash};
use crate::fault::Fault;
use crate::job::{JobId, QueueName, WebhookRequest};
use crate::queue::upkeep::{Abandoned, Fate};

/// How long an id may be neither in its queue nor in a registry: RQ's own grace period.
const GRACE: Duration = Duration::from_secs(60);

/// The most groups, and the most jobs of each, per check; the next check is ten minutes later.
const GROUPS: u32 = 2000;

/// The most steps of releasing dependents per check.
const RELEASES: u32 = 50;

/// RQ's own text for a job that its worker never registered.
const STUCK: &str = "Job was stuck in intermediate queue.";

/// The id, queue and fate of a job, the name and time limit of its failure callback, and for its webhooks the text of its
/// failure, and its fields `webhooks`, `data` and `enqueued_at`.
type Touched = (String, String, String, String, String, Vec<Vec<u8>>);

/// As [`Broker::tend`](crate::queue::Broker::tend); `ttl` is that of this process's lease in milliseconds.
pub(super) async fn tend(
    server: &Server,
    max: u32,
    ttl: u64,
    not_tended: &Troubles,
) -> Result<Vec<Abandoned>, Fault> {
    // RQ's own text, with a time in Python's format.
    let at = Utc::now().format("%Y-%m-%d %H:%M:%S%.6f+00:00");
    let abandoned = format!("Moved to FailedJobRegistry, due to AbandonedJobError, at {at}");
    let mut call = server.prepare(&server.scripts.tend);
    call.arg(max).arg(wire::millis(GRACE));
    call.arg(codec::encode_exc(&abandoned)).arg(codec::encode_exc(STUCK)).arg(ttl);
    let (touched, troubles): (Vec<Touched>, Vec<String>) =
        server.link.invoke(&call, || "look after RQ's registries".to_owned()).await?;
    not_tended.tell(troubles, "RQ's registries of a queue cannot be looked after");
    let rest = tend_the_rest(server, max).await;
    // Callbacks of moved jobs can be called only now; a failed step is repeated in the next check.
    if touched.is_empty() {
        rest?;
    }
    Ok(touched.into_iter().map(|touched| abandoned_job(touched, &server.limits)).collect())
}

/// Takes care of everything outside the queues' registries.
async fn tend_the_rest(server: &Server, max: u32) -> Result<(), Fault> {
    // Also those left by a process that died in between.
    release(server, RELEASES).await?;
    let mut limits = server.prepare(&server.scripts.tend_limits);
    limits.arg(max);
    let _: u64 = server.link.invoke(&limits, || "look after RQ's rate limits".to_owned()).await?;
    let mut groups = server.prepare(&server.scripts.tend_groups);
    groups.arg(GROUPS);
    let _: u64 = server.link.invoke(&groups, || "look after RQ's groups".to_owned()).await?;
    Ok(())
}

fn abandoned_job((id, queue, fate, name, time, told): Touched, limits: &Limits) -> Abandoned {
    let fate = match &*fate {
        "returned" => Fate::Returned,
        "retried" => Fate::Retried,
        _ => Fate::Failed,
    };
    let on_failure = callback(Some(&name), Some(&time));
    let webhooks = webhooks_of(&id, told, limits);
    Abandoned { job: JobId::from(id), queue: QueueName::from(queue), fate, on_failure, webhooks }
}

/// The requests for a job that failed, from what the script told of it.
fn webhooks_of(id: &str, told: Vec<Vec<u8>>, limits: &Limits) -> Vec<WebhookRequest> {
    let mut told = told.into_iter();
    let Some(failure) = told.next().and_then(|text| String::from_utf8(text).ok()) else { return Vec::new() };
    let names = ["webhooks", "data", "enqueued_at"].map(str::to_owned);
    let values: Fields = names.into_iter().zip(told).collect();
    let (record, _) = Hash(values.into()).record(id, None, limits);
    let failure = codec::decode_exc(&failure, limits).unwrap_or_default();
    let made = |job| requests(&job, &End::Failed(&failure), Utc::now());
    record.webhook_job().map(made).unwrap_or_default()
}
