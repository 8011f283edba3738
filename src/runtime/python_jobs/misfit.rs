//! Whether captured Python workers can be served beside kinds in Rust, and beside each other.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;
use url::Url;

use crate::config::{BrokerEngine, Settings};
use crate::python::{Connection, Hello};

/// The prefix of the keys of RQ's own workers.
const PREFIX: &str = "rq";

/// The first of these workers that cannot be served in a process with these settings, by its place, with the reason.
/// Without workers: why none can be.
#[must_use]
pub fn misfit(settings: &Settings, workers: &[&Hello]) -> Option<(usize, String)> {
    let BrokerEngine::Redis(redis) = &settings.broker.engine else {
        return Some((0, "`broker.url` is `embedded`, but Python workers need the Redis of RQ".to_owned()));
    };
    if redis.key_prefix != PREFIX {
        let prefix = &redis.key_prefix;
        return Some((
            0,
            format!("`broker.key_prefix` is `{prefix}`, but that of RQ's workers is `{PREFIX}`"),
        ));
    }
    let own = Place::of_address(redis.url.expose_secret());
    let rust = settings.worker.queues.iter().map(|queue| (queue.as_str(), None));
    let mut served: BTreeMap<&str, Option<usize>> = rust.collect();
    for (place, hello) in workers.iter().enumerate() {
        let its = Place::of_connection(&hello.connection);
        if own.as_ref() != Some(&its) {
            let own = own.map(|own| own.to_string()).unwrap_or_default();
            return Some((
                place,
                format!(
                    "its Redis is {its}, but `broker.url` is {own}: only workers on the service's own are served"
                ),
            ));
        }
        let work = &hello.work;
        if work.burst || work.max_jobs.is_some() || work.max_idle_time.is_some() {
            let text =
                "its worker would leave by itself (burst, max_jobs or max_idle_time); here it has to stay";
            return Some((place, text.to_owned()));
        }
        for queue in &hello.queues {
            match served.insert(queue, Some(place)) {
                None => {}
                Some(Some(other)) if other == place => {}
                Some(Some(other)) => {
                    let other = other + 1;
                    return Some((
                        place,
                        format!("queue `{queue}` is that of `[[python]]` number {other}, too"),
                    ));
                }
                Some(None) => {
                    return Some((
                        place,
                        format!("queue `{queue}` is among `worker.queues`, too, whose jobs run in Rust"),
                    ));
                }
            }
        }
    }
    None
}

/// Which database of which server.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Tcp { host: String, port: u16, db: i64 },
    Socket { path: String, db: i64 },
}

impl Place {
    /// Of an address as the settings have it.
    fn of_address(address: &str) -> Option<Self> {
        let url = Url::parse(address).ok()?;
        if url.scheme() == "redis+unix" {
            let db = url.query_pairs().find(|(name, _)| name == "db").and_then(|(_, db)| db.parse().ok());
            let path = percent_decode_str(url.path()).decode_utf8().ok()?.into_owned();
            return Some(Self::Socket { path, db: db.unwrap_or(0) });
        }
        let db = url.path().trim_matches('/').parse().unwrap_or(0);
        Some(Self::Tcp { host: host(url.host_str()?), port: url.port()?, db })
    }

    fn of_connection(connection: &Connection) -> Self {
        let db = connection.db.unwrap_or(0);
        if connection.kind == "unix" {
            return Self::Socket { path: connection.path.clone().unwrap_or_default(), db };
        }
        let host = host(connection.host.as_deref().unwrap_or("localhost"));
        Self::Tcp { host, port: connection.port.unwrap_or(6379), db }
    }
}

/// In one spelling; this machine has several.
fn host(text: &str) -> String {
    match text.trim_matches(['[', ']']) {
        "127.0.0.1" | "::1" => "localhost".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, db } => write!(f, "{host}:{port}, database {db}"),
            Self::Socket { path, db } => write!(f, "{path}, database {db}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::python::WorkArguments;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let all = [("worker.queues", "maintenance"), ("broker.url", "redis://:geheim@127.0.0.1/2")];
        let sources =
            all.iter().chain(pairs).fold(Sources::none(), |all, (key, value)| all.set(*key, *value));
        Settings::load(&sources).unwrap().settings
    }

    fn on(host: &str, db: i64, queues: &[&str]) -> Hello {
        let connection =
            Connection { kind: "tcp".into(), host: Some(host.into()), db: Some(db), ..Connection::default() };
        Hello {
            connection,
            queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
            ..Hello::default()
        }
    }

    fn reason(settings: &Settings, workers: &[Hello]) -> Option<(usize, String)> {
        misfit(settings, &workers.iter().collect::<Vec<_>>())
    }

    #[test]
    fn workers_on_the_services_own_redis_with_queues_of_their_own_fit() {
        let workers = [on("localhost", 2, &["high", "high", "default"]), on("LOCALHOST", 2, &["low"])];
        assert_eq!(reason(&settings(&[]), &workers), None);
        let socket = settings(&[("broker.url", "unix:///run/a%20b.sock?db=1")]);
        let connection = Connection {
            kind: "unix".into(),
            path: Some("/run/a b.sock".into()),
            db: Some(1),
            ..Connection::default()
        };
        assert_eq!(reason(&socket, &[Hello { connection, ..Hello::default() }]), None);
    }

    #[test]
    fn what_does_not_fit_is_named_without_a_secret() {
        let fine = on("localhost", 2, &["high"]);
        let work = WorkArguments { burst: true, ..WorkArguments::default() };
        let table = [
            (
                on("other", 2, &["low"]),
                "its Redis is other:6379, database 2, but `broker.url` is localhost:6379, database 2",
            ),
            (on("localhost", 0, &["low"]), "its Redis is localhost:6379, database 0"),
            (Hello { work, ..on("localhost", 2, &["low"]) }, "would leave by itself"),
            (on("localhost", 2, &["low", "high"]), "queue `high` is that of `[[python]]` number 1, too"),
            (on("localhost", 2, &["maintenance"]), "queue `maintenance` is among `worker.queues`, too"),
        ];
        for (worker, expected) in table {
            let (place, why) = reason(&settings(&[]), &[fine.clone(), worker]).unwrap();
            assert!(place == 1 && why.contains(expected) && !why.contains("geheim"), "{why}");
        }
        for (key, value, expected) in
            [("broker.url", "embedded", "`broker.url` is `embedded`"), ("broker.key_prefix", "q", "`q`")]
        {
            assert!(reason(&settings(&[(key, value)]), &[]).unwrap().1.contains(expected));
        }
    }
}
