//! `[python]`: how the processes of Python jobs are used; and `[[python]]`: workers whose jobs run beside kinds in Rust.

use std::time::Duration;

use crate::config::keys::PYTHON_WORKERS;
use crate::config::reader::Reader;
use crate::config::size::ByteSize;
use crate::config::table::{Key, TableReader, Unless};
use crate::config::value::{Privacy, Value, words};
use crate::job::KindName;

/// How far Python jobs are kept apart from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A process for each job.
    Job,
    /// Processes that run many jobs.
    Warm,
}

words!(Isolation, "`job` or `warm`", Job, {
    Job: "job",
    Warm: "warm",
});

/// How the processes of jobs come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildStart {
    /// They are forked from that of the worker's command.
    Fork,
    /// The worker's command is started for each.
    Spawn,
}

words!(ChildStart, "`fork` or `spawn`", Fork, {
    Fork: "fork",
    Spawn: "spawn",
});

/// Which modules are imported before jobs need them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreloadChoice {
    /// None.
    Off,
    /// Those that jobs have imported.
    Learned,
    /// These.
    Modules(Vec<String>),
}

impl Value for PreloadChoice {
    const EXPECTED: &'static str = "`learned`, `off`, or names of modules: `[\"pandas\", \"shop.jobs\"]` in a file, \
                                    `pandas,shop.jobs` elsewhere";

    fn from_text(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "learned" => Some(Self::Learned),
            "off" => Some(Self::Off),
            _ => {
                let modules = Vec::<String>::from_text(text)?;
                let are_names = !modules.is_empty() && modules.iter().all(|module| is_module(module));
                are_names.then_some(Self::Modules(modules))
            }
        }
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        match value.as_str() {
            Some(text) => Self::from_text(text),
            None => Self::from_text(&Vec::<String>::from_toml(value)?.join(",")),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Learned => "learned".to_owned(),
            Self::Modules(modules) => modules.show(),
        }
    }

    fn stand_in() -> Self {
        Self::Off
    }
}

/// Whether Python's `import` would take it as a name.
fn is_module(name: &str) -> bool {
    name.split('.').all(|part| {
        let is_word = part.chars().all(|letter| letter == '_' || letter.is_alphanumeric());
        is_word && part.chars().next().is_some_and(|first| !first.is_numeric())
    })
}

/// `[python]`.
#[derive(Clone, Debug)]
pub struct PythonSettings {
    /// How far jobs are kept apart.
    pub isolation: Isolation,
    /// How processes come to be.
    pub start: ChildStart,
    /// The user that the processes run as; `None`: that of this process.
    pub user: Option<String>,
    /// Which modules are imported before jobs need them.
    pub preload: PreloadChoice,
    /// How long the worker's command may take until its worker is about to work.
    pub boot_timeout: Duration,
    /// How long code that does not yield to its time limit goes on before its process is killed.
    pub kill_after: Duration,
    /// After how many jobs a process that runs many is replaced.
    pub jobs_per_process: u64,
    /// After which time it is replaced.
    pub lifetime: Duration,
    /// By how much its memory may grow before it is replaced.
    pub memory_growth: ByteSize,
    /// How much memory it may have for itself while it runs a job before it is killed.
    pub memory_limit: Option<ByteSize>,
}

/// A worker of `[[python]]`.
#[derive(Clone, Debug)]
pub struct PythonWorkerSettings {
    /// The command that starts it, with its arguments.
    pub command: Vec<String>,
    /// How its processes are used.
    pub processes: PythonSettings,
    /// The functions in Rust that run in Rust although their jobs lie in its queues.
    pub native: Vec<KindName>,
    /// How many of its jobs run at once; `None`: as many as it asks for.
    pub slots: Option<usize>,
}

/// The keys of a worker, as in `config/default.toml`.
const KEYS: [Key; 13] = [
    Key { name: "command", unless_given: Unless::Refused },
    Key { name: "native", unless_given: Unless::Free },
    Key { name: "slots", unless_given: Unless::Free },
    Key { name: "isolation", unless_given: Unless::Free },
    Key { name: "start", unless_given: Unless::Free },
    Key { name: "boot_timeout", unless_given: Unless::Free },
    Key { name: "kill_after", unless_given: Unless::Free },
    Key { name: "jobs_per_process", unless_given: Unless::Free },
    Key { name: "lifetime", unless_given: Unless::Free },
    Key { name: "memory_growth", unless_given: Unless::Free },
    Key { name: "memory_limit", unless_given: Unless::Free },
    Key { name: "user", unless_given: Unless::Free },
    Key { name: "preload", unless_given: Unless::Free },
];

/// Why modules are not to be named with `spawn`.
pub(in crate::config) const NOTHING_AHEAD: &str = "is for processes that are forked: with the start `spawn` each \
                                                   imports all by itself; leave it out";

/// The most jobs that a process runs before it is replaced.
const MOST_JOBS: u64 = 1_000_000_000;
/// A size of memory growth that every process exceeds would replace all of them after each job.
const LEAST_GROWTH: ByteSize = ByteSize(1 << 20);
const GROWTH: &str = "a size from 1MiB";
const LIMIT: &str = "`none` or a size from 16MiB";

fn is_usable_limit(limit: &Option<ByteSize>) -> bool {
    limit.is_none_or(|size| size.0 >= 16 << 20)
}

/// The user of this name; an empty one is nobody else.
fn named(user: String) -> Option<String> {
    Some(user).filter(|user| !user.is_empty())
}

/// A command, which may hold a secret.
struct Words(Vec<String>);

impl Value for Words {
    const EXPECTED: &'static str =
        "the program and its arguments, as in `[\"rq\", \"worker\", \"high\", \"default\"]`";
    const PRIVACY: Privacy = Privacy::Secret;

    fn from_text(_: &str) -> Option<Self> {
        None
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        let words = value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
        words.collect::<Option<_>>().map(Self)
    }

    fn show(&self) -> String {
        shown(&self.0).join(" ")
    }

    fn stand_in() -> Self {
        Self(Vec::new())
    }
}

/// The words up to the first that may hold a secret: an option, or one with an address or a value in it.
fn shown(command: &[String]) -> Vec<String> {
    let is_plain = |word: &&String| !word.starts_with('-') && !word.contains([':', '=', '@']);
    let mut shown: Vec<String> = command.iter().take_while(is_plain).cloned().collect();
    if shown.len() < command.len() {
        shown.push("…".to_owned());
    }
    shown
}

impl PythonSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            isolation: reader.get("python.isolation"),
            start: reader.get("python.start"),
            user: named(reader.get("python.user")),
            preload: reader.get("python.preload"),
            boot_timeout: reader.duration("python.boot_timeout"),
            kill_after: reader.duration("python.kill_after"),
            jobs_per_process: reader.within("python.jobs_per_process", 1..=MOST_JOBS),
            lifetime: reader.duration("python.lifetime"),
            memory_growth: reader
                .read("python.memory_growth", GROWTH, |size: &ByteSize| *size >= LEAST_GROWTH),
            memory_limit: reader.read("python.memory_limit", LIMIT, is_usable_limit),
        }
    }

    /// The same with what a worker says itself.
    fn with(&self, table: &mut TableReader<'_>) -> Self {
        let time = format!("{}, longer than zero", Duration::EXPECTED);
        let longer = |time: &Duration| !time.is_zero();
        let isolation = table.read_if_given("isolation", Isolation::EXPECTED, |_| true);
        let start = table.read_if_given("start", ChildStart::EXPECTED, |_| true);
        let boot_timeout = table.read_if_given("boot_timeout", &time, longer);
        let kill_after = table.read_if_given("kill_after", &time, longer);
        let expected = format!("a whole number from 1 to {MOST_JOBS}");
        let jobs =
            table.read_if_given("jobs_per_process", &expected, |jobs: &u64| (1..=MOST_JOBS).contains(jobs));
        let lifetime = table.read_if_given("lifetime", &time, longer);
        let growth = table.read_if_given("memory_growth", GROWTH, |size: &ByteSize| *size >= LEAST_GROWTH);
        let user = table.read_if_given("user", String::EXPECTED, |_| true);
        let preload = table.read_if_given("preload", PreloadChoice::EXPECTED, |_| true);
        let limit = table.read_if_given("memory_limit", LIMIT, is_usable_limit);
        let start = start.unwrap_or(self.start);
        if start == ChildStart::Spawn && preload.as_ref().is_some_and(|choice| *choice != PreloadChoice::Off)
        {
            table.problems.push(format!("{}: `preload` {NOTHING_AHEAD}", table.name()));
        }
        Self {
            isolation: isolation.unwrap_or(self.isolation),
            start,
            boot_timeout: boot_timeout.unwrap_or(self.boot_timeout),
            kill_after: kill_after.unwrap_or(self.kill_after),
            jobs_per_process: jobs.unwrap_or(self.jobs_per_process),
            lifetime: lifetime.unwrap_or(self.lifetime),
            memory_growth: growth.unwrap_or(self.memory_growth),
            memory_limit: limit.unwrap_or(self.memory_limit),
            user: user.map_or_else(|| self.user.clone(), named),
            preload: preload.unwrap_or_else(|| self.preload.clone()),
        }
    }
}

impl PythonWorkerSettings {
    /// The command without what may be a secret.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.command).join(" ")
    }

    fn read(table: &mut TableReader<'_>, usual: &PythonSettings) -> Self {
        let is_command = |Words(words): &Words| words.first().is_some_and(|program| !program.is_empty());
        let Words(command) = table.read("command", Words::EXPECTED, is_command);
        let words = shown(&command).into_iter().map(toml::Value::from).collect();
        table.shown.insert("command".to_owned(), toml::Value::Array(words));
        let native: Option<Vec<String>> = table.read_if_given(
            "native",
            "names of functions in Rust, as in `[\"delete_receipts_batch_job\"]`",
            |_| true,
        );
        let slots = table.read_if_given("slots", "a whole number from 1 to 1024", |slots: &usize| {
            (1..=1024).contains(slots)
        });
        let native = native.unwrap_or_default().into_iter().map(KindName::from).collect();
        Self { command, processes: usual.with(table), native, slots }
    }
}

/// Reads all workers. What one does not say itself is as in `usual`.
pub(in crate::config) fn read_workers(
    reader: &mut Reader<'_>,
    usual: &PythonSettings,
) -> Vec<PythonWorkerSettings> {
    let mut workers = Vec::new();
    for (place, (origin, table)) in reader.tables(PYTHON_WORKERS).iter().enumerate() {
        let mut one = TableReader::new(format!("`[[python]]` number {}", place + 1), (origin, table), &KEYS);
        workers.push(PythonWorkerSettings::read(&mut one, usual));
        reader.add_table(PYTHON_WORKERS, one, origin);
    }
    workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preload_is_a_word_or_names_of_modules() {
        let modules =
            |names: &[&str]| PreloadChoice::Modules(names.iter().map(|name| (*name).to_owned()).collect());
        let table = [
            ("learned", Some(PreloadChoice::Learned)),
            (" OFF ", Some(PreloadChoice::Off)),
            ("pandas, shop.jobs,", Some(modules(&["pandas", "shop.jobs"]))),
            ("", None),
            ("shop/jobs.py", None),
            ("shop..jobs", None),
            ("2fast", None),
        ];
        for (text, expected) in table {
            assert_eq!(PreloadChoice::from_text(text), expected, "{text}");
        }
        let listed = |text: &str| PreloadChoice::from_toml(&text.parse::<toml::Table>().unwrap()["preload"]);
        assert_eq!(listed(r#"preload = ["pandas", "shop.jobs"]"#), Some(modules(&["pandas", "shop.jobs"])));
        assert_eq!(listed(r#"preload = "learned""#), Some(PreloadChoice::Learned));
        assert_eq!(listed("preload = []"), None);
        assert_eq!(modules(&["a", "b.c"]).show(), "a,b.c");
    }
}
