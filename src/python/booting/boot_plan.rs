//! What is to be started.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use crate::python::hello::Hello;
use crate::python::output::OutputSink;

/// How children come to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// They are forked from a process that has booted once.
    #[default]
    Fork,
    /// The command is started for each of them.
    Spawn,
}

/// How a command is started.
#[derive(Clone)]
pub struct BootPlan<'a> {
    /// The team's command: a program and its arguments.
    pub command: &'a [OsString],
    /// The Python side: names of files (with folders, `/` between) and their texts.
    pub shim: &'a [(&'a str, &'a str)],
    /// All of the command's environment. `PYTHONPATH` gets the shim's folder in front; `TIKKUN_FD`,
    /// `TIKKUN_LIFELINE`, with [`Start::Spawn`] `TIKKUN_START` and, unless it is there, `PYTHONFAULTHANDLER` are added.
    pub environment: &'a [(OsString, OsString)],
    /// The user to run as; `None`: that of Tikkun.
    pub user: Option<&'a str>,
    /// Takes what the command itself writes, and what its children write between jobs.
    pub sink: Arc<dyn OutputSink>,
    /// How long the command may take to reach its worker.
    pub deadline: Duration,
    /// How children come to be.
    pub start: Start,
    /// What the command was found to be before, from which it must not differ; `None`: anything.
    pub known: Option<&'a Hello>,
}
