//! Starts the team's command and waits until its worker is about to work.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::boot_error::BootError;
use super::boot_plan::{BootPlan, Start};
use super::ground::Ground;
use super::other_user::OtherUser;
use super::shim_folder::ShimFolder;
use super::started::Started;
use crate::python::control::{MAX_CONTROL_FRAME, Register};
use crate::python::frame::FrameReader;
use crate::python::hello::Hello;
use crate::python::output::OutputSink;
use crate::python::sockets::socket_pair;

/// A command with all that each start of it needs.
pub(in crate::python) struct Launch {
    command: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    user: Option<OtherUser>,
    watched: OwnedFd,
    sink: Arc<dyn OutputSink>,
    deadline: Duration,
    known: Option<Hello>,
}

/// A process whose worker is about to work.
pub(in crate::python) struct Booted {
    pub(in crate::python) frames: FrameReader<OwnedReadHalf>,
    pub(in crate::python) writer: OwnedWriteHalf,
    pub(in crate::python) process: Started,
    pub(in crate::python) hello: Hello,
}

impl Launch {
    /// Prepares starts of the command of `plan`.
    pub(in crate::python) fn prepare(plan: &BootPlan<'_>) -> Result<(Self, Ground), BootError> {
        if !cfg!(target_os = "linux") {
            return Err(BootError::Unsupported);
        }
        let preparing = |source| BootError::Preparing { command: name(plan.command), source };
        let user = plan.user.map(OtherUser::find).transpose()?.flatten();
        let shim = ShimFolder::write(plan.shim, user.as_ref()).map_err(preparing)?;
        let (watched, pipe) = io::pipe().map_err(preparing)?;
        if let Some(user) = &user {
            user.give(&watched).map_err(preparing)?;
        }
        let given = |name: &str| plan.environment.iter().rev().find(|(given, _)| given == OsStr::new(name));
        let path = shim.python_path(given("PYTHONPATH").map(|(_, value)| value));
        let mut environment = plan.environment.to_vec();
        environment.push(("PYTHONPATH".into(), path));
        if given("PYTHONFAULTHANDLER").is_none() {
            environment.push(("PYTHONFAULTHANDLER".into(), "1".into()));
        }
        if plan.start == Start::Spawn {
            environment.push(("TIKKUN_START".into(), "spawn".into()));
        }
        let launch = Self {
            command: plan.command.to_vec(),
            environment,
            user,
            watched: watched.into(),
            sink: Arc::clone(&plan.sink),
            deadline: plan.deadline,
            known: plan.known.cloned(),
        };
        Ok((launch, Ground::new(pipe.into(), shim)))
    }

    /// Has later starts fail if they come to something else than this.
    pub(in crate::python) fn know(&mut self, hello: &Hello) {
        self.known.get_or_insert_with(|| hello.clone());
    }

    /// Starts the command and waits for its HELLO.
    ///
    /// Dropped, or with an error, it leaves no process behind.
    pub(in crate::python) async fn boot(&self, register: &Register) -> Result<Booted, BootError> {
        let Some((program, arguments)) = self.command.split_first() else { return Err(BootError::NoCommand) };
        let command = name(&self.command);
        let preparing = |source| BootError::Preparing { command: command.clone(), source };
        let (ours, theirs) = socket_pair().map_err(preparing)?;
        let watched = self.watched.try_clone().map_err(preparing)?;
        let mut start = Command::new(program);
        start.args(arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(user) = &self.user {
            user.start(&mut start);
        }
        let mut process = Started::spawn(start, [theirs, watched], &command, Arc::clone(&self.sink))?;
        let (reader, writer) = ours.into_split();
        let mut frames = FrameReader::new(reader, MAX_CONTROL_FRAME);
        let hello = match timeout(self.deadline, process.hello(&mut frames, register)).await {
            Ok(hello) => hello?,
            Err(_) => return Err(process.silent(self.deadline).await),
        };
        match self.known.as_ref().and_then(|known| hello.difference(known)) {
            Some(what) => Err(BootError::Changed { command, what }),
            None => Ok(Booted { frames, writer, process, hello }),
        }
    }
}

fn name(command: &[OsString]) -> String {
    command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default()
}
