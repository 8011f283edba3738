//! What is wrong with a configuration, and what is merely worth a warning.

use std::fmt;

/// Why the service does not start: every problem that was found, not only the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One thing to put right. Names the key or the variable, and never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What to put right, in one line.
    pub text: String,
}

/// How loudly a warning is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningLevel {
    /// Probably not what was meant.
    Warn,
    /// The service starts, but something that people count on will not happen.
    Error,
}

/// Something that does not stop the start; whoever loaded the settings logs it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// How loudly.
    pub level: WarningLevel,
    /// What, in one line.
    pub text: String,
    /// Whether it is about a queue that is left to others: that shows in the queues themselves, too.
    pub of_queues: bool,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// All problems, in the order of the manual's sections as far as they belong to one.
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

    /// The same, about a queue that is left to others.
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
