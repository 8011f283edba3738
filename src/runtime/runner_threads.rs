//! The threads that run jobs, each with its runners, and their replacement when a job never yields. Runners that only wait for
//! other processes are on the service's own thread.
//!
//! A thread cannot be killed. A lost one is fenced off and left alone. It counts as stuck until its code
//! ends; then the thread ends, too.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::{Arbiter, ArbiterHandle};
use async_trait::async_trait;
use parking_lot::Mutex;

use crate::fault::{Fault, FaultKind};
use crate::job::Registry;
use crate::supervision::{ChildHandle, ChildSpec, StartError, Supervisor};
use crate::worker::{Fence, JobRunner, Post, RunnerPlace, RunnerThreads, Running, StopForDrain};

/// The parts for every runner.
pub(super) struct RunnerKit {
    /// The registered kinds of jobs.
    pub registry: Arc<Registry>,
    /// How long a job may take to stop after it was asked to.
    pub grace: Duration,
    /// The service's own thread.
    pub control: ArbiterHandle,
    /// The table of running jobs.
    pub running: Running,
}

/// All threads for the jobs of a team.
pub(super) struct Threads {
    branch: Supervisor,
    kit: RunnerKit,
    state: Mutex<State>,
}

/// Those of all teams.
pub(super) struct AllThreads(pub Vec<Arc<Threads>>);

#[derive(Default)]
struct State {
    threads: Vec<Thread>,
    /// How many threads have replaced another one.
    replaced: u64,
    draining: bool,
}

/// A new thread or the service's own, its fence and its runners.
type People = (Option<Arbiter>, Fence, Vec<ChildHandle<JobRunner>>);

/// A thread in use.
struct Thread {
    /// `None`: the service's own.
    arbiter: Option<Arbiter>,
    fence: Fence,
    runners: Vec<Standing>,
}

/// A runner in use.
struct Standing {
    slot: usize,
    place: RunnerPlace,
    child: ChildHandle<JobRunner>,
}

impl Threads {
    /// Starts `threads` threads with a runner for each of `slots`, distributed evenly. Without threads the runners are on the
    /// service's own.
    pub(super) async fn start(
        branch: Supervisor,
        kit: RunnerKit,
        (threads, slots): (usize, Range<usize>),
    ) -> Result<Arc<Self>, StartError> {
        let all = Self { branch, kit, state: Mutex::default() };
        let places = threads.clamp(1, slots.len().max(1));
        for first in 0..places {
            let slots: Vec<usize> = slots.clone().skip(first).step_by(places).collect();
            let arbiter = (threads > 0).then(Arbiter::new);
            let (arbiter, fence, children) = all.people(arbiter, &slots, "").await?;
            let standing = |(slot, child): (usize, ChildHandle<JobRunner>)| {
                let place = RunnerPlace::new(Post { runner: child.address(), fence: fence.clone() });
                Standing { slot, place, child }
            };
            let runners = slots.into_iter().zip(children).map(standing).collect();
            all.state.lock().threads.push(Thread { arbiter, fence, runners });
        }
        Ok(Arc::new(all))
    }

    /// Starts a runner for each of these slots on a new thread. Cancel safe: if it is dropped half-way or
    /// fails, neither thread nor runners are left.
    async fn people(
        &self,
        arbiter: Option<Arbiter>,
        slots: &[usize],
        suffix: &str,
    ) -> Result<People, StartError> {
        let fence = Fence::default();
        let mut unmanned = Unmanned(arbiter.as_ref().map(Arbiter::handle));
        let thread = arbiter.as_ref().map_or_else(|| self.kit.control.clone(), Arbiter::handle);
        // Dropped before the thread: a child that was asked to stop does not count as crashed.
        let mut children = Vec::new();
        for slot in slots {
            let kit = &self.kit;
            // How long a job may hold its thread is decided by its own time limit.
            let spec = ChildSpec::permanent(format!("job_runner/{slot}{suffix}")).judged_elsewhere();
            let (registry, grace, running) = (Arc::clone(&kit.registry), kit.grace, kit.running.clone());
            let behind = fence.clone();
            let make = move || JobRunner::new(registry, grace, running).behind(behind);
            children.push(self.branch.start(spec, &thread, make).await?.owned());
        }
        let children = children.into_iter().map(ChildHandle::lent).collect();
        unmanned.0 = None;
        Ok((arbiter, fence, children))
    }

    /// The places of the runners, in the order of the slots.
    pub(super) fn places(&self) -> Vec<RunnerPlace> {
        let state = self.state.lock();
        let mut runners: Vec<&Standing> = state.threads.iter().flat_map(|thread| &thread.runners).collect();
        runners.sort_by_key(|standing| standing.slot);
        runners.into_iter().map(|standing| standing.place.clone()).collect()
    }

    /// Asks every runner to stop its job, also those that are added later. Does not wait, because a lost
    /// thread does not answer.
    pub(super) fn drain(&self) {
        let mut state = self.state.lock();
        state.draining = true;
        for standing in state.threads.iter().flat_map(|thread| &thread.runners) {
            tell(standing.child.address());
        }
    }

    /// Hands out the threads in use, to be ended by the caller.
    pub(super) fn take(&self) -> Vec<Arbiter> {
        self.state.lock().threads.drain(..).filter_map(|thread| thread.arbiter).collect()
    }

    /// Puts this thread with its runners in the place of the one behind `fence`, which is returned.
    fn exchange(
        &self,
        fence: &Fence,
        (arbiter, new, children): People,
    ) -> Option<(Option<Arbiter>, Vec<ChildHandle<JobRunner>>)> {
        let mut state = self.state.lock();
        let draining = state.draining;
        let thread = state.threads.iter_mut().find(|thread| thread.fence.is(fence))?;
        let mut old = Vec::new();
        for (standing, child) in thread.runners.iter_mut().zip(children) {
            if draining {
                tell(child.address());
            }
            standing.place.publish(Post { runner: child.address(), fence: new.clone() });
            old.push(std::mem::replace(&mut standing.child, child));
        }
        thread.fence = new;
        Some((std::mem::replace(&mut thread.arbiter, arbiter), old))
    }

    fn slots_behind(&self, fence: &Fence) -> Option<(Vec<usize>, u64)> {
        let mut state = self.state.lock();
        let thread = state.threads.iter().find(|thread| thread.fence.is(fence))?;
        let slots = thread.runners.iter().map(|standing| standing.slot).collect();
        state.replaced += 1;
        Some((slots, state.replaced))
    }
}

#[async_trait]
impl RunnerThreads for Threads {
    async fn replace(&self, fence: &Fence) -> Result<(), Fault> {
        let Some((slots, number)) = self.slots_behind(fence) else { return Ok(()) };
        let people =
            self.people(Some(Arbiter::new()), &slots, &format!(".r{number}")).await.map_err(|error| {
                Fault::new(FaultKind::Retryable, "start runners on a new thread").because(error)
            })?;
        let Some((arbiter, old)) = self.exchange(fence, people) else { return Ok(()) };
        tracing::error!(
            slots = ?slots,
            "a job's code never yields: its thread is given up, and its slots go on on a new one"
        );
        let gone: Vec<_> = old.iter().map(|child| self.branch.abandon(child)).collect();
        actix_rt::spawn(async move {
            futures::future::join_all(gone).await;
            arbiter.as_ref().map(Arbiter::stop);
            tracing::info!(slots = ?slots, "a thread that was given up came back, and has ended");
        });
        Ok(())
    }
}

#[async_trait]
impl RunnerThreads for AllThreads {
    async fn replace(&self, fence: &Fence) -> Result<(), Fault> {
        for threads in &self.0 {
            threads.replace(fence).await?;
        }
        Ok(())
    }
}

/// Ends a new thread unless all its runners have been started.
struct Unmanned(Option<ArbiterHandle>);

impl Drop for Unmanned {
    fn drop(&mut self) {
        if let Some(thread) = &self.0 {
            thread.stop();
        }
    }
}

fn tell(runner: Addr<JobRunner>) {
    actix_rt::spawn(async move {
        if runner.send(StopForDrain).await.is_err() {
            tracing::debug!("a runner is gone before the drain");
        }
    });
}
