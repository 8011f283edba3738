//! What a zygote reports of the worker that it captured.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde::Deserialize;

use super::preload::Hazards;

/// The worker of the team's command, as it stood when it was about to work.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Version of the protocol.
    pub shim: u32,
    /// Version of RQ.
    pub rq: String,
    /// Version of Python.
    pub python: String,
    /// Path of the interpreter.
    pub executable: String,
    /// Process id of the zygote.
    pub pid: u32,
    /// `worker` or `pool`.
    pub kind: String,
    /// The worker's class, with its module.
    pub worker_class: String,
    /// The worker's name.
    pub name: String,
    /// The queues, in order.
    pub queues: Vec<String>,
    /// How many jobs at once the team asked for.
    pub slots: Option<usize>,
    /// Where Redis is.
    pub connection: Connection,
    /// The serializer, by its path.
    pub serializer: Option<String>,
    /// The class of jobs, by its path.
    pub job_class: Option<String>,
    /// The class of queues, by its path.
    pub queue_class: Option<String>,
    /// The class that limits a job's time, by its path.
    pub death_penalty_class: Option<String>,
    /// Methods of the worker's class that replace something that is not run under Tikkun.
    pub overrides: Vec<String>,
    /// Names of the exception handlers.
    pub exception_handlers: Vec<String>,
    /// How long results are kept, in seconds, where the job says nothing.
    pub default_result_ttl: Option<f64>,
    /// How long the worker's key lives without a heartbeat, in seconds.
    pub worker_ttl: Option<f64>,
    /// How often RQ would look at a running job, in seconds.
    pub job_monitoring_interval: Option<f64>,
    /// How often RQ would do its maintenance, in seconds.
    pub maintenance_interval: Option<f64>,
    /// Whether RQ's own exception handler is off.
    pub disable_default_exception_handler: bool,
    /// Whether descriptions of jobs may be logged.
    pub log_job_description: Option<bool>,
    /// What `work()` was called with.
    pub work: WorkArguments,
    /// What its process has that its children get only a part of.
    #[serde(flatten)]
    pub hazards: Hazards,
    /// Whether the worker has its own handler for processes that die.
    pub horse_killed_handler: bool,
    /// Whether the worker's class replaces what RQ calls for a failed job.
    pub own_failures: bool,
    /// Whether this RQ has webhooks.
    pub webhooks: bool,
    /// Whether the worker logs nothing of a job that ends well.
    pub is_quiet: bool,
}

/// Where the captured worker's Redis is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// `tcp` or `unix`.
    pub kind: String,
    /// Host name or address.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Path of a Unix socket.
    pub path: Option<String>,
    /// Number of the database.
    pub db: Option<i64>,
    /// Name of the user.
    pub username: Option<String>,
    /// Password; never shown.
    pub password: Option<SecretString>,
    /// Whether TLS is used.
    pub tls: bool,
    /// File of the authorities that are trusted.
    pub ssl_ca_certs: Option<String>,
    /// `none`, `optional` or `required`.
    pub ssl_cert_reqs: Option<String>,
    /// File of the client's certificate.
    pub ssl_certfile: Option<String>,
    /// File of the client's key.
    pub ssl_keyfile: Option<String>,
    /// Whether the host's name must be that of the certificate.
    pub ssl_check_hostname: Option<bool>,
}

/// What `work()` was called with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WorkArguments {
    /// Leave when the queues are empty.
    pub burst: bool,
    /// Leave after so many jobs.
    pub max_jobs: Option<u64>,
    /// Leave after so many seconds without a job.
    pub max_idle_time: Option<f64>,
    /// Run the scheduler, too.
    pub with_scheduler: bool,
    /// How queues take turns.
    pub dequeue_strategy: Option<String>,
    /// Level of logging, a name or a number.
    pub logging_level: Option<serde_json::Value>,
}

impl Connection {
    /// The server and its database. Who asks may change: some are given a new password for each connection.
    fn place(&self) -> String {
        let Self { host, port, path, db, tls, .. } = self;
        let server = match (path, host) {
            (Some(path), _) => path.clone(),
            (None, host) => {
                format!("{}:{}", host.as_deref().unwrap_or("localhost"), port.unwrap_or(6379))
            }
        };
        let tls = if *tls { " with TLS" } else { "" };
        format!("{server}{tls}, database {}", db.unwrap_or(0))
    }
}

impl Hello {
    /// The name that somebody gave the worker. RQ makes one of 32 hexadecimal digits where nobody does.
    #[must_use]
    pub fn given_name(&self) -> Option<&str> {
        let is_made = |name: &str| {
            name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        Some(self.name.as_str()).filter(|name| !name.is_empty() && !is_made(name))
    }

    /// In what a worker of the same command differs from this one's `first`, as far as its jobs would notice.
    #[must_use]
    pub fn difference(&self, first: &Self) -> Option<String> {
        let queues = |hello: &Self| hello.queues.iter().cloned().collect::<BTreeSet<_>>();
        if queues(self) != queues(first) {
            let [now, then] = [self, first].map(|hello| hello.queues.join(","));
            return Some(format!("its queues are `{now}`, not `{then}`"));
        }
        let [now, then] = [self, first].map(|hello| hello.connection.place());
        if now != then {
            return Some(format!("its Redis is {now}, not {then}"));
        }
        let [now, then] = [self, first].map(|hello| hello.serializer.as_deref().unwrap_or("none"));
        (now != then).then(|| format!("its serializer is `{now}`, not `{then}`"))
    }

    /// Whether jobs that are due are enqueued, too; a pool of RQ always does.
    #[must_use]
    pub fn schedules(&self) -> bool {
        self.work.with_scheduler || self.kind == "pool"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn password_comes_through_and_is_never_shown() {
        let hello: Hello = serde_json::from_str(
            r#"{"shim": 1, "rq": "3.0.0", "pid": 7, "queues": ["high", "low"], "slots": 2, "unknown": [],
                "serializer": null, "worker_ttl": 420, "work": {"burst": true, "logging_level": 20},
                "connection": {"kind": "tcp", "host": "redis", "port": 6379, "db": 0, "password": "geheim"}}"#,
        )
        .unwrap();
        assert_eq!(
            (hello.queues.as_slice(), hello.slots),
            (&["high".to_owned(), "low".to_owned()][..], Some(2))
        );
        assert!(hello.work.burst);
        assert_eq!(hello.connection.password.as_ref().unwrap().expose_secret(), "geheim");
        assert!(!format!("{hello:?}").contains("geheim"));
    }

    #[test]
    fn only_what_jobs_would_notice_is_a_difference() {
        let of = |queues: &[&str], db, password: &str, serializer: &str| Hello {
            queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
            connection: Connection {
                host: Some("redis".to_owned()),
                db: Some(db),
                password: Some(password.to_owned().into()),
                ..Connection::default()
            },
            serializer: Some(serializer.to_owned()),
            ..Hello::default()
        };
        let first = of(&["high", "low"], 0, "old", "pickle");
        let table = [
            (of(&["low", "high"], 0, "new", "pickle"), None),
            (of(&["high"], 0, "old", "pickle"), Some("its queues are `high`, not `high,low`")),
            (
                of(&["high", "low"], 1, "old", "pickle"),
                Some("its Redis is redis:6379, database 1, not redis:6379, database 0"),
            ),
            (of(&["high", "low"], 0, "old", "json"), Some("its serializer is `json`, not `pickle`")),
        ];
        for (other, expected) in table {
            assert_eq!(other.difference(&first).as_deref(), expected);
        }
    }

    #[test]
    fn name_that_rq_makes_is_none_that_was_given() {
        let named = |name: &str| Hello { name: name.to_owned(), ..Hello::default() };
        assert_eq!(named("web-1").given_name(), Some("web-1"));
        for made in ["", "0123456789abcdef0123456789abcdef"] {
            assert_eq!(named(made).given_name(), None);
        }
    }
}
