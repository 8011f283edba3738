//! Paused queues, in one hash of our own beside RQ's keys.

use std::collections::BTreeMap;

use super::server::Server;
use crate::fault::{Fault, FaultKind};
use crate::job::QueueName;
use crate::queue::upkeep::PausedQueue;

pub(super) async fn pause(server: &Server, queue: &QueueName, by: &str) -> Result<bool, Fault> {
    let note = PausedQueue { by: by.to_owned(), since: chrono::Utc::now() };
    let note = serde_json::to_string(&note)
        .map_err(|error| Fault::new(FaultKind::Permanent, "write down a pause").because(error))?;
    let mut commands = redis::pipe();
    commands.hset_nx(server.keys.paused(), queue.as_str(), note);
    let (paused,): (bool,) = server.link.ask(&commands, || format!("pause `{queue}`")).await?;
    Ok(paused)
}

pub(super) async fn resume(server: &Server, queue: &QueueName) -> Result<bool, Fault> {
    let mut commands = redis::pipe();
    commands.hdel(server.keys.paused(), queue.as_str());
    let (resumed,): (bool,) = server.link.ask(&commands, || format!("resume `{queue}`")).await?;
    Ok(resumed)
}

pub(super) async fn paused(server: &Server) -> Result<BTreeMap<QueueName, PausedQueue>, Fault> {
    let mut commands = redis::pipe();
    commands.hgetall(server.keys.paused());
    let (found,): (BTreeMap<String, String>,) =
        server.link.ask(&commands, || "list paused queues".to_owned()).await?;
    let read = |(name, text): (String, String)| {
        let note: PausedQueue = serde_json::from_str(&text).map_err(|error| {
            Fault::new(FaultKind::Permanent, format!("read the pause `{text}`")).because(error)
        })?;
        Ok((QueueName::from(name), note))
    };
    found.into_iter().map(read).collect()
}
