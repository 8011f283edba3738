//! Asks the worker of a job to stop it, by RQ's own command, which ours and Python's workers receive.

use std::collections::BTreeSet;

use serde_json::json;

use super::server::Server;
use super::wire;
use crate::fault::Fault;
use crate::job::{JobId, JobState};
use crate::queue::delivery::StopAsked;

impl Server {
    /// Asks the workers of all executions of a job to stop it.
    pub(super) async fn stop(&self, id: &JobId) -> Result<StopAsked, Fault> {
        let what = || format!("stop job {id}");
        let mut commands = redis::pipe();
        commands.cmd("HMGET").arg(self.keys.job(id.as_str())).arg("status").arg("worker_name");
        let ((status, worker),): ((Option<String>, Option<String>),) = self.link.ask(&commands, what).await?;
        let Some(state) = status.as_deref().map(wire::state) else { return Ok(StopAsked::Missing) };
        if state != JobState::Started {
            return Ok(StopAsked::Is(state));
        }
        let mut workers = self.workers_on(id).await?;
        // RQ 1 has no executions; it names only the last worker.
        workers.extend(worker.filter(|name| !name.is_empty()));
        let command = json!({ "command": "stop-job", "job_id": id }).to_string();
        let mut commands = redis::pipe();
        for worker in &workers {
            commands.publish(self.keys.commands(worker), &command);
        }
        if workers.is_empty() {
            return Ok(StopAsked::Unheard);
        }
        let heard: Vec<u64> = self.link.ask(&commands, what).await?;
        Ok(if heard.iter().all(|heard| *heard == 0) { StopAsked::Unheard } else { StopAsked::Told })
    }

    /// The workers that run a job; its id may have several executions at a time.
    async fn workers_on(&self, id: &JobId) -> Result<BTreeSet<String>, Fault> {
        let what = || format!("look who runs job {id}");
        let mut commands = redis::pipe();
        commands.zrange(self.keys.executions(id.as_str()), 0, -1);
        let executions: Vec<Option<Vec<String>>> = self.link.ask_each(&mut commands, what).await?;
        let executions: Vec<String> = executions.into_iter().flatten().flatten().collect();
        if executions.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut commands = redis::pipe();
        for execution in executions {
            commands.hget(self.keys.execution(id.as_str(), &execution), "worker_name");
        }
        let names: Vec<Option<String>> = self.link.ask_each(&mut commands, what).await?;
        Ok(names.into_iter().flatten().filter(|name| !name.is_empty()).collect())
    }
}
