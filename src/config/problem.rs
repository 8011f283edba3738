//! The problems that stop the start, and the warnings that do not.

use std::fmt;

/// All problems of a configuration, not only the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One problem to fix. It names the key or the variable, and contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The text, in one line.
    pub text: String,
}

/// The log level of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningLevel {
    /// The setting is probably a mistake.
    Warn,
    /// The service starts, but something that its users rely on does not work.
    Error,
}

/// A problem that does not stop the start. The caller of the load logs it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Its log level.
    pub level: WarningLevel,
    /// The text, in one line.
    pub text: String,
    /// Whether it is about a queue without a listener here, which the state of the queues shows, too.
    pub of_queues: bool,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// All problems, in the order of the sections in `config/default.toml` where they belong to one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

impl Warning {
    pub(super) fn warn(text: impl Into<String>) -> Self {
        Self { level: WarningLevel::Warn, text: text.into(), of_queues: false }
    }

    pub(super) fn error(text: impl Into<String>) -> Self {
        Self { level: WarningLevel::Error, text: text.into(), of_queues: false }
    }

    /// The same warning, marked as about a queue that is not served here.
    pub(super) fn of_queues(self) -> Self {
        Self { of_queues: true, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "cannot use this configuration: {one}"),
            several => {
                write!(f, "cannot use this configuration, {} problems:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
