//! Why a worker's command did not become a zygote.

use std::io;
use std::time::Duration;

use crate::python::frame::FrameError;

/// Why a command did not become a zygote.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Not on this system.
    #[error("python jobs need Linux: on this system tikkun cannot start python processes")]
    Unsupported,
    /// The plan names no program.
    #[error("no command is given to start the python worker with")]
    NoCommand,
    /// The command cannot be started as the user that was asked for.
    #[error("python processes cannot run as the user `{user}` (`python.user`): {why}")]
    User {
        /// The user's name.
        user: String,
        /// Why.
        why: String,
    },
    /// The private folder, a socket or a pipe could not be made.
    #[error("cannot prepare the start of `{command}`")]
    Preparing {
        /// The program.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start `{command}`")]
    Starting {
        /// The program.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It ended before it reached its worker.
    #[error("`{command}` ended before its worker began to work: {status}{}", after(.last_line))]
    Ended {
        /// The program.
        command: String,
        /// How it ended, in words.
        status: String,
        /// The last line of its standard error.
        last_line: Option<String>,
        /// The end of its standard error, at most 64 KiB.
        stderr: String,
    },
    /// It did not reach its worker in time.
    #[error("no worker of `{command}` began to work within {}{}", humantime::format_duration(*.deadline), after(.last_line))]
    Silent {
        /// The program.
        command: String,
        /// How long was waited.
        deadline: Duration,
        /// The last line of its standard error.
        last_line: Option<String>,
    },
    /// Its worker cannot be served.
    #[error("`{command}` cannot be served: {reason}")]
    Refused {
        /// The program.
        command: String,
        /// Why.
        reason: String,
    },
    /// The modules that are to be imported ahead of jobs end its process, or hold it up.
    #[error("the modules of `python.preload` cannot be imported: {why}")]
    Preloading {
        /// What they do.
        why: String,
    },
    /// It came to another worker than when it was started before.
    #[error("`{command}` is not what it was when it was started first: {what}")]
    Changed {
        /// The program.
        command: String,
        /// What differs.
        what: String,
    },
    /// It says something that is not understood.
    #[error("`{command}` cannot be understood")]
    Protocol {
        /// The program.
        command: String,
        /// What it said.
        source: FrameError,
    },
}

/// What redis-py says where Redis does not answer, or serves nobody now.
const OUTAGES: [&str; 8] = [
    "redis.exceptions.ConnectionError: ",
    "redis.exceptions.TimeoutError: ",
    "redis.exceptions.BusyLoadingError: ",
    "redis.exceptions.MasterDownError: ",
    "redis.exceptions.ReadOnlyError: ",
    "redis.exceptions.OutOfMemoryError: ",
    "redis.exceptions.ClusterDownError: ",
    "redis.exceptions.TryAgainError: ",
];

/// The same without the name of the exception, of which RQ's command line shows no more than the text.
const TEXTS: [&str; 9] = [
    "Timeout connecting to server",
    "Connection closed by server",
    "Error while reading from ",
    " while writing to socket",
    " is loading the dataset in memory",
    "max number of clients reached",
    "max daily request limit exceeded",
    "max requests limit exceeded",
    "max concurrent connections exceeded",
];

/// Codes of refusals that pass and have no exception of their own, and what hosts say of their limits.
const REFUSALS: [&str; 4] = [": BUSY ", ": MISCONF ", ": NOREPLICAS ", " exceeded"];

impl BootError {
    /// The error with its causes.
    #[must_use]
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(Some(self as &dyn std::error::Error), |error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// Whether the command ended because its worker could not reach Redis, or Redis served nobody. It may do so later.
    #[must_use]
    pub fn is_outage_of_redis(&self) -> bool {
        let Self::Ended { last_line: Some(line), .. } = self else { return false };
        // "Error 111 connecting to redis:6379. Connection refused.": RQ's command line shows no more of the exception.
        let before = line.split_once(" connecting to ").map(|(before, _)| before);
        let is_code = |code: &str| code.parse::<i32>().is_ok();
        let is_connect =
            before.and_then(|before| before.rsplit_once("Error ")).is_some_and(|(_, code)| is_code(code));
        let has = |signs: &[&str]| signs.iter().any(|sign| line.contains(sign));
        let is_refusal = line.contains("redis.exceptions.ResponseError: ") && has(&REFUSALS);
        has(&OUTAGES) || has(&TEXTS) || is_connect || is_refusal
    }

    /// Whether the operating system refuses what any start needs: a full temporary folder, too many processes or files.
    /// That may pass by itself, and the command is not to blame.
    #[must_use]
    pub fn is_of_system(&self) -> bool {
        match self {
            Self::Preparing { .. } => true,
            Self::Starting { source, .. } => {
                matches!(source.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory)
            }
            _ => false,
        }
    }
}

fn after(last_line: &Option<String>) -> String {
    last_line.as_ref().map(|line| format!(": {line}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_of_the_system_is_told_from_a_wrong_command() {
        let starting = |code: i32| BootError::Starting {
            command: "rq".to_owned(),
            source: io::Error::from_raw_os_error(code),
        };
        let full =
            BootError::Preparing { command: "rq".to_owned(), source: io::ErrorKind::StorageFull.into() };
        // EAGAIN, ENOMEM; ENOENT, EACCES.
        let table = [
            (full, true),
            (starting(11), true),
            (starting(12), true),
            (starting(2), false),
            (starting(13), false),
        ];
        for (error, expected) in table {
            assert_eq!(error.is_of_system(), expected, "{}", error.chain());
        }
        assert!(!BootError::NoCommand.is_of_system());
    }

    #[test]
    fn outage_of_redis_is_told_from_other_ends() {
        let table = [
            ("redis.exceptions.ConnectionError: Connection closed by server.", true),
            ("redis.exceptions.BusyLoadingError: Redis is loading the dataset in memory", true),
            ("ERROR:root:Error 111 connecting to 127.0.0.1:1. Connection refused.", true),
            ("Error -2 connecting to cache:6379. Name or service not known.", true),
            ("ERROR:root:Redis is loading the dataset in memory", true),
            ("2026-11-29 root: Valkey is loading the dataset in memory", true),
            ("ERROR:root:max number of clients reached", true),
            ("ERROR:root:Connection closed by server.", true),
            ("ERROR:root:Error while reading from cache:6379 : (104, 'Connection reset by peer')", true),
            ("ERROR:root:Error while reading from socket: (104, 'Connection reset by peer')", true),
            ("ERROR:root:Error 32 while writing to socket. Broken pipe.", true),
            (
                "redis.exceptions.MasterDownError: Link with MASTER is down and replica-serve-stale-data is set",
                true,
            ),
            ("redis.exceptions.ReadOnlyError: You can't write against a read only replica.", true),
            ("redis.exceptions.OutOfMemoryError: command not allowed when used memory > 'maxmemory'.", true),
            ("redis.exceptions.ResponseError: BUSY Redis is busy running a script.", true),
            (
                "redis.exceptions.ResponseError: Command # 1 (EXISTS a) of pipeline caused error: BUSY Redis is",
                true,
            ),
            ("redis.exceptions.ResponseError: MISCONF Redis is configured to save RDB snapshots", true),
            ("redis.exceptions.ResponseError: NOREPLICAS Not enough good replicas to write.", true),
            (
                "redis.exceptions.ResponseError: max daily request limit exceeded. Limit: 10000, Usage: 10000.",
                true,
            ),
            ("ERROR:root:max requests limit exceeded. Limit: 500000, Usage: 500001.", true),
            ("redis.exceptions.ResponseError: DB capacity quota exceeded", true),
            ("RecursionError: maximum recursion depth exceeded", false),
            ("ERROR:root:invalid username-password pair or user is disabled.", false),
            ("ERROR:root:Authentication required.", false),
            (
                "redis.exceptions.NoPermissionError: User u has no permissions to run the 'exists' command",
                false,
            ),
            ("redis.exceptions.ResponseError: unknown command 'EVALSHA'", false),
            ("shop.Unready: BUSY", false),
            ("redis.exceptions.AuthenticationError: invalid username-password pair", false),
            ("ModuleNotFoundError: No module named 'shop'", false),
            ("ValueError: Error in settings", false),
        ];
        for (line, expected) in table {
            let error = BootError::Ended {
                command: "rq".to_owned(),
                status: String::new(),
                last_line: Some(line.to_owned()),
                stderr: String::new(),
            };
            assert_eq!(error.is_outage_of_redis(), expected, "{line}");
        }
    }
}
