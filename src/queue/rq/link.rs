//! Connections: one shared by all short calls, one for what people look at, and one for each wait. A connection that failed or did not
//! answer in time is not used again.

use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult, ScriptInvocation};

use crate::fault::{Fault, FaultKind};

/// Longest wait for a connection. Together with [`ANSWER`] it is less than callers wait: one that gives up first
/// would leave a dead connection behind.
const CONNECT: Duration = Duration::from_millis(1500);
/// Longest wait for an answer to a short call.
const ANSWER: Duration = Duration::from_secs(3);
/// A blocking call is given this much longer than it asked the server to block.
const LATE: Duration = Duration::from_secs(3);

/// The way to one server.
pub(super) struct Link {
    client: Client,
    shared: Mutex<Option<MultiplexedConnection>>,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self { client, shared: Mutex::new(None) }
    }

    /// Calls a script on the shared connection.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
        what: impl FnOnce() -> String,
    ) -> Result<T, Fault> {
        let answer = async {
            let mut connection = self.shared().await?;
            call.invoke_async(&mut connection).await
        };
        self.kept(answer.await, what)
    }

    /// Sends commands in one go on the shared connection; the answers are in their order.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        commands: &redis::Pipeline,
        what: impl FnOnce() -> String,
    ) -> Result<T, Fault> {
        let answer = async {
            let mut connection = self.shared().await?;
            commands.query_async(&mut connection).await
        };
        self.kept(answer.await, what)
    }

    /// As [`Self::ask`]; where a key holds something of another type there is no answer.
    pub(super) async fn ask_each<T: FromRedisValue>(
        &self,
        commands: &mut redis::Pipeline,
        what: impl FnOnce() -> String,
    ) -> Result<Vec<Option<T>>, Fault> {
        let what = what();
        let answers: Vec<RedisResult<T>> = self.ask(commands.ignore_errors(), || what.clone()).await?;
        let answer = |answer: RedisResult<T>| match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
            // A server that refuses to answer has not said that there is nothing.
            Err(error) => Err(fault(error, what.clone())),
        };
        answers.into_iter().map(answer).collect()
    }

    /// A connection for calls that block for `longest` at most.
    pub(super) async fn blocking(&self, longest: Duration) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(longest + LATE));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Connects anew where there is no connection; two at once cost one connection too many, and no lock is held.
    async fn shared(&self) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = &*self.shared.lock() {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *self.shared.lock() = Some(made.clone());
        Ok(made)
    }

    fn kept<T>(&self, answer: RedisResult<T>, what: impl FnOnce() -> String) -> Result<T, Fault> {
        answer.map_err(|error| {
            if is_of_connection(&error) {
                *self.shared.lock() = None;
            }
            fault(error, what())
        })
    }
}

/// Whether the connection is to blame, and not to be used again.
pub(super) fn is_of_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
}

/// What the caller should do about `error`.
pub(super) fn fault(error: RedisError, what: String) -> Fault {
    let waits = is_of_connection(&error)
        || matches!(
            error.code(),
            Some(
                "LOADING"
                    | "BUSY"
                    | "READONLY"
                    | "MASTERDOWN"
                    | "OOM"
                    | "CLUSTERDOWN"
                    | "NOREPLICAS"
                    | "MISCONF"
            )
        );
    let kind = if waits { FaultKind::Unavailable } else { FaultKind::Permanent };
    Fault::new(kind, what).because(error)
}
