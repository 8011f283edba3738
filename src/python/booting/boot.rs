//! Starts the team's command and waits until it has become a zygote.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::CommandFdExt;
use parking_lot::Mutex;
use tokio::net::unix::{OwnedReadHalf, pipe};
use tokio::process::{Child as Process, Command};
use tokio::time::{sleep, timeout};

use super::boot_error::BootError;
use super::boot_plan::BootPlan;
use super::other_user::OtherUser;
use super::shim_folder::ShimFolder;
use crate::python::control::{Control, Lifeline, MAX_CONTROL_FRAME, Register, ZygoteEnd, serve};
use crate::python::ending::WaitStatus;
use crate::python::frame::{FrameError, FrameReader};
use crate::python::hello::Hello;
use crate::python::killing::kill_group;
use crate::python::messages::FromZygote;
use crate::python::output::{Output, OutputSink, Stream};
use crate::python::sockets::{output_pipe, socket_pair};

/// How much of the command's standard error is kept.
const KEPT: usize = 64 * 1024;

/// How long is waited for words that a command which ended may have left in its socket and its pipes.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long a zygote's process may outlive its control socket before it is killed.
const END_GRACE: Duration = Duration::from_secs(3);

/// Starts the command of `plan` and waits for its HELLO.
///
/// Dropped, or with an error, it leaves no process behind.
pub(in crate::python) async fn boot(plan: &BootPlan<'_>) -> Result<(Lifeline, Hello), BootError> {
    if !cfg!(target_os = "linux") {
        return Err(BootError::Unsupported);
    }
    let Some((program, arguments)) = plan.command.split_first() else { return Err(BootError::NoCommand) };
    let command = program.to_string_lossy().into_owned();
    let preparing = |source| BootError::Preparing { command: command.clone(), source };
    let user = plan.user.map(OtherUser::find).transpose()?.flatten();
    let shim = ShimFolder::write(plan.shim, user.as_ref()).map_err(preparing)?;
    let (ours, theirs) = socket_pair().map_err(preparing)?;
    let (watched, pipe) = io::pipe().map_err(preparing)?;
    let path = shim.python_path(value_of(plan, "PYTHONPATH"));
    let mut start = Command::new(program);
    start.args(arguments).env_clear().envs(plan.environment.iter().map(|(name, value)| (name, value)));
    if value_of(plan, "PYTHONFAULTHANDLER").is_none() {
        start.env("PYTHONFAULTHANDLER", "1");
    }
    start.env("PYTHONPATH", path);
    if let Some(user) = &user {
        user.start(&mut start);
        user.give(&watched).map_err(preparing)?;
    }
    let mut started = Started::spawn(start, [theirs, watched.into()], command.clone(), plan)?;
    let (reader, writer) = ours.into_split();
    let mut frames = FrameReader::new(reader, MAX_CONTROL_FRAME);
    let register = Arc::new(Register::default());
    let hello = match timeout(plan.deadline, started.hello(&mut frames, &register)).await {
        Ok(hello) => hello?,
        Err(_) => return Err(started.silent(plan.deadline).await),
    };
    let control = Control { frames, writer, register, pipe: pipe.into(), shim };
    Ok((serve(control, started.end()), hello))
}

fn value_of<'a>(plan: &'a BootPlan<'_>, name: &str) -> Option<&'a OsString> {
    plan.environment.iter().rev().find(|(given, _)| given == OsStr::new(name)).map(|(_, value)| value)
}

/// The command's process, and what it writes. Dropped, it is killed with its process group.
struct Started {
    command: String,
    process: Process,
    group: Option<u32>,
    output: Output,
    tail: Arc<Tail>,
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            kill_group(group);
        }
    }
}

impl Started {
    /// Starts the command in a process group of its own. It, and nothing else, inherits the two descriptors: they are
    /// close-on-exec here, and lose that in the forked process only. Its copies are closed here before this returns.
    fn spawn(
        mut start: Command,
        [socket, watched]: [OwnedFd; 2],
        command: String,
        plan: &BootPlan<'_>,
    ) -> Result<Self, BootError> {
        let preparing = |source| BootError::Preparing { command: command.clone(), source };
        let (stdout, its_stdout) = output_pipe().map_err(preparing)?;
        let (stderr, its_stderr): (pipe::Receiver, _) = output_pipe().map_err(preparing)?;
        start.env("TIKKUN_FD", socket.as_raw_fd().to_string());
        start.env("TIKKUN_LIFELINE", watched.as_raw_fd().to_string());
        start.stdin(Stdio::null()).stdout(its_stdout).stderr(its_stderr).kill_on_drop(true);
        start.as_std_mut().process_group(0).preserved_fds(vec![socket, watched]);
        let spawned = start.spawn();
        drop(start);
        let process = spawned.map_err(|source| BootError::Starting { command: command.clone(), source })?;
        let tail = Arc::new(Tail { sink: Arc::clone(&plan.sink), kept: Mutex::default() });
        let group = process.id();
        let sink: Arc<Tail> = Arc::clone(&tail);
        Ok(Self { command, process, group, output: Output::read(stdout, stderr, sink), tail })
    }

    /// Waits for HELLO, or for the end of the process.
    async fn hello(
        &mut self,
        frames: &mut FrameReader<OwnedReadHalf>,
        register: &Register,
    ) -> Result<Hello, BootError> {
        let mut left: Option<ExitStatus> = None;
        loop {
            // A process that left in good order may have put the worker into the background.
            let has_failed = left.is_some_and(|status| !status.success());
            tokio::select! {
                frame = frames.next() => match frame {
                    Ok(Some(frame)) => match FromZygote::decode(&frame) {
                        Ok(FromZygote::Hello(hello)) => return Ok(*hello),
                        Ok(FromZygote::Refused(reason)) => {
                            return Err(BootError::Refused { command: self.command.clone(), reason });
                        }
                        Ok(FromZygote::Warning(text)) => register.warn(text),
                        Ok(
                            FromZygote::Forked { .. }
                            | FromZygote::Unforked { .. }
                            | FromZygote::Exit { .. }
                            | FromZygote::Preloaded(_),
                        ) => {}
                        Err(source) => return Err(BootError::Protocol { command: self.command.clone(), source }),
                    },
                    Ok(None) | Err(FrameError::CutOff { .. } | FrameError::Connection(_)) => {
                        return Err(self.ended().await);
                    }
                    Err(source) => return Err(BootError::Protocol { command: self.command.clone(), source }),
                },
                status = self.process.wait(), if left.is_none() => left = status.ok(),
                () = sleep(LAST_WORDS), if has_failed => return Err(self.ended().await),
            }
        }
    }

    async fn ended(&mut self) -> BootError {
        let status = self.finish().await;
        let (last_line, stderr) = self.tail.last();
        BootError::Ended { command: self.command.clone(), status, last_line, stderr }
    }

    async fn silent(&mut self, deadline: Duration) -> BootError {
        if let Some(group) = self.group {
            kill_group(group);
        }
        self.finish().await;
        BootError::Silent { command: self.command.clone(), deadline, last_line: self.tail.last().0 }
    }

    /// The end of a process whose control socket has closed.
    async fn end(mut self) -> ZygoteEnd {
        let words = self.finish().await;
        ZygoteEnd { words, last_line: self.tail.last().0 }
    }

    /// Waits for the process to end, kills it if that takes too long, and reads what it wrote to the end.
    async fn finish(&mut self) -> String {
        let words = |status: ExitStatus| WaitStatus::from_raw(status.into_raw()).words();
        let status = match timeout(END_GRACE, self.process.wait()).await {
            Ok(Ok(status)) => words(status),
            Ok(Err(e)) => format!("its end cannot be seen: {e}"),
            Err(_) => {
                if let Some(group) = self.group {
                    kill_group(group);
                }
                match timeout(END_GRACE, self.process.wait()).await {
                    Ok(Ok(status)) => format!("{}, for it did not leave by itself", words(status)),
                    Ok(Err(_)) | Err(_) => "it does not end".to_owned(),
                }
            }
        };
        if timeout(LAST_WORDS, self.output.ended()).await.is_err() {
            self.output.sweep();
        }
        status
    }
}

/// Keeps the end of the standard error on its way to the sink.
struct Tail {
    sink: Arc<dyn OutputSink>,
    kept: Mutex<VecDeque<u8>>,
}

impl OutputSink for Tail {
    fn line(&self, stream: Stream, line: &[u8]) {
        if stream == Stream::Stderr {
            let mut kept = self.kept.lock();
            kept.extend(line);
            kept.push_back(b'\n');
            let surplus = kept.len().saturating_sub(KEPT);
            kept.drain(..surplus);
        }
        self.sink.line(stream, line);
    }
}

impl Tail {
    /// The last line that says something, and all that is kept.
    fn last(&self) -> (Option<String>, String) {
        let text: Vec<u8> = self.kept.lock().iter().copied().collect();
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
        (line, text)
    }
}
