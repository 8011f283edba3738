//! Who runs the jobs of a process: its kinds in Rust, and captured Python workers, each with queues and slots of its own.

use futures::future::try_join_all;

use super::python_jobs::{PythonCommand, PythonWorker, misfit};
use super::start_error::{PythonStartError, Unserved};
use crate::config::{PythonWorkerSettings, Settings, WarningLevel, WorkerSettings};
use crate::job::{KindName, Registry};
use crate::kinds::is_registered;
use crate::python::Pool;

/// Those who run jobs in this process.
pub(super) struct Teams {
    /// Kinds in Rust beside those of Tikkun.
    pub own: Registry,
    /// How kinds in Rust are served; `None`: only jobs of a Python worker are.
    pub kinds: Option<WorkerSettings>,
    /// The Python workers.
    pub python: Vec<PythonTeam>,
}

/// A captured Python worker whose jobs are run.
pub(super) struct PythonTeam {
    pub worker: PythonWorker,
    /// What it serves.
    pub served: WorkerSettings,
    /// The functions that run in Rust although their jobs lie in its queues.
    pub native: Vec<KindName>,
}

impl Teams {
    /// Kinds in Rust; Python workers are added when they are [booted](Self::boot).
    pub(super) fn of_kinds(own: Registry, settings: &Settings) -> Self {
        Self { own, kinds: Some(settings.worker.clone()), python: Vec::new() }
    }

    /// A Python worker alone, whose queues `settings` have.
    pub(super) fn of_worker(worker: PythonWorker, settings: &Settings) -> Self {
        let team = PythonTeam { worker, served: settings.worker.clone(), native: Vec::new() };
        Self { own: Registry::default(), kinds: None, python: vec![team] }
    }

    /// The processes of all Python workers.
    pub(super) fn pools(&self) -> Vec<Pool> {
        self.python.iter().map(|team| team.worker.pool()).collect()
    }

    /// Starts the Python workers of the settings, if this process runs jobs, and adds their queues and slots to the
    /// settings, which are then those of the whole process. Cancel safe: dropped, it leaves no process behind.
    pub(super) async fn boot(&mut self, settings: &mut Settings) -> Result<(), PythonStartError> {
        let workers = std::mem::take(&mut settings.python_workers);
        if workers.is_empty() || !settings.service.role.runs_jobs() {
            return Ok(());
        }
        let fail = |place: usize, why: Unserved| {
            let command = workers.get(place).map(PythonWorkerSettings::shown).unwrap_or_default();
            PythonStartError { number: place + 1, command, why }
        };
        if let Some((place, why)) = misfit(settings, &[]).or_else(|| self.unknown(&workers, settings)) {
            return Err(fail(place, Unserved::Unfit(why)));
        }
        let booted = workers.iter().enumerate().map(async |(place, worker)| {
            let booted = PythonWorker::boot(PythonCommand::of(worker, settings), worker.slots).await;
            booted.map_err(|error| fail(place, Unserved::Boot(Box::new(error))))
        });
        let booted = try_join_all(booted).await?;
        let hellos: Vec<_> = booted.iter().map(PythonWorker::hello).collect();
        if let Some((place, why)) = misfit(settings, &hellos) {
            return Err(fail(place, Unserved::Unfit(why)));
        }
        for (worker, told) in booted.into_iter().zip(&workers) {
            let usual = &settings.worker;
            let mut served = worker.served(usual);
            if !told.native.is_empty() {
                // A job in Rust that holds its thread must hold up no Python job, nor have one given back.
                served.threads = served.slots;
            }
            self.python.push(PythonTeam { worker, served, native: told.native.clone() });
        }
        self.join(settings);
        Ok(())
    }

    /// The first name of `native` that is no function in Rust.
    fn unknown(&self, workers: &[PythonWorkerSettings], settings: &Settings) -> Option<(usize, String)> {
        let trials = settings.diagnostics.enabled;
        let is_unknown = |kind: &&KindName| !is_registered(kind, trials) && self.own.find(kind).is_err();
        workers.iter().enumerate().find_map(|(place, worker)| {
            let kind = worker.native.iter().find(is_unknown)?;
            Some((place, format!("`native` names `{kind}`, which is no function in Rust here")))
        })
    }

    fn join(&self, settings: &mut Settings) {
        let mut whole = Vec::new();
        let worker = &mut settings.worker;
        for PythonTeam { served, .. } in &self.python {
            whole.extend(served.queues.iter().cloned());
            worker.slots += served.slots;
            worker.queues_as_given = format!("{},{}", worker.queues_as_given, served.queues_as_given);
        }
        worker.queues.extend(whole.iter().cloned());
        let unknown = whole.iter().filter(|queue| !worker.known_queues.contains(queue));
        let unknown: Vec<_> = unknown.cloned().collect();
        worker.known_queues.extend(unknown);
        for warning in worker.warnings() {
            match warning.level {
                WarningLevel::Warn => tracing::warn!("{}", warning.text),
                WarningLevel::Error => tracing::error!("{}", warning.text),
            }
        }
        settings.hand_over_whole_jobs(whole, None);
    }
}
