//! `[python]`: how the processes of Python jobs are used.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::size::ByteSize;
use crate::config::value::{Value, words};

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

impl PythonSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            isolation: reader.get("python.isolation"),
            user: Some(reader.get::<String>("python.user")).filter(|user| !user.is_empty()),
            preload: reader.get("python.preload"),
            boot_timeout: reader.duration("python.boot_timeout"),
            kill_after: reader.duration("python.kill_after"),
            jobs_per_process: reader.within("python.jobs_per_process", 1..=1_000_000_000),
            lifetime: reader.duration("python.lifetime"),
            memory_growth: reader
                .read("python.memory_growth", "a size from 1MiB", |size: &ByteSize| size.0 >= 1 << 20),
            memory_limit: reader.read(
                "python.memory_limit",
                "`none` or a size from 16MiB",
                |limit: &Option<ByteSize>| limit.is_none_or(|size| size.0 >= 16 << 20),
            ),
        }
    }
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
