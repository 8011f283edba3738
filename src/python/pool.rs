//! Children that are ready before a job comes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::child::Child;
use super::memory::Memory;
use super::messages::Mode;
use super::pool_record::{PoolPlan, PoolSnapshot};
use super::pool_state::PoolState;
use super::process_record::ProcessState;
use super::zygote::Zygote;
use crate::backoff::Backoff;
use crate::fault::{Fault, FaultKind};

/// Time between two looks whether all is at rest.
const LOOK: Duration = Duration::from_millis(20);

/// Keeps children of one zygote ready, and takes back those that can run another job. Clones are handles of the same
/// pool; dropping the last one kills the children that wait, not those that were taken.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    plan: PoolPlan,
    /// Where the pool was made: its children's sockets and its own tasks belong there, and not to the threads that take
    /// children, which a job may hold up.
    runtime: Handle,
    state: Mutex<PoolState>,
}

impl Pool {
    /// A pool of `zygote`'s children; forks the first ones at once. Needs a tokio runtime, which its children's
    /// sockets belong to.
    #[must_use]
    pub fn new(zygote: Zygote, plan: PoolPlan) -> Self {
        let state = PoolState::of(zygote.clone());
        let inner = Arc::new(Inner { plan, runtime: Handle::current(), state: Mutex::new(state) });
        inner.watch(&zygote);
        inner.balance();
        Self(inner)
    }

    /// The zygote whose children are handed out now.
    #[must_use]
    pub fn zygote(&self) -> Zygote {
        self.0.state.lock().zygote.clone()
    }

    /// Takes a child that is ready, or waits for one. Another one is forked at once. Cancel safe.
    ///
    /// # Errors
    /// The fork that was waited for failed, or the zygote is gone; another try may work.
    pub async fn take(&self) -> Result<Child, Fault> {
        let (hand, handed) = oneshot::channel();
        self.0.state.lock().waiting.push_back(hand);
        self.0.balance();
        handed.await.unwrap_or_else(|_| {
            Err(Fault::new(FaultKind::Unavailable, "the pool of python children is gone"))
        })
    }

    /// Gives a child back after its job: a warm one waits for the next, any other is let go. One that is still at
    /// what follows its answer has the pool's `leave_grace` for it; then `kept` is dropped.
    pub fn give_back(&self, mut child: Child, kept: impl Send + 'static) {
        // Most say that they are done together with their answer.
        if child.is_rested() || child.rest().now_or_never().is_some() {
            return self.0.take_back(child, 0);
        }
        let returning = usize::from(self.0.plan.mode == Mode::Warm);
        self.0.state.lock().returning += returning;
        let (pool, grace) = (Arc::downgrade(&self.0), self.0.plan.leave_grace);
        self.spawn(async move {
            let _ = timeout(grace, child.rest()).await;
            drop(kept);
            if let Some(pool) = pool.upgrade() {
                pool.take_back(child, returning);
            }
        });
    }

    /// Runs a task beside the pool's own, whatever becomes of the caller's thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.runtime.spawn(task);
    }

    /// Goes over to another zygote. Children of the old one that wait are let go; those at work end their jobs, and
    /// the old zygote leaves with the last of them.
    pub fn renew(&self, zygote: Zygote) {
        self.0.watch(&zygote);
        self.0.state.lock().zygote = zygote;
        self.refresh();
    }

    /// Replaces the children that wait, for the zygote has more by now than when it forked them.
    pub fn refresh(&self) {
        let mut state = self.0.state.lock();
        state.generation += 1;
        (state.failures, state.is_resting) = (0, false);
        for child in std::mem::take(&mut state.idle) {
            self.0.let_go(child);
        }
        drop(state);
        self.0.balance();
    }

    /// Waits until no child is at a job or at what follows one. Cancel safe.
    pub async fn comes_to_rest(&self) {
        while self.snapshot().children.iter().any(|child| child.state != ProcessState::Ready) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks at the memory of all children, for the next snapshots. Cancel safe.
    pub async fn measure(&self) {
        let records = self.0.state.lock().record.records();
        let looked = tokio::task::spawn_blocking(move || {
            for record in records {
                // One that has just ended has none.
                if let Ok(memory) = Memory::of(record.row().pid) {
                    record.weigh(memory);
                }
            }
        });
        let _ = looked.await;
    }

    /// The pool as it is now.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        let mut state = self.0.state.lock();
        state.record.forget_the_dead();
        PoolSnapshot {
            zygote: state.zygote.pid(),
            mode: self.0.plan.mode,
            children: state.record.rows(),
            counts: state.record.counts.clone(),
        }
    }
}

impl Inner {
    /// Balances whenever a child of `zygote` was reaped, until the zygote or the pool is gone.
    fn watch(self: &Arc<Self>, zygote: &Zygote) {
        let (mut reaped, pool) = (zygote.reaped(), Arc::downgrade(self));
        self.runtime.spawn(async move {
            while reaped.changed().await.is_ok() {
                let Some(pool) = pool.upgrade() else { return };
                let mut state = pool.state.lock();
                state.take_unusable().into_iter().for_each(|child| pool.let_go(child));
                drop(state);
                pool.balance();
            }
        });
    }

    /// Keeps a child that can run another job, and lets any other go. `returned`: how many it was counted as.
    fn take_back(self: &Arc<Self>, mut child: Child, returned: usize) {
        let is_warm = self.plan.mode == Mode::Warm && child.is_usable();
        let mut state = self.state.lock();
        state.returning = state.returning.saturating_sub(returned);
        if is_warm && state.zygote.is_parent_of(&child) {
            child.record().enter(ProcessState::Ready);
            state.idle.push(child);
        } else {
            self.let_go(child);
        }
        drop(state);
        self.balance();
    }

    /// Lets a child end beside everything else.
    fn let_go(&self, child: Child) {
        child.record().enter(ProcessState::Leaving);
        let (pid, grace) = (child.pid(), self.plan.leave_grace);
        self.runtime.spawn(async move {
            if child.finish(grace).await.was_killed {
                tracing::warn!(pid, "a python process did not end after its last job, and was killed");
            }
        });
    }

    /// Hands out what is there, and begins as many forks as are missing.
    fn balance(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.record.forget_the_dead();
        state.hand_out().into_iter().for_each(|child| self.let_go(child));
        if state.zygote.is_gone() {
            let PoolState { zygote, waiting, .. } = &mut *state;
            for waiting in waiting.drain(..) {
                let _ = waiting.send(Err(zygote.is_away()));
            }
            return;
        }
        let missing = state.missing(self.plan);
        state.forking += missing;
        for _ in 0..missing {
            let from = (state.zygote.clone(), state.generation);
            self.runtime.spawn(fork_one(Arc::downgrade(self), from, self.plan));
        }
    }

    /// Takes what came of a fork that was begun in that generation.
    fn forked(self: &Arc<Self>, generation: u64, child: Result<Child, Fault>) {
        let mut state = self.state.lock();
        state.forking = state.forking.saturating_sub(1);
        match child {
            Ok(child) => {
                state.record.add(&child);
                if state.generation == generation {
                    state.failures = 0;
                    state.idle.push(child);
                } else {
                    self.let_go(child);
                }
            }
            Err(fault) => {
                state.record.counts.fork_failures += 1;
                if state.generation == generation {
                    state.failures = state.failures.saturating_add(1);
                    state.is_resting = true;
                    let delay = Backoff::RESTART.delay(state.failures, fastrand::f64());
                    if !state.zygote.is_gone() {
                        tracing::warn!(
                            error = fault.chain(), failures = state.failures,
                            delay = %humantime::format_duration(delay),
                            "no python process is ready: the next try follows"
                        );
                    }
                    self.runtime.spawn(rest(Arc::downgrade(self), delay));
                }
                if let Some(waiting) = state.waiting.pop_front() {
                    let _ = waiting.send(Err(fault));
                }
            }
        }
        drop(state);
        self.balance();
    }
}

/// Forks one child for the pool. It holds no pool, so that a pool that is dropped meanwhile ends.
async fn fork_one(pool: Weak<Inner>, (zygote, generation): (Zygote, u64), plan: PoolPlan) {
    let child = zygote.fork_limited(plan.mode, plan.limits.scattered(), plan.fork_deadline).await;
    if let Some(pool) = pool.upgrade() {
        pool.forked(generation, child);
    }
}

/// Lets forks begin again after a delay.
async fn rest(pool: Weak<Inner>, delay: Duration) {
    tokio::time::sleep(delay).await;
    if let Some(pool) = pool.upgrade() {
        pool.state.lock().is_resting = false;
        pool.balance();
    }
}

#[cfg(test)]
mod tests {
    use super::super::killing::{Fate, kill_tree};
    use super::super::messages::ChildLimits;
    use super::super::ran::Ran;
    use super::super::stand_in::{Kept, LONG, boot_with, job, runs, until};
    use super::*;

    fn plan(mode: Mode, ready: usize) -> PoolPlan {
        PoolPlan { mode, ready, limits: ChildLimits::default(), fork_deadline: LONG, leave_grace: LONG }
    }

    async fn run(child: &mut Child, code: &str) -> String {
        match child.run(&job(code), Arc::new(Kept::default()), &mut |_| {}).await {
            Ran::Answered(result) => String::from_utf8(result.payload).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn count(pool: &Pool, state: ProcessState) -> usize {
        pool.snapshot().children.iter().filter(|row| row.state == state).count()
    }

    #[tokio::test]
    async fn children_of_one_job_are_replaced_at_once_and_leave_after_it() {
        let (zygote, _) = boot_with(&[]).await;
        let pool = Pool::new(zygote, plan(Mode::Job, 2));
        until("two children are ready", || count(&pool, ProcessState::Ready) == 2).await;
        let mut child = pool.take().await.unwrap();
        until("the one that was taken is replaced", || count(&pool, ProcessState::Ready) == 2).await;
        assert_eq!(count(&pool, ProcessState::Busy), 1);
        run(&mut child, "value = 1").await;
        pool.give_back(child, ());
        until("the child has left", || pool.snapshot().counts.left == 1).await;
        assert_eq!(pool.snapshot().children.len(), 2);
        assert_eq!((pool.snapshot().counts.forked, pool.snapshot().counts.died), (3, 0));
    }

    #[tokio::test]
    async fn warm_children_come_back_and_there_are_never_more() {
        let (zygote, _) = boot_with(&[]).await;
        let pool = Pool::new(zygote, plan(Mode::Warm, 1));
        let mut pids = Vec::new();
        for _ in 0..5 {
            let mut child = pool.take().await.unwrap();
            pids.push(run(&mut child, "value = os.getpid()").await);
            pool.give_back(child, ());
        }
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
        until("it waits", || count(&pool, ProcessState::Ready) == 1).await;
        pool.measure().await;
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.counts.forked, snapshot.children.len()), (1, 1));
        assert_eq!((snapshot.children[0].jobs, &snapshot.children[0].job), (5, &None));
        assert!(snapshot.children[0].memory.unwrap().private > 0);
        let shown = serde_json::to_value(&snapshot).unwrap();
        assert_eq!((&shown["mode"], &shown["children"][0]["state"]), (&"warm".into(), &"ready".into()));
    }

    #[tokio::test]
    async fn child_that_leaves_or_dies_is_replaced() {
        let (zygote, _) = boot_with(&[]).await;
        let pool = Pool::new(zygote, plan(Mode::Warm, 1));
        let mut leaving = pool.take().await.unwrap();
        run(&mut leaving, "result(b'')\nbye('jobs')\nos._exit(0)").await;
        pool.give_back(leaving, ());
        let next = pool.take().await.unwrap();
        until("the first has left", || pool.snapshot().counts.left == 1).await;
        assert_eq!(pool.snapshot().counts.reasons, [("jobs".to_owned(), 1)].into());
        pool.give_back(next, ());
        until("it waits", || count(&pool, ProcessState::Ready) == 1).await;
        let pid = pool.snapshot().children[0].pid;
        kill_tree(pid);
        until("the dead one is replaced", || pool.snapshot().children.iter().any(|row| row.pid != pid)).await;
        until("the dead one is counted", || pool.snapshot().counts.died == 1).await;
        assert_eq!(pool.snapshot().counts.forked, 3);
    }

    #[tokio::test]
    async fn why_a_child_left_is_counted_however_late_it_is_read() {
        let (zygote, _) = boot_with(&[]).await;
        let pool = Pool::new(zygote, plan(Mode::Warm, 1));
        let mut child = pool.take().await.unwrap();
        run(&mut child, "result(b'')\nbye('jobs')\nos._exit(0)").await;
        let mut fate = child.fate();
        fate.wait_for(|fate| matches!(fate, Fate::Reaped(_))).await.unwrap();
        assert_eq!((pool.snapshot().counts.left, pool.snapshot().children.len()), (0, 0));
        pool.give_back(child, ());
        until("it is counted", || pool.snapshot().counts.left == 1).await;
        assert_eq!(pool.snapshot().counts.reasons, [("jobs".to_owned(), 1)].into());
    }

    #[tokio::test]
    async fn dropped_child_is_replaced() {
        let (zygote, _) = boot_with(&[]).await;
        let pool = Pool::new(zygote, plan(Mode::Warm, 1));
        let pid = {
            let child = pool.take().await.unwrap();
            child.pid()
        };
        let next = pool.take().await.unwrap();
        assert_ne!(next.pid(), pid);
    }

    #[tokio::test]
    async fn a_thread_that_is_held_up_after_taking_a_child_holds_up_nobody_else() {
        let (zygote, _) = boot_with(&[]).await;
        let pool = Pool::new(zygote, plan(Mode::Job, 1));
        until("a child is ready", || count(&pool, ProcessState::Ready) == 1).await;
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let taking = pool.clone();
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let child = runtime.block_on(taking.take()).unwrap();
            let _ = ended.recv();
            drop(child);
        });
        until("it is replaced", || {
            (count(&pool, ProcessState::Busy), count(&pool, ProcessState::Ready)) == (1, 1)
        })
        .await;
        drop(end);
        other.join().unwrap();
    }

    #[tokio::test]
    async fn failed_forks_are_told_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let works = folder.path().join("works");
        let before = format!("if not os.path.exists({works:?}): os._exit(5)");
        let (zygote, _) = boot_with(&[("BEFORE_READY", &before)]).await;
        let pool = Pool::new(zygote, plan(Mode::Job, 1));
        let error = pool.take().await.err().unwrap();
        assert!(error.to_string().contains("exit code 5"), "{error}");
        std::fs::write(&works, "").unwrap();
        until("a child is ready", || count(&pool, ProcessState::Ready) == 1).await;
        assert!(pool.snapshot().counts.fork_failures >= 1);
        pool.take().await.unwrap();
    }

    #[tokio::test]
    async fn forks_that_the_system_refuses_are_told_at_once_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let full = folder.path().join("full");
        std::fs::write(&full, "").unwrap();
        let (zygote, _) = boot_with(&[("FULL", &full.display().to_string())]).await;
        let pool = Pool::new(zygote, plan(Mode::Job, 1));
        let error = pool.take().await.err().unwrap();
        let expected = "a python child could not be forked: no room for another process";
        assert!(error.to_string().contains(expected), "{error}");
        std::fs::remove_file(&full).unwrap();
        until("a child is ready", || count(&pool, ProcessState::Ready) == 1).await;
        run(&mut pool.take().await.unwrap(), "value = 1").await;
    }

    #[tokio::test]
    async fn renewal_lets_old_children_end_their_jobs() {
        let (old, _) = boot_with(&[]).await;
        let old_pid = old.pid().unwrap();
        let pool = Pool::new(old, plan(Mode::Warm, 2));
        until("two children are ready", || count(&pool, ProcessState::Ready) == 2).await;
        let mut at_work = pool.take().await.unwrap();
        let (new, _) = boot_with(&[]).await;
        let new_pid = new.pid().unwrap();
        pool.renew(new);
        assert_eq!(pool.snapshot().zygote, Some(new_pid));
        assert_eq!(run(&mut at_work, "value = os.getppid()").await, old_pid.to_string());
        pool.give_back(at_work, ());
        until("the old zygote has left", || !runs(old_pid)).await;
        let mut child = pool.take().await.unwrap();
        assert_eq!(run(&mut child, "value = os.getppid()").await, new_pid.to_string());
    }

    #[tokio::test]
    async fn refreshed_pool_hands_out_no_child_that_was_forked_before() {
        let (zygote, _) = boot_with(&[]).await;
        let pool = Pool::new(zygote, plan(Mode::Job, 2));
        until("two children are ready", || count(&pool, ProcessState::Ready) == 2).await;
        let before: Vec<u32> = pool.snapshot().children.iter().map(|row| row.pid).collect();
        pool.refresh();
        let child = pool.take().await.unwrap();
        assert!(!before.contains(&child.pid()), "{before:?}");
        until("they have left", || pool.snapshot().counts.left == 2).await;
        assert_eq!(pool.snapshot().counts.died, 0);
    }

    #[tokio::test]
    async fn zygote_that_is_gone_is_an_error_until_it_is_renewed() {
        let (zygote, _) = boot_with(&[]).await;
        let pid = zygote.pid().unwrap();
        let pool = Pool::new(zygote.clone(), plan(Mode::Job, 0));
        kill_tree(pid);
        zygote.gone().await;
        let error = pool.take().await.err().unwrap();
        assert!(error.to_string().starts_with(&format!("the zygote (pid {pid}) is gone")), "{error}");
        pool.renew(boot_with(&[]).await.0);
        pool.take().await.unwrap();
    }

    #[tokio::test]
    async fn dropped_pool_leaves_no_process() {
        let (zygote, _) = boot_with(&[]).await;
        let zygote_pid = zygote.pid().unwrap();
        let pool = Pool::new(zygote, plan(Mode::Job, 3));
        until("three children are ready", || count(&pool, ProcessState::Ready) == 3).await;
        let pids: Vec<u32> = pool.snapshot().children.iter().map(|row| row.pid).collect();
        drop(pool);
        until("no process is left", || pids.iter().chain([&zygote_pid]).all(|pid| !runs(*pid))).await;
    }
}
