//! Receives commands to RQ's workers over their channels. A broken subscription is detected by our own test
//! message, and is then renewed.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use parking_lot::Mutex;
use redis::aio::PubSub;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::address::Source;
use super::leases;
use super::link::fault;
use super::link::names::Names;
use super::server::Server;
use crate::fault::{Fault, FaultKind};
use crate::job::{ExecutionId, JobId, ProcessId};
use crate::queue::delivery::Order;
use crate::queue::seen::ProcessRecord;

/// The time limit for connecting and subscribing.
const CONNECT: Duration = Duration::from_secs(3);
/// The time without a message after which we send a test message.
const SILENCE: Duration = Duration::from_secs(15);
/// The longest wait for our own test message.
const ECHO: Duration = Duration::from_secs(3);

/// What an attempt to subscribe is called in its fault.
const SUBSCRIBE: &str = "subscribe to the workers' commands";

/// A command in the form of RQ's client.
#[derive(Debug, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
enum Command {
    StopJob { job_id: String },
    StopExecution { job_id: String, execution_id: String },
    KillHorse,
    Shutdown,
}

/// A subscription, and when it last received a message.
struct Line {
    channels: PubSub,
    heard: Instant,
    /// When we sent a test message that has not been received yet.
    asked: Option<Instant>,
}

/// The subscription of this process, while nobody waits on it.
pub(super) struct Orders {
    source: Arc<Source>,
    names: Names,
    idle: Mutex<Option<Line>>,
    /// The attempt to subscribe that is under way, or that came to its end after its caller had given up.
    attempt: tokio::sync::Mutex<Option<JoinHandle<Result<Line, Fault>>>>,
    /// Becomes true with the first subscription.
    begun: watch::Sender<bool>,
}

impl Orders {
    pub(super) fn new(source: Arc<Source>, names: Names) -> Self {
        Self {
            source,
            names,
            idle: Mutex::default(),
            attempt: Default::default(),
            begun: watch::Sender::new(false),
        }
    }

    /// Subscribes for the first time, before the workers are visible, so that no command is missed. Later
    /// calls do nothing.
    pub(super) async fn begin(&self, server: &Server, process: &ProcessRecord) -> Result<(), Fault> {
        if *self.begun.borrow() {
            return Ok(());
        }
        // Without queues the process runs no jobs, and nobody waits here.
        if !process.queues.is_empty() {
            match self.subscribe(server, &process.id).await {
                Ok(line) => *self.idle.lock() = Some(line),
                Err(fault) if fault.kind() == FaultKind::Unavailable => return Err(fault),
                // Some servers allow no channels; jobs then run without commands.
                Err(fault) => tracing::warn!(error = fault.chain(), "RQ's commands will not be heard"),
            }
        }
        self.begun.send_replace(true);
        Ok(())
    }

    /// As [`Broker::orders`](crate::queue::Broker::orders).
    pub(super) async fn next(
        &self,
        server: &Arc<Server>,
        process: &ProcessId,
        patience: Duration,
    ) -> Result<Vec<Order>, Fault> {
        let end = Instant::now() + patience;
        let mut begun = self.begun.subscribe();
        if tokio::time::timeout_at(end, begun.wait_for(|begun| *begun)).await.is_err() {
            return Ok(Vec::new());
        }
        let idle = self.idle.lock().take();
        let mut line = match idle {
            Some(line) => line,
            None => self.subscribe(server, process).await?,
        };
        let order = line.listen(server, &server.keys.echo(process.as_str()), end).await?;
        *self.idle.lock() = Some(line);
        if order == Some(Order::RetireSlot) {
            note_request(Arc::clone(server));
        }
        Ok(order.into_iter().collect())
    }

    /// Subscribes. An attempt that takes long serves a later call, because the look-up of a name may take longer than
    /// callers wait.
    async fn subscribe(&self, server: &Server, process: &ProcessId) -> Result<Line, Fault> {
        let mut attempt = self.attempt.lock().await;
        if let Some(over) = attempt.take_if(|attempt| attempt.is_finished())
            && let Ok(Ok(line)) = over.await
        {
            return Ok(line);
        }
        let under_way = attempt.get_or_insert_with(|| {
            let workers = server.workers.all();
            let mut channels: Vec<String> = workers.iter().map(|name| server.keys.commands(name)).collect();
            channels.push(server.keys.echo(process.as_str()));
            tokio::spawn(subscribed(Arc::clone(&self.source), self.names.clone(), channels))
        });
        let Ok(answer) = timeout(CONNECT, under_way).await else { return Err(late()) };
        *attempt = None;
        answer.map_err(|died| late().because(died))?
    }
}

async fn subscribed(source: Arc<Source>, names: Names, channels: Vec<String>) -> Result<Line, Fault> {
    let client = source.client();
    let found_in =
        names.time_to_find(client.get_connection_info()).await.map_err(|error| late().because(error))?;
    let line = async {
        let mut line = client.get_async_pubsub().await?;
        line.subscribe(channels).await?;
        Ok(line)
    };
    // The name is looked up again within.
    match timeout(CONNECT + 2 * found_in, line).await {
        Ok(Ok(channels)) => Ok(Line { channels, heard: Instant::now(), asked: None }),
        Ok(Err(error)) => Err(fault(error, SUBSCRIBE.to_owned())),
        Err(_) => Err(late()),
    }
}

fn late() -> Fault {
    Fault::new(FaultKind::Unavailable, SUBSCRIBE)
}

impl Line {
    /// The next request until `end`. After a silence it sends a test message on its own channel.
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

/// In a task of its own, so that the request does not wait for it.
fn note_request(server: Arc<Server>) {
    tokio::spawn(async move {
        if let Err(fault) = leases::note_request(&server).await {
            tracing::warn!(error = fault.chain(), "RQ's readers do not see that a worker was asked to leave");
        }
    });
}

/// The request in a message; `None` if it is not for us, or unknown.
fn order(server: &Server, channel: &str, payload: &[u8]) -> Option<Order> {
    let worker = server.keys.worker_of(channel)?;
    match serde_json::from_slice(payload) {
        // As in RQ, stops what this worker runs, and no other execution of the same id. An execution is
        // assigned to its worker before anybody can see that it is lent.
        Ok(Command::StopJob { job_id }) => {
            let (lent, others): (Vec<_>, Vec<_>) =
                server.workers.busy().into_iter().partition(|(_, name)| name == worker);
            let executions =
                |of: Vec<(ExecutionId, String)>| of.into_iter().map(|(execution, _)| execution).collect();
            Some(Order::Stop { job: JobId::from(job_id), lent: executions(lent), others: executions(others) })
        }
        Ok(Command::StopExecution { job_id, execution_id }) => {
            let is_that = |(execution, name): &(ExecutionId, String)| {
                name == worker && execution.as_str() == execution_id
            };
            let (execution, _) = server.workers.busy().into_iter().find(is_that)?;
            Some(Order::StopExecution(JobId::from(job_id), execution))
        }
        Ok(Command::KillHorse) => server.workers.execution_of(worker).map(Order::Kill),
        Ok(Command::Shutdown) => server.workers.retire(worker).then_some(Order::RetireSlot),
        Err(error) => {
            tracing::warn!(worker, %error, "a command to a worker is none that we know; it is ignored");
            None
        }
    }
}
