//! The process of a command, from its start to its end.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::CommandFdExt;
use parking_lot::Mutex;
use tokio::net::unix::{OwnedReadHalf, pipe};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use wait4::{ResUse, try_wait4_pid};

use super::boot_error::BootError;
use crate::python::control::{Register, ZygoteEnd};
use crate::python::ending::{Exit, Usage, WaitStatus};
use crate::python::frame::{FrameError, FrameReader};
use crate::python::hello::Hello;
use crate::python::killing::kill_group;
use crate::python::messages::FromZygote;
use crate::python::output::{Output, OutputSink, Stream};
use crate::python::sockets::output_pipe;

/// How much of the command's standard error is kept.
const KEPT: usize = 64 * 1024;

/// How long is waited for words that a command which ended may have left in its socket and its pipes.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long a process may outlive its control socket before it is killed.
const END_GRACE: Duration = Duration::from_secs(3);

/// The command's process, and what it writes. Dropped, it is killed with its process group.
pub(in crate::python) struct Started {
    command: String,
    group: Option<u32>,
    end: watch::Receiver<Option<Exit>>,
    output: Output,
    tail: Arc<Tail>,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Started {
    /// Starts the command in a process group of its own. It, and nothing else, inherits the two descriptors: they are
    /// close-on-exec here, and lose that in the forked process only. Its copies are closed here before this returns.
    pub(super) fn spawn(
        mut start: Command,
        [socket, watched]: [OwnedFd; 2],
        command: &str,
        sink: Arc<dyn OutputSink>,
    ) -> Result<Self, BootError> {
        let command = command.to_owned();
        let preparing = |source| BootError::Preparing { command: command.clone(), source };
        let (stdout, its_stdout) = output_pipe().map_err(preparing)?;
        let (stderr, its_stderr): (pipe::Receiver, _) = output_pipe().map_err(preparing)?;
        let ends = signal(SignalKind::child()).map_err(preparing)?;
        start.env("TIKKUN_FD", socket.as_raw_fd().to_string());
        start.env("TIKKUN_LIFELINE", watched.as_raw_fd().to_string());
        start.stdin(Stdio::null()).stdout(its_stdout).stderr(its_stderr);
        start.process_group(0).preserved_fds(vec![socket, watched]);
        let spawned = start.spawn();
        drop(start);
        let group = spawned.map_err(|source| BootError::Starting { command: command.clone(), source })?.id();
        let (tell, end) = watch::channel(None);
        tokio::spawn(reap(group, ends, tell));
        let tail = Arc::new(Tail { sink, kept: Mutex::default() });
        let sink: Arc<Tail> = Arc::clone(&tail);
        Ok(Self { command, group: Some(group), end, output: Output::read(stdout, stderr, sink), tail })
    }

    /// Waits for HELLO, or for the end of the process.
    pub(super) async fn hello(
        &mut self,
        frames: &mut FrameReader<OwnedReadHalf>,
        register: &Register,
    ) -> Result<Hello, BootError> {
        let (mut end, mut has_left, mut has_failed) = (self.end.clone(), false, false);
        loop {
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
                ended = exit(&mut end), if !has_left => {
                    has_left = true;
                    // A process that left in good order may have put the worker into the background.
                    has_failed = ended.is_some_and(|exit| !exit.status.is_success());
                }
                () = sleep(LAST_WORDS), if has_failed => return Err(self.ended().await),
            }
        }
    }

    /// How it ended, once it has; `None` if that cannot be seen. Cancel safe.
    pub(in crate::python) async fn exit(&self) -> Option<Exit> {
        exit(&mut self.end.clone()).await
    }

    /// Kills it with its process group.
    pub(in crate::python) fn kill(&self) {
        if let Some(group) = self.group {
            kill_group(group);
        }
    }

    /// Lets what it has started and left behind go on.
    pub(in crate::python) fn spare(&mut self) {
        self.group = None;
    }

    async fn ended(&mut self) -> BootError {
        let status = self.finish().await;
        let (last_line, stderr) = self.tail.last();
        BootError::Ended { command: self.command.clone(), status, last_line, stderr }
    }

    pub(super) async fn silent(&mut self, deadline: Duration) -> BootError {
        self.kill();
        self.finish().await;
        BootError::Silent { command: self.command.clone(), deadline, last_line: self.tail.last().0 }
    }

    /// The end of a process whose control socket has closed.
    pub(in crate::python) async fn end(mut self) -> ZygoteEnd {
        let words = self.finish().await;
        ZygoteEnd { words, last_line: self.tail.last().0 }
    }

    /// Waits for the process to end, kills it if that takes too long, and reads what it wrote to the end.
    async fn finish(&mut self) -> String {
        let status = match timeout(END_GRACE, self.exit()).await {
            Ok(Some(exit)) => exit.status.words(),
            Ok(None) => "its end cannot be seen".to_owned(),
            Err(_) => {
                self.kill();
                match timeout(END_GRACE, self.exit()).await {
                    Ok(Some(exit)) => format!("{}, for it did not leave by itself", exit.status.words()),
                    Ok(None) | Err(_) => "it does not end".to_owned(),
                }
            }
        };
        if timeout(LAST_WORDS, self.output.ended()).await.is_err() {
            self.output.sweep();
        }
        status
    }
}

async fn exit(end: &mut watch::Receiver<Option<Exit>>) -> Option<Exit> {
    end.wait_for(Option::is_some).await.ok().and_then(|exit| *exit)
}

/// Waits for a process that this one has started, and tells its end with what it used.
async fn reap(pid: u32, mut ends: Signal, tell: watch::Sender<Option<Exit>>) {
    loop {
        match try_wait4_pid(pid) {
            Ok(Some(ResUse { status, rusage })) => {
                let usage = Usage {
                    maxrss: rusage.maxrss / 1024,
                    utime: rusage.utime.as_secs_f64(),
                    stime: rusage.stime.as_secs_f64(),
                };
                tell.send_replace(Some(Exit { status: WaitStatus::from_raw(status.into_raw()), usage }));
                return;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(pid, %error, "the end of a python process cannot be seen");
                return;
            }
        }
        if ends.recv().await.is_none() {
            return;
        }
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
