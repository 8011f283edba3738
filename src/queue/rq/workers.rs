//! The RQ workers of this process: one name for each slot, because RQ's tools show one job for each worker.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::job::ExecutionId;
use crate::queue::seen::ProcessRecord;

/// The number of characters of a process id in its workers' names.
const SHORT: usize = 8;

/// The names of this process's workers, and their executions.
pub(super) struct Workers {
    slots: usize,
    /// What they are called; without it they are named after host and process.
    name: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    named: bool,
    /// All names, including those out of service.
    all: Vec<String>,
    /// Names in service.
    names: Vec<String>,
    free: Vec<String>,
    busy: HashMap<ExecutionId, Assigned>,
    /// Workers retired while busy; they leave when their job has ended.
    retiring: Vec<String>,
    /// Workers that are retired and idle, until they are removed from the registries.
    retired: Vec<String>,
}

/// The worker of an execution.
struct Assigned {
    name: String,
    /// Whether another execution has the same worker, and will free it.
    shared: bool,
}

impl Workers {
    /// A worker for each of `slots`; their names are set once the process has its lease.
    pub(super) fn new(slots: usize, name: Option<String>) -> Self {
        Self { slots, name, state: Mutex::default() }
    }

    /// Names the workers as they are called, or after host and process, the first time; returns the names in service.
    pub(super) fn named_after(&self, process: &ProcessRecord) -> Vec<String> {
        let mut state = self.state.lock();
        if !state.named {
            state.named = true;
            state.names = match &self.name {
                Some(name) if self.slots == 1 => vec![name.clone()],
                Some(name) => (1..=self.slots).map(|slot| format!("{name}-{slot}")).collect(),
                None => names_of(process, self.slots),
            };
            state.all = state.names.clone();
            // Reversed, so that the first is taken first.
            state.free = state.names.iter().rev().cloned().collect();
        }
        state.names.clone()
    }

    /// All names, including workers out of service, whose jobs can still be stopped.
    pub(super) fn all(&self) -> Vec<String> {
        self.state.lock().all.clone()
    }

    /// All executions with their workers' names.
    pub(super) fn busy(&self) -> Vec<(ExecutionId, String)> {
        let state = self.state.lock();
        state.busy.iter().map(|(execution, assigned)| (execution.clone(), assigned.name.clone())).collect()
    }

    /// The execution of a worker.
    pub(super) fn execution_of(&self, worker: &str) -> Option<ExecutionId> {
        let state = self.state.lock();
        let busy = state.busy.iter().filter(|(_, assigned)| assigned.name == worker);
        busy.min_by_key(|(_, assigned)| assigned.shared).map(|(execution, _)| execution.clone())
    }

    /// Retires a worker, at once or at the end of its job; `false` if it is not ours or already retired.
    pub(super) fn retire(&self, worker: &str) -> bool {
        self.state.lock().retire(worker)
    }

    /// Retires every worker, each at once or at the end of its job.
    pub(super) fn retire_all(&self) {
        let mut state = self.state.lock();
        for worker in state.names.clone() {
            state.retire(&worker);
        }
    }

    /// Workers that are busy and leave at the end of their job.
    pub(super) fn retiring(&self) -> Vec<String> {
        self.state.lock().retiring.clone()
    }

    /// Workers that have left, and may still be in the registries.
    pub(super) fn retired(&self) -> Vec<String> {
        self.state.lock().retired.clone()
    }

    /// These are removed from the registries.
    pub(super) fn forget(&self, gone: &[String]) {
        self.state.lock().retired.retain(|name| !gone.contains(name));
    }

    /// Assigns names to new executions: free ones, then those of executions that are `ending` in the same call. Beyond the
    /// slots they share the last one.
    pub(super) fn assign(&self, executions: &[ExecutionId], ending: &[ExecutionId]) -> Vec<String> {
        let (mut state, mut ending) = (self.state.lock(), ending.iter());
        let spare = state.all.last().cloned().unwrap_or_else(|| "tikkun".to_owned());
        let mut assigned = Vec::with_capacity(executions.len());
        for execution in executions {
            let free = state.free.pop().or_else(|| state.passed_on(&mut ending));
            let shared = free.is_none();
            let name = free.unwrap_or_else(|| spare.clone());
            state.busy.insert(execution.clone(), Assigned { name: name.clone(), shared });
            assigned.push(name);
        }
        assigned
    }

    /// Frees the workers of executions that have ended or never began.
    pub(super) fn release<'a>(&self, executions: impl IntoIterator<Item = &'a ExecutionId>) {
        let mut state = self.state.lock();
        for execution in executions {
            let Some(Assigned { name, shared }) = state.busy.remove(execution) else { continue };
            if let Some(place) = state.retiring.iter().position(|retiring| *retiring == name) {
                // The last name may be shared.
                if !state.busy.values().any(|busy| busy.name == name) {
                    state.retiring.swap_remove(place);
                    state.retired.push(name);
                }
            } else if !shared {
                state.free.push(name);
            }
        }
    }
}

impl State {
    /// The name of the next of these executions whose worker is its own and stays in service.
    fn passed_on<'a>(&mut self, ending: &mut impl Iterator<Item = &'a ExecutionId>) -> Option<String> {
        ending.find_map(|ended| {
            let own = self.busy.get_mut(ended).filter(|one| !one.shared && self.names.contains(&one.name))?;
            own.shared = true;
            Some(own.name.clone())
        })
    }

    fn retire(&mut self, worker: &str) -> bool {
        let known = self.names.len();
        self.names.retain(|name| name != worker);
        if self.names.len() == known {
            return false;
        }
        let before = self.free.len();
        self.free.retain(|name| name != worker);
        let list = if self.free.len() < before { &mut self.retired } else { &mut self.retiring };
        list.push(worker.to_owned());
        true
    }
}

/// A name for each slot, after host and process.
fn names_of(process: &ProcessRecord, slots: usize) -> Vec<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    let host: String = process.host.chars().map(plain).collect();
    let id: String = process.id.as_str().chars().take(SHORT).map(plain).collect();
    (1..=slots).map(|slot| format!("tikkun.{host}.{id}.{slot}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> ProcessRecord {
        let now = chrono::DateTime::UNIX_EPOCH;
        ProcessRecord {
            id: "0123456789".into(),
            host: "a host:1".into(),
            pid: 1,
            queues: Vec::new(),
            started_at: now,
            lease_until: now,
        }
    }

    #[test]
    fn a_retired_worker_goes_at_the_end_of_its_job_and_is_told_once() {
        let workers = Workers::new(2, None);
        let names = workers.named_after(&process());
        let ids: Vec<ExecutionId> = vec!["a".into()];
        workers.assign(&ids, &[]);
        assert_eq!(workers.execution_of(&names[0]), Some("a".into()));
        assert!(workers.retire(&names[0]) && !workers.retire(&names[0]) && !workers.retire("other"));
        assert_eq!((workers.retiring(), workers.retired()), (vec![names[0].clone()], vec![]));
        workers.release(&ids);
        assert_eq!((workers.retiring(), workers.retired()), (vec![], vec![names[0].clone()]));
        workers.forget(&names[..1]);
        assert!(workers.retire(&names[1]));
        assert_eq!(workers.retired(), [names[1].clone()]);
        assert_eq!(workers.all(), names, "what the last jobs run can still be stopped");
    }

    #[test]
    fn a_worker_that_has_gone_is_told_of_until_it_is_off_the_registers() {
        let workers = Workers::new(2, None);
        let names = workers.named_after(&process());
        workers.assign(&["a".into()], &[]);
        workers.retire_all();
        assert_eq!(workers.retiring(), [names[0].clone()]);
        assert_eq!((workers.retired(), workers.retired()), (names[1..].to_vec(), names[1..].to_vec()));
        assert!(workers.named_after(&process()).is_empty(), "none is registered anew");
    }

    #[test]
    fn a_given_name_is_that_of_the_only_slot_and_numbered_for_several() {
        let named = |slots| Workers::new(slots, Some("mine".to_owned())).named_after(&process());
        assert_eq!(named(1), ["mine"]);
        assert_eq!(named(2), ["mine-1", "mine-2"]);
    }

    #[test]
    fn names_are_lent_and_come_back() {
        let workers = Workers::new(2, None);
        let names = workers.named_after(&process());
        assert_eq!(names, ["tikkun.a-host-1.01234567.1", "tikkun.a-host-1.01234567.2"]);
        let ids: Vec<ExecutionId> = ["a", "b", "c"].into_iter().map(ExecutionId::from).collect();
        assert_eq!(workers.assign(&ids, &[]), [&*names[0], &*names[1], &*names[1]]);
        workers.release(&ids);
        assert_eq!(workers.assign(&ids[..2], &[]).len(), 2);
        assert!(workers.state.lock().free.is_empty(), "no name is free twice");
        assert_eq!(workers.named_after(&process()), names, "named once");
        let next = ["d".into(), "e".into(), "f".into()];
        assert_eq!(workers.assign(&next, &ids[..2]), [&*names[1], &*names[0], &*names[1]], "passed on");
        workers.release(&ids);
        assert!(workers.state.lock().free.is_empty());
        assert!(workers.retire(&names[0]));
        assert_eq!(workers.assign(&["g".into()], &next), [&*names[1]], "one that leaves is not passed on");
        workers.release(&next);
        assert_eq!(workers.retired(), names[..1]);
    }
}
