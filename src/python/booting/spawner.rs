//! Children that the command is started for, one after another, where forking is not safe.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::boot::{Booted, Launch};
use super::boot_error::BootError;
use super::started::Started;
use crate::fault::{Fault, FaultKind};
use crate::python::control::{Register, ZygoteEnd};
use crate::python::killing::{Fate, kill_group};

/// Starts the command for each child.
pub(in crate::python) struct Spawner {
    launch: Launch,
    /// What the first start came to is the first child.
    first: Mutex<Option<Booted>>,
    /// Starts compute: more of them at once than there are processors would only hold each other up.
    turns: Semaphore,
    gone: watch::Sender<Option<ZygoteEnd>>,
}

impl Spawner {
    pub(in crate::python) fn new(mut launch: Launch, first: Booted) -> Self {
        launch.know(&first.hello);
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            launch,
            first: Mutex::new(Some(first)),
            turns: Semaphore::new(turns),
            gone: watch::Sender::new(None),
        }
    }

    /// Tells when a start has failed: from then on nothing is started.
    pub(in crate::python) fn gone(&self) -> watch::Receiver<Option<ZygoteEnd>> {
        self.gone.subscribe()
    }

    /// A process that waits to become a child. Cancel safe.
    pub(in crate::python) async fn process(&self, register: &Register) -> Result<Booted, Fault> {
        if let Some(first) = self.first.lock().take() {
            return Ok(first);
        }
        let _turn = self.turns.acquire().await;
        let gone = self.gone.borrow().clone();
        let words = match gone {
            Some(end) => end.words,
            None => match self.launch.boot(register).await {
                Ok(booted) => return Ok(booted),
                Err(error) => self.fail(&error),
            },
        };
        Err(Fault::new(FaultKind::Unavailable, format!("a python process could not be started: {words}")))
    }

    fn fail(&self, error: &BootError) -> String {
        let words = error.chain();
        self.gone.send_if_modified(|gone| {
            let is_first = gone.is_none();
            gone.get_or_insert_with(|| ZygoteEnd { words: words.clone(), last_line: None });
            is_first
        });
        words
    }
}

/// Tells the end of a child that was started, as a zygote tells that of one it has forked. Dropped, what was returned
/// ends it.
pub(in crate::python) fn watch_over(
    mut process: Started,
    pid: u32,
    fate: watch::Sender<Fate>,
    register: Arc<Register>,
) -> DropGuard {
    let released = CancellationToken::new();
    let guard = released.clone().drop_guard();
    tokio::spawn(async move {
        tokio::select! {
            _ = process.exit() => {}
            // What stands between Tikkun and the child may outlive it.
            () = released.cancelled() => process.kill(),
        }
        let exit = process.exit().await;
        if exit.is_some_and(|exit| exit.status.is_success()) {
            process.spare();
        } else {
            kill_group(pid);
        }
        fate.send_replace(exit.map_or(Fate::Unwatched, Fate::Reaped));
        register.reaped.send_modify(|count| *count += 1);
    });
    guard
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::boot_plan::Start;
    use crate::python::messages::Mode;
    use crate::python::ran::Ran;
    use crate::python::stand_in::{Kept, LONG, boot_as, job, runs, until};

    #[tokio::test]
    async fn each_child_is_a_start_of_the_command_and_its_end_is_told() {
        let (zygote, sink) = boot_as(Start::Spawn, &[("BEFORE", "print('boot', flush=True)")]).await;
        assert_eq!(zygote.pid(), None);
        let mut children = Vec::new();
        for mode in [Mode::Job, Mode::Warm, Mode::Warm] {
            let mut child = zygote.fork(mode, LONG).await.unwrap();
            let code = "value = '%d %d' % (os.getpid(), os.getppid())\nprint('of the job')";
            let lines = Arc::new(Kept::default());
            let ran = child.run(&job(code), Arc::<Kept>::clone(&lines), &mut |_| {}).await;
            let Ran::Answered(result) = ran else { panic!("{ran:?}") };
            let ids = format!("{} {}", child.pid(), std::process::id());
            assert_eq!(String::from_utf8(result.payload).unwrap(), ids);
            assert_eq!(lines.of(crate::python::Stream::Stdout), ["of the job"]);
            children.push(child);
        }
        assert_eq!(sink.of(crate::python::Stream::Stdout), ["boot"; 3]);
        let crash = job("subprocess.Popen(['sleep', '1000'])\nos.kill(os.getpid(), signal.SIGSEGV)");
        let mut crashing = children.pop().unwrap();
        let ran = crashing.run(&crash, Arc::new(Kept::default()), &mut |_| {}).await;
        let Ran::Died(death) = ran else { panic!("{ran:?}") };
        let exit = death.exit.unwrap();
        assert_eq!((exit.status.signal(), death.was_killed), (Some(11), false));
        assert!(exit.usage.maxrss > 1000 && exit.usage.utime + exit.usage.stime > 0.0, "{exit:?}");
        let warm = children.pop().unwrap();
        assert!(warm.finish(LONG).await.is_clean());
        let one = children.pop().unwrap();
        assert!(one.finish(LONG).await.is_clean(), "it has left after its job");
        let dropped = zygote.fork(Mode::Warm, LONG).await.unwrap();
        let pid = dropped.pid();
        drop((dropped, zygote));
        until("the last is gone", || !runs(pid)).await;
    }

    #[tokio::test]
    async fn start_that_comes_to_something_else_is_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let changed = folder.path().join("changed");
        let before = format!("if os.path.exists({changed:?}): queues = ['high', 'low']");
        let (zygote, _) = boot_as(Start::Spawn, &[("BEFORE", &before)]).await;
        std::fs::write(&changed, "").unwrap();
        // The first is the process that was started before.
        let first = zygote.fork(Mode::Job, LONG).await.unwrap();
        assert!(!zygote.is_gone());
        for _ in 0..2 {
            let error = zygote.fork(Mode::Job, LONG).await.err().unwrap();
            assert!(error.is_retryable(), "{error}");
            let words = "`python3` is not what it was when it was started first: \
                         its queues are `high,low`, not `default`";
            assert!(error.to_string().ends_with(words), "{error}");
            assert!(zygote.gone().await.words.ends_with(words));
        }
        assert!(runs(first.pid()));
    }
}
