//! Connections: one shared by all short calls, one for what people look at, and one for each wait. A connection that failed, did not
//! answer in time, leads to a server that is not the primary any more, or has been signed out is not used again. A new one may be refused what
//! those that are there may do: a password was set, or the address now leads to a replica.

pub(super) mod names;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation};

use self::names::Names;
use super::address::Source;
use crate::deadline::time_for;
use crate::fault::{Fault, FaultKind};

/// The time limit for connecting. Together with [`ANSWER`] it is below the callers' time limits: a caller
/// that gives up first would leave a dead connection in use.
const CONNECT: Duration = Duration::from_millis(1500);
/// The time limit for the answer to a short call.
const ANSWER: Duration = Duration::from_secs(3);
/// The most bytes of a call on the shared connection; any line carries them within [`ANSWER`].
const HEAVY: usize = 128 << 10;
/// How much longer than the server should block a blocking call may take.
const LATE: Duration = Duration::from_secs(3);

/// The connections to one server.
pub(super) struct Link {
    pub(super) source: Arc<Source>,
    names: Names,
    shared: Mutex<Option<MultiplexedConnection>>,
    /// Whether its calls only read, so that they may be repeated.
    only_reads: bool,
    /// A key that never exists.
    nothing: String,
}

impl Link {
    pub(super) fn new(source: Arc<Source>, names: Names, nothing: String) -> Self {
        Self { source, names, shared: Mutex::new(None), only_reads: false, nothing }
    }

    /// For calls that only read. Nobody may look for hours, and servers and networks end connections that rest; such a
    /// call is repeated on a new one.
    pub(super) fn for_reads(source: Arc<Source>, names: Names, nothing: String) -> Self {
        Self { only_reads: true, ..Self::new(source, names, nothing) }
    }

    /// Calls a script on the shared connection.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
        what: impl FnOnce() -> String,
    ) -> Result<T, Fault> {
        let answer = async {
            let (mut connection, is_new) = self.shared().await?;
            match call.invoke_async(&mut connection).await {
                Err(error) if self.may_repeat(&error, is_new) => {
                    call.invoke_async(&mut self.renewed().await?).await
                }
                answer => answer,
            }
        };
        self.kept(answer.await, what)
    }

    /// As [`Self::invoke`], for a request or an answer of about this many bytes. If they are many, they go over a
    /// connection of their own, so that they keep no other call waiting, and may take as long as a thin line needs. If
    /// none can be made that is served, as at the server's limit of clients, they go over the shared one.
    pub(super) async fn invoke_heavy<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
        bytes: usize,
        what: impl FnOnce() -> String,
    ) -> Result<T, Fault> {
        if bytes <= HEAVY {
            return self.invoke(call, what).await;
        }
        let longest = time_for(bytes);
        if let Ok(mut own) = self.own(longest).await {
            return call.invoke_async(&mut own).await.map_err(|error| fault(error, what()));
        }
        let answer = async {
            let (mut shared, _) = self.shared().await?;
            shared.set_response_timeout(longest + LATE);
            call.invoke_async(&mut shared).await
        };
        self.kept(answer.await, what)
    }

    /// Sends commands as one pipeline on the shared connection; the answers are in their order.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        commands: &redis::Pipeline,
        what: impl FnOnce() -> String,
    ) -> Result<T, Fault> {
        let answer = async {
            let (mut connection, is_new) = self.shared().await?;
            match commands.query_async(&mut connection).await {
                Err(error) if self.may_repeat(&error, is_new) => {
                    commands.query_async(&mut self.renewed().await?).await
                }
                answer => answer,
            }
        };
        self.kept(answer.await, what)
    }

    /// As [`Self::ask`]; for a key with a value of another type there is no answer.
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
            refused => self.kept(refused.map(Some), || what.clone()),
        };
        answers.into_iter().map(answer).collect()
    }

    /// A connection for calls that take at most `longest`, over which the server takes a write. So what it refuses
    /// afterwards is not refused to the connection.
    pub(super) async fn own(&self, longest: Duration) -> RedisResult<MultiplexedConnection> {
        let mut own = self.connect().await?;
        // A server at its memory limit takes this, too.
        let mut write = redis::cmd("DEL");
        write.arg(&self.nothing).query_async::<()>(&mut own).await?;
        own.set_response_timeout(longest + LATE);
        Ok(own)
    }

    /// A new connection, for short calls.
    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_dns_resolver(self.names.clone())
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        self.source.client().get_multiplexed_async_connection_with_config(&config).await
    }

    /// Connects if needed, and returns whether it did. It holds no lock, so concurrent calls may open one connection too
    /// many.
    async fn shared(&self) -> RedisResult<(MultiplexedConnection, bool)> {
        if let Some(connection) = &*self.shared.lock() {
            return Ok((connection.clone(), false));
        }
        Ok((self.renewed().await?, true))
    }

    /// Whether the call is to be repeated on a new connection after this error.
    fn may_repeat(&self, error: &RedisError, is_new: bool) -> bool {
        self.only_reads && !is_new && is_spent(error)
    }

    /// A new shared connection, in the place of the one before.
    async fn renewed(&self) -> RedisResult<MultiplexedConnection> {
        let made = self.connect().await?;
        *self.shared.lock() = Some(made.clone());
        Ok(made)
    }

    fn kept<T>(&self, answer: RedisResult<T>, what: impl FnOnce() -> String) -> Result<T, Fault> {
        answer.map_err(|error| {
            if is_spent(&error) {
                *self.shared.lock() = None;
            }
            fault(error, what())
        })
    }
}

/// Whether the connection is not to be used again.
pub(super) fn is_spent(error: &RedisError) -> bool {
    is_of_connection(error) || is_of_a_connection_gone_stale(error)
}

/// Whether a new connection may be served where this one is refused. The server may take no writes because it is a
/// replica, or has none: after a failover the address may lead to another one, and the old one keeps its connections open.
/// Or it does not know any more who signed in: a proxy, or a managed server after a patch, makes its own side anew.
fn is_of_a_connection_gone_stale(error: &RedisError) -> bool {
    let signs = ["READONLY", "MASTERDOWN", "NOREPLICAS", "NOAUTH"];
    // Within a script the code may stand in the text.
    refusal(error).is_some_and(|(code, text)| signs.iter().any(|sign| code == *sign || text.contains(sign)))
}

/// Whether the connection is to blame.
pub(super) fn is_of_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || ends_the_connection(error)
}

/// Whether the server closes the connection after this answer, because it cannot read a request or finds it
/// too long.
fn ends_the_connection(error: &RedisError) -> bool {
    refusal(error).is_some_and(|(_, text)| text.starts_with("Protocol error"))
}

/// The fault for `error`. A refusal with the server's own reason, known here or not, says nothing about the
/// request, which is repeated. Only a key of another type and an unreadable answer are permanent.
pub(super) fn fault(error: RedisError, what: String) -> Fault {
    let fault = Fault::new(kind(&error), what);
    let fault = if ends_the_connection(&error) { fault.at_a_limit() } else { fault };
    fault.because(error)
}

fn kind(error: &RedisError) -> FaultKind {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return FaultKind::Retryable;
    }
    if is_of_connection(error) {
        return FaultKind::Unavailable;
    }
    let Some((code, text)) = refusal(error) else { return FaultKind::Permanent };
    match &*code {
        "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" => FaultKind::Unavailable,
        "WRONGTYPE" => FaultKind::Permanent,
        // Redis 6.2 wraps all errors within a script.
        "ERR" if text.contains("WRONGTYPE") => FaultKind::Permanent,
        _ => FaultKind::Retryable,
    }
}

/// The code and text of the server's refusal, of several commands the first; `None` if it is no refusal.
pub(super) fn refusal(error: &RedisError) -> Option<(String, String)> {
    let text = |one: &redis::ServerError| one.details().unwrap_or_default().to_owned();
    let errors = error.clone().into_server_errors();
    let first = errors.as_deref().and_then(<[_]>::first).map(|(_, one)| (one.code().to_owned(), text(one)));
    first.or_else(|| Some((error.code()?.to_owned(), error.detail().unwrap_or_default().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(answer: &str) -> RedisError {
        let answer = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap();
        answer.extract_error().unwrap_err()
    }

    fn of(answer: &str) -> FaultKind {
        fault(error(answer), "settle".to_owned()).kind()
    }

    #[test]
    fn connection_that_is_refused_what_a_new_one_may_do_is_not_used_again() {
        for answer in [
            "READONLY You can't write against a read only replica.",
            "REFUSED XADD: READONLY You can't write against a read only replica.",
            "ERR Error running script (call to f_0a): @user_script:1: @user_script: 1: -READONLY You can't write",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "NOREPLICAS Not enough good replicas to write.",
            "NOAUTH Authentication required.",
        ] {
            assert!(is_spent(&error(answer)), "{answer}");
        }
        for answer in ["OOM command not allowed", "LOADING Redis is loading"] {
            assert!(!is_spent(&error(answer)), "{answer}");
        }
    }

    #[test]
    fn what_the_server_refuses_for_its_own_reasons_is_asked_again_whatever_its_code() {
        for answer in [
            "NOAUTH Authentication required.",
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "READONLY You can't write against a read only replica.",
            "MISCONF Redis is configured to save RDB snapshots",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOREPLICAS Not enough good replicas to write.",
            "REFUSED XADD: ERR The user executing the script can't run this command or subcommand",
            "ERR The user executing the script can't run this command or subcommand script: 0a, on @user_script:1.",
            "ERR Error running script (call to f_0a): @user_script:1: @user_script: 1: -READONLY You can't write",
            "SOMETHING that no Redis of today says",
        ] {
            assert_eq!(of(answer), FaultKind::Retryable, "{answer}");
        }
        for answer in [
            "LOADING Redis is loading",
            "BUSY Redis is busy",
            "MASTERDOWN",
            "CLUSTERDOWN",
            "TRYAGAIN",
            "ERR Protocol error: invalid bulk length",
        ] {
            assert_eq!(of(answer), FaultKind::Unavailable, "{answer}");
        }
    }

    #[test]
    fn request_that_the_server_calls_too_long_says_so() {
        let too_long = |answer: &str| fault(error(answer), "settle".to_owned()).smaller_may_do();
        assert!(too_long("ERR Protocol error: invalid bulk length"));
        assert!(!too_long("OOM command not allowed when used memory > 'maxmemory'."));
    }

    #[test]
    fn a_key_of_another_type_stays_as_it_is() {
        for answer in [
            "WRONGTYPE Operation against a key holding the wrong kind of value script: 0a, on @user_script:1.",
            "ERR Error running script (call to f_0a): @user_script:1: WRONGTYPE Operation against a key",
        ] {
            assert_eq!(of(answer), FaultKind::Permanent, "{answer}");
        }
    }
}
