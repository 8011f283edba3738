//! What people ask of RQ's workers, over their channels. A channel that has gone deaf is noticed by a word of
//! our own that does not come back, and subscribed to anew.

use std::time::Duration;

use futures::StreamExt as _;
use parking_lot::Mutex;
use redis::Client;
use redis::aio::PubSub;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::link::fault;
use super::server::Server;
use crate::fault::{Fault, FaultKind};
use crate::job::{JobId, ProcessId};
use crate::queue::broker::Order;

/// Longest wait for a connection and a subscription.
const CONNECT: Duration = Duration::from_secs(3);
/// Time without a word after which we say one ourselves.
const SILENCE: Duration = Duration::from_secs(15);
/// Longest wait for our own word.
const ECHO: Duration = Duration::from_secs(3);
/// Time between two looks for names, before the first lease.
const NAMELESS: Duration = Duration::from_millis(200);

/// A command as RQ's client publishes it.
#[derive(Debug, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
enum Command {
    StopJob { job_id: String },
    StopExecution { job_id: String, execution_id: String },
    KillHorse,
    Shutdown,
}

/// A subscription, and when its channels last spoke.
struct Line {
    channels: PubSub,
    heard: Instant,
    /// When we said a word that has not come back.
    asked: Option<Instant>,
}

/// The subscription of this process, while nobody listens on it.
pub(super) struct Orders {
    client: Client,
    idle: Mutex<Option<Line>>,
}

impl Orders {
    pub(super) fn new(client: Client) -> Self {
        Self { client, idle: Mutex::new(None) }
    }

    /// As [`Broker::orders`](crate::queue::Broker::orders).
    pub(super) async fn next(
        &self,
        server: &Server,
        process: &ProcessId,
        patience: Duration,
    ) -> Result<Vec<Order>, Fault> {
        let end = Instant::now() + patience;
        let names = server.workers.names();
        if names.is_empty() {
            tokio::time::sleep(NAMELESS.min(patience)).await;
            return Ok(Vec::new());
        }
        let idle = self.idle.lock().take();
        let mut line = match idle {
            Some(line) => line,
            None => self.subscribe(server, process, &names).await?,
        };
        let order = line.listen(server, &server.keys.echo(process.as_str()), end).await?;
        *self.idle.lock() = Some(line);
        Ok(order.into_iter().collect())
    }

    async fn subscribe(&self, server: &Server, process: &ProcessId, names: &[String]) -> Result<Line, Fault> {
        let mut channels: Vec<String> = names.iter().map(|name| server.keys.commands(name)).collect();
        channels.push(server.keys.echo(process.as_str()));
        let subscribed = async {
            let mut line = self.client.get_async_pubsub().await?;
            line.subscribe(channels).await?;
            Ok(line)
        };
        let what = || "subscribe to the workers' commands".to_owned();
        match timeout(CONNECT, subscribed).await {
            Ok(Ok(channels)) => Ok(Line { channels, heard: Instant::now(), asked: None }),
            Ok(Err(error)) => Err(fault(error, what())),
            Err(_) => Err(Fault::new(FaultKind::Unavailable, what())),
        }
    }
}

impl Line {
    /// The next order until `end`. A silence of its own is broken by a word on the own channel.
    async fn listen(&mut self, server: &Server, own: &str, end: Instant) -> Result<Option<Order>, Fault> {
        let broken = |how| Fault::new(FaultKind::Unavailable, format!("listen for commands: {how}"));
        while Instant::now() < end {
            if self.asked.is_some_and(|asked| asked.elapsed() >= ECHO) {
                return Err(broken("the own word did not come back"));
            }
            if self.asked.is_none() && self.heard.elapsed() >= SILENCE {
                let mut commands = redis::pipe();
                commands.publish(own, "heard?");
                server.link.ask::<(i64,)>(&commands, || "say a word on the own channel".to_owned()).await?;
                self.asked = Some(Instant::now());
            }
            let turn = self.asked.map_or(self.heard + SILENCE, |asked| asked + ECHO).min(end);
            let mut messages = self.channels.on_message();
            let Ok(message) = tokio::time::timeout_at(turn, messages.next()).await else { continue };
            let message = message.ok_or_else(|| broken("the connection is gone"))?;
            drop(messages);
            (self.heard, self.asked) = (Instant::now(), None);
            if let Some(order) = order(server, message.get_channel_name(), message.get_payload_bytes()) {
                return Ok(Some(order));
            }
        }
        Ok(None)
    }
}

/// What a message asks for; none: nothing of ours, or nothing that we know.
fn order(server: &Server, channel: &str, payload: &[u8]) -> Option<Order> {
    let worker = server.keys.worker_of(channel)?;
    match serde_json::from_slice(payload) {
        Ok(Command::StopJob { job_id }) => Some(Order::Stop(JobId::from(job_id))),
        Ok(Command::StopExecution { job_id, execution_id }) => {
            let execution = server.workers.execution_of(worker)?;
            (execution.as_str() == execution_id).then(|| Order::Stop(JobId::from(job_id)))
        }
        Ok(Command::KillHorse) => server.workers.execution_of(worker).map(Order::Kill),
        Ok(Command::Shutdown) => server.workers.retire(worker).then_some(Order::RetireSlot),
        Err(error) => {
            tracing::warn!(worker, %error, "a command to a worker is none that we know; it is ignored");
            None
        }
    }
}
