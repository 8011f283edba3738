//! `[worker]`: the queues to listen to, and how many jobs run at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::problem::Warning;
use crate::config::reader::Reader;
use crate::config::size::ByteSize;
use crate::job::QueueName;

/// In which order queues with jobs are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueOrder {
    /// A queue only when those listed before it are empty.
    #[default]
    AsListed,
    /// One after the other.
    InTurn,
    /// By chance.
    Random,
}

/// `[worker]`.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The queues to fetch from, the most urgent first; never empty, no queue twice.
    pub queues: Vec<QueueName>,
    /// `queues` as given in the environment or by a flag, else joined with commas.
    pub queues_as_given: String,
    /// The order in which `queues` are served. No key sets it.
    pub order: QueueOrder,
    /// Every queue that is known to exist.
    pub known_queues: Vec<QueueName>,
    /// The most jobs that run at the same time.
    pub slots: usize,
    /// Threads for job code, at most `slots`. 0 if all of it runs in other processes: no value of the key means that.
    pub threads: usize,
    /// The most slots per queue; a queue that is not listed may use all.
    pub queue_caps: BTreeMap<QueueName, usize>,
    /// By queue: where jobs with an unregistered function are forwarded. In other queues they fail.
    pub forward_unknown: BTreeMap<QueueName, QueueName>,
    /// The most memory for the arguments of all jobs in hand, without those of up to 64 KiB.
    pub payload_budget: ByteSize,
    /// How long one fetch from an empty queue waits.
    pub fetch_patience: Duration,
}

/// The default queue of deletion jobs.
const MAINTENANCE: &str = "maintenance";

/// The smallest budget; less would refuse ordinary jobs. The largest still fits a count of KiB.
const LEAST_BUDGET: ByteSize = ByteSize(1 << 20);
const MOST_BUDGET: ByteSize = ByteSize(1 << 40);

impl WorkerSettings {
    /// Whether this process listens to `queue`.
    #[must_use]
    pub fn listens_to(&self, queue: &str) -> bool {
        self.queues.iter().any(|listened| listened.as_str() == queue)
    }

    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        let queues = queue_list(reader, "worker.queues");
        let joined = || queues.iter().map(QueueName::as_str).collect::<Vec<_>>().join(",");
        let queues_as_given = reader.given_text("worker.queues").unwrap_or_else(joined);
        let known_queues = queue_list(reader, "worker.known_queues");
        let slots = reader.within("worker.slots", 1..=1024);
        let threads = match reader.within("worker.threads", 0..=256) {
            0 => slots,
            threads => threads.min(slots),
        };
        let queue_caps = caps(reader);
        let forward_unknown = forwards(reader, &queues);
        let payload_budget = reader.read("worker.payload_budget", "1MiB to 1024GiB", |budget: &ByteSize| {
            (LEAST_BUDGET..=MOST_BUDGET).contains(budget)
        });
        let fetch_patience = reader.duration("worker.fetch_patience");
        Self {
            queues,
            queues_as_given,
            order: QueueOrder::default(),
            known_queues,
            slots,
            threads,
            queue_caps,
            forward_unknown,
            payload_budget,
            fetch_patience,
        }
    }

    /// Warns of known queues that this process does not listen to.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for queue in self.known_queues.iter().filter(|queue| !self.listens_to(queue.as_str())) {
            if queue.as_str() != MAINTENANCE {
                warnings.push(Warning::warn(format!(
                    "queue `{queue}` is known but not listened to: its jobs wait for another worker"
                )));
            }
        }
        if !self.listens_to(MAINTENANCE) {
            warnings.push(Warning::error(format!(
                "queue `{MAINTENANCE}` is not listened to: deletions of receipts will wait for ever unless \
                 another worker takes them; add it to RQ_QUEUES"
            )));
        }
        warnings.into_iter().map(Warning::of_queues).collect()
    }
}

fn queue_list(reader: &mut Reader<'_>, key: &'static str) -> Vec<QueueName> {
    let expected = "at least one queue name: `[\"high\", \"low\"]` in a file, `high,low` elsewhere";
    let names: Vec<String> = reader
        .read(key, expected, |names: &Vec<String>| !names.is_empty() && names.iter().all(|n| is_name(n)));
    let mut queues: Vec<QueueName> = Vec::new();
    for name in names {
        let queue = QueueName::from(&name);
        if queues.contains(&queue) {
            let named = reader.name(key);
            reader
                .warnings
                .push(Warning::warn(format!("{named} names `{queue}` twice: the repeat is dropped")));
        } else {
            if let Some(hint) = oddity(queue.as_str()) {
                let named = reader.name(key);
                reader.warnings.push(Warning::warn(format!(
                    "{named} names the queue `{queue}`, which is served under just this name; {hint}"
                )));
            }
            queues.push(queue);
        }
    }
    queues
}

/// A hint for a queue name that RQ accepts but that is probably a mistake.
fn oddity(name: &str) -> Option<&'static str> {
    match name {
        _ if name.contains(['"', '\'']) => Some(
            "if the quotes are not part of it, leave them out: `docker --env-file` does not take them off",
        ),
        _ if name.contains('#') => {
            Some("if a comment was meant, put it into a line of its own: what follows a `#` is not cut off")
        }
        _ if name.contains([';', '|']) || name.contains(char::is_whitespace) => {
            Some("if several queues were meant, put commas between them")
        }
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

/// The prefix for forwarding in `worker.unknown_function`.
const FORWARD: &str = "forward:";

fn forwards(reader: &mut Reader<'_>, listened: &[QueueName]) -> BTreeMap<QueueName, QueueName> {
    let expected = "`fail` or `forward:QUEUE` by queue, as in `{ default = \"forward:python\" }` in a file, \
                    `default=forward:python` elsewhere, to a queue that this process does not listen to";
    let to = |what: &str| what.strip_prefix(FORWARD).map(QueueName::from);
    let is_fine = |(name, what): (&String, &String)| {
        let forwards = to(what).is_some_and(|queue| is_name(queue.as_str()) && !listened.contains(&queue));
        is_name(name) && (what == "fail" || forwards)
    };
    let given: BTreeMap<String, String> =
        reader.read("worker.unknown_function", expected, |given: &BTreeMap<String, String>| {
            given.iter().all(is_fine)
        });
    given.iter().filter_map(|(name, what)| Some((QueueName::from(name), to(what)?))).collect()
}

fn caps(reader: &mut Reader<'_>) -> BTreeMap<QueueName, usize> {
    let expected = "at least 1 slot for each queue: `{ high = 2 }` in a file, `high=2,low=1` elsewhere";
    let caps = reader.read("worker.queue_caps", expected, |caps: &BTreeMap<String, usize>| {
        caps.iter().all(|(name, slots)| is_name(name) && *slots > 0)
    });
    caps.iter().map(|(name, slots)| (QueueName::from(name), *slots)).collect()
}
