//! Ends children and their process groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::watch;

use super::ending::Exit;

/// What is known of a child's life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// It lives, as far as its zygote knows.
    Running,
    /// Its zygote reaped it.
    Reaped(Exit),
    /// Its zygote is gone: its end will not be reported.
    Unwatched,
}

/// Kills one child; may be held beside the child while it runs a job.
#[derive(Clone, Debug)]
pub struct Killer {
    pid: u32,
    fate: watch::Receiver<Fate>,
    marks: Arc<Marks>,
}

/// What was done to a child.
#[derive(Debug, Default)]
struct Marks {
    was_killed: AtomicBool,
    /// Its end has been seen: its id may be that of another process.
    has_ended: AtomicBool,
}

impl Killer {
    pub(super) fn new(pid: u32, fate: watch::Receiver<Fate>) -> Self {
        Self { pid, fate, marks: Arc::default() }
    }

    /// Kills the child and all of its process group with SIGKILL, unless its end has been seen already.
    pub fn kill(&self) {
        let has_ended = self.marks.has_ended.load(Ordering::Relaxed);
        if !has_ended && !matches!(*self.fate.borrow(), Fate::Reaped(_)) {
            self.marks.was_killed.store(true, Ordering::Relaxed);
            kill_tree(self.pid);
        }
    }

    /// Asks the child to write the stacks of its threads to its standard error, by SIGUSR1, for which the Python side
    /// has Python's `faulthandler` at work. To be called before [`Killer::kill`], and some time ahead of it.
    pub fn ask_for_stacks(&self) {
        let has_ended = self.marks.has_ended.load(Ordering::Relaxed);
        let is_running = !has_ended && !matches!(*self.fate.borrow(), Fate::Reaped(_));
        if let Some(pid) = sound(self.pid).filter(|_| is_running) {
            let _ = kill_process(pid, Signal::USR1);
        }
    }

    /// Whether the child was killed by Tikkun.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        self.marks.was_killed.load(Ordering::Relaxed)
    }

    /// Notes that the child's end has been seen.
    pub(super) fn has_ended(&self) {
        self.marks.has_ended.store(true, Ordering::Relaxed);
    }
}

/// Kills the process group that `pid` leads, and `pid` itself, which right after its fork leads none yet. That they
/// are gone already is no error.
pub(super) fn kill_tree(pid: u32) {
    kill_group(pid);
    if let Some(pid) = sound(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Kills what is left of the process group that `pid` led.
pub(super) fn kill_group(pid: u32) {
    if let Some(pid) = sound(pid) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Only ids that mean one process: 0, 1 and negative ones would mean others.
fn sound(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

/// Whether the process has ended, and whoever started it has not looked yet.
pub(super) fn waits_to_be_reaped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may hold anything.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}
