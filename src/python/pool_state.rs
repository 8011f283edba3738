//! What a pool has and awaits, and what is to be done about it.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::child::Child;
use super::messages::Mode;
use super::pool_record::{PoolPlan, PoolRecord};
use super::process_record::ProcessState;
use super::zygote::Zygote;
use crate::fault::Fault;

/// What a pool has and awaits.
pub(super) struct PoolState {
    pub(super) zygote: Zygote,
    /// Children that were asked for under an earlier number are not wanted any more.
    pub(super) generation: u64,
    pub(super) idle: Vec<Child>,
    pub(super) waiting: VecDeque<oneshot::Sender<Result<Child, Fault>>>,
    /// Forks that are under way.
    pub(super) forking: usize,
    /// Warm children that were given back and are not at rest yet.
    pub(super) returning: usize,
    /// Forks that failed in a row.
    pub(super) failures: u32,
    /// No fork is begun before a delay has passed.
    pub(super) is_resting: bool,
    pub(super) record: PoolRecord,
}

impl PoolState {
    /// Children of this zygote, none yet.
    pub(super) fn of(zygote: Zygote) -> Self {
        Self {
            zygote,
            generation: 0,
            idle: Vec::new(),
            waiting: VecDeque::new(),
            forking: 0,
            returning: 0,
            failures: 0,
            is_resting: false,
            record: PoolRecord::default(),
        }
    }

    /// Takes out the children that can run no other job.
    pub(super) fn take_unusable(&mut self) -> Vec<Child> {
        let all = std::mem::take(&mut self.idle).into_iter().map(|mut child| (child.is_usable(), child));
        let (usable, unusable): (Vec<_>, Vec<_>) = all.partition(|(is_usable, _)| *is_usable);
        self.idle = usable.into_iter().map(|(_, child)| child).collect();
        unusable.into_iter().map(|(_, child)| child).collect()
    }

    /// Hands the children that are ready, the last first, to those who wait. Returns those that turned out not to be.
    pub(super) fn hand_out(&mut self) -> Vec<Child> {
        let mut unusable = Vec::new();
        while !self.waiting.is_empty()
            && let Some(mut child) = self.idle.pop()
        {
            if !child.is_usable() {
                unusable.push(child);
                continue;
            }
            let Some(waiting) = self.waiting.pop_front() else { break };
            child.record().enter(ProcessState::Busy);
            // Who waited may have given up.
            if let Err(Ok(child)) = waiting.send(Ok(child)) {
                child.record().enter(ProcessState::Ready);
                self.idle.push(child);
            }
        }
        unusable
    }

    /// How many forks are to be begun.
    pub(super) fn missing(&self, plan: PoolPlan) -> usize {
        let wanted = match plan.mode {
            Mode::Job => self.waiting.len() + plan.ready,
            // A warm child that is handed out is at work then: one that is waited for is no further one.
            Mode::Warm => self.waiting.len().max(plan.ready.saturating_sub(self.record.at_work())),
        };
        let missing = wanted.saturating_sub(self.idle.len() + self.forking + self.returning);
        match (self.is_resting, self.failures) {
            (true, _) => 0,
            (false, 0) => missing,
            // After a failure one at a time, until one has come.
            (false, _) => missing.min(1_usize.saturating_sub(self.forking)),
        }
    }
}
