//! What Tikkun and one child say to each other, until the child ends.

use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::control::Register;
use super::ending::{Death, Exit, Usage, WaitStatus};
use super::frame::{Frame, FrameError, FrameReader, MAX_FRAME};
use super::killing::{Fate, Killer, kill_tree, waits_to_be_reaped};
use super::messages::{FromChild, ToChild};
use super::oom_kills::oom_kills;
use super::output::{Output, OutputSink};
use super::process_record::ProcessRecord;

/// How long is waited for the report of a child's end once its socket has closed, before and after it is killed.
pub(super) const REPORT_GRACE: Duration = Duration::from_secs(2);

/// How long the zygote may be at imports, while it reaps nobody.
const IMPORTS: Duration = Duration::from_secs(60);

/// How long is waited for what other processes still write to the pipes of a child that has ended.
const DRAIN_BOUND: Duration = Duration::from_millis(250);

/// The name of the phase that ends a job: nothing of it is left to do.
const DONE: &str = "done";

/// What came of waiting for a child's words.
pub(super) enum Heard {
    Said(FromChild),
    Ended(Death),
}

/// The socket of a child, its output and its fate.
pub(super) struct Conversation {
    pid: u32,
    frames: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    fate: watch::Receiver<Fate>,
    pub(super) killer: Killer,
    pub(super) output: Output,
    between_jobs: Arc<dyn OutputSink>,
    record: Arc<ProcessRecord>,
    register: Arc<Register>,
    /// The child has said that it is done with its last job, or that it leaves.
    pub(super) is_at_rest: bool,
    /// How many processes the kernel had killed for lack of memory before the last words to the child.
    oom_kills: Option<u64>,
}

impl Conversation {
    /// A conversation with the child `pid`; its output goes to `between_jobs` when no job has it.
    pub(super) fn new(
        pid: u32,
        socket: UnixStream,
        fate: watch::Receiver<Fate>,
        (output, between_jobs): (Output, Arc<dyn OutputSink>),
        (record, register): (Arc<ProcessRecord>, Arc<Register>),
    ) -> Self {
        let (reader, writer) = socket.into_split();
        let frames = FrameReader::new(reader, MAX_FRAME);
        let killer = Killer::new(pid, fate.clone());
        Self {
            pid,
            frames,
            writer,
            fate,
            killer,
            output,
            between_jobs,
            record,
            register,
            is_at_rest: true,
            oom_kills: oom_kills(),
        }
    }

    pub(super) fn fate(&self) -> watch::Receiver<Fate> {
        self.fate.clone()
    }

    /// Output belongs to no job from now on.
    pub(super) fn direct_to_none(&self) {
        self.output.direct_to(Arc::clone(&self.between_jobs));
    }

    /// Whether the child has not ended and did not say that it leaves, as far as can be seen without waiting.
    pub(super) fn is_open(&mut self) -> bool {
        let is_open = self.take_rest();
        while let Ok(Some(frame)) = self.frames.buffered() {
            let _ = self.note(frame);
        }
        is_open && !matches!(*self.fate.borrow(), Fate::Reaped(_)) && self.record.bye().is_none()
    }

    /// Closes the socket towards the child.
    pub(super) async fn close(&mut self) {
        // One that is closed already stays so.
        let _ = self.writer.shutdown().await;
    }

    /// Not cancel safe: a part of the frame may have been written.
    pub(super) async fn send(&mut self, words: ToChild<'_>) -> Result<(), FrameError> {
        self.oom_kills = oom_kills();
        Ok(self.writer.write_all(&words.encode()?).await?)
    }

    /// The next that it says, or its end. Cancel safe until the child has ended.
    pub(super) async fn hear(&mut self) -> Heard {
        let mut fate = self.fate.clone();
        let reaped = async {
            let has_ended = fate.wait_for(|fate| matches!(fate, Fate::Reaped(_))).await.is_ok();
            if !has_ended {
                std::future::pending::<()>().await;
            }
        };
        let frame = tokio::select! {
            biased;
            frame = self.frames.next() => frame,
            () = reaped => {
                // All that it said is in the socket, which a process that it left behind may hold open.
                self.take_rest();
                self.frames.buffered()
            }
        };
        let said = match frame {
            Ok(Some(frame)) => self.note(frame),
            Ok(None) | Err(FrameError::CutOff { .. } | FrameError::Connection(_)) => {
                return Heard::Ended(self.ended(None).await);
            }
            Err(e) => Err(e),
        };
        match said {
            Ok(said) => Heard::Said(said),
            Err(e) => {
                self.killer.kill();
                Heard::Ended(self.ended(Some(format!("its answer was none: {e}"))).await)
            }
        }
    }

    /// Waits until the child is at rest; `false`: it has ended. Cancel safe.
    pub(super) async fn comes_to_rest(&mut self) -> bool {
        while !self.is_at_rest {
            if let Heard::Ended(_) = self.hear().await {
                return false;
            }
        }
        true
    }

    /// Reads a frame, and keeps what says whether the child will take another job.
    fn note(&mut self, frame: Frame) -> Result<FromChild, FrameError> {
        let said = FromChild::decode(frame)?;
        match &said {
            FromChild::Bye(reason) => {
                self.record.says_why(reason);
                self.is_at_rest = true;
            }
            FromChild::Phase(phase) if phase.name == DONE => self.is_at_rest = true,
            FromChild::Imported(names) => {
                self.register.imported.send_if_modified(|imported| imported.add(names.clone()));
            }
            _ => {}
        }
        Ok(said)
    }

    /// Takes what is in the socket now, without waiting, and says whether the child may say more.
    fn take_rest(&mut self) -> bool {
        let mut buffer = [0; 4 * 1024];
        let mut taken = 0;
        while taken <= MAX_FRAME {
            let socket: &UnixStream = self.frames.source().as_ref();
            match recv(socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((read, _)) if read > 0 => {
                    self.frames.feed(buffer.get(..read).unwrap_or_default());
                    taken += read;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return true,
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    /// The end of a child that has closed its socket or was reaped; it is killed if its end is not reported soon.
    pub(super) async fn ended(&mut self, note: Option<String>) -> Death {
        let mut note = note;
        let mut exit = self.reaped().await;
        let until = Instant::now() + IMPORTS;
        while exit.is_none() && waits_to_be_reaped(self.pid) && Instant::now() < until {
            exit = self.reaped().await;
        }
        if exit.is_none() && *self.fate.borrow() == Fate::Running {
            if !self.killer.was_killed() {
                note.get_or_insert_with(|| "it closed its connection to Tikkun without an answer".to_owned());
            }
            self.killer.kill();
            exit = self.reaped().await;
        } else if exit.is_none() {
            kill_tree(self.pid);
        }
        self.killer.has_ended();
        if timeout(DRAIN_BOUND, self.output.ended()).await.is_err() {
            self.output.sweep();
            self.direct_to_none();
        }
        let lacked_memory = self.oom_kills.zip(oom_kills()).map(|(before, now)| now > before);
        Death { pid: self.pid, exit, was_killed: self.killer.was_killed(), lacked_memory, note }
    }

    /// Waits a while for the report of its end.
    async fn reaped(&mut self) -> Option<Exit> {
        let known = self.fate.wait_for(|fate| *fate != Fate::Running);
        match timeout(REPORT_GRACE, known).await {
            Ok(Ok(fate)) => match *fate {
                Fate::Reaped(exit) => Some(exit),
                Fate::Running | Fate::Unwatched => adopted(self.pid),
            },
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

/// Reaps a child whose zygote is gone, where this process has inherited it, as the first process of a container does.
fn adopted(pid: u32) -> Option<Exit> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let (_, status) = waitpid(Some(pid), WaitOptions::NOHANG).ok()??;
    Some(Exit { status: WaitStatus::from_raw(status.as_raw()), usage: Usage::default() })
}
