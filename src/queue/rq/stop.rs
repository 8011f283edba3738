//! Asking whoever runs a job to stop it, by RQ's own command: any RQ worker hears it, ours or Python's.

use serde_json::json;

use super::server::Server;
use super::wire;
use crate::fault::Fault;
use crate::job::{JobId, JobState};
use crate::queue::delivery::StopAsked;

impl Server {
    /// Tells the worker of a running job to stop it.
    pub(super) async fn stop(&self, id: &JobId) -> Result<StopAsked, Fault> {
        let what = || format!("stop job {id}");
        let mut commands = redis::pipe();
        commands.cmd("HMGET").arg(self.keys.job(id.as_str())).arg("status").arg("worker_name");
        let ((status, worker),): ((Option<String>, Option<String>),) = self.link.ask(&commands, what).await?;
        let Some(state) = status.as_deref().map(wire::state) else { return Ok(StopAsked::Missing) };
        if state != JobState::Started {
            return Ok(StopAsked::Is(state));
        }
        let Some(worker) = worker.filter(|name| !name.is_empty()) else { return Ok(StopAsked::Unheard) };
        let command = json!({ "command": "stop-job", "job_id": id }).to_string();
        let mut commands = redis::pipe();
        commands.publish(self.keys.commands(&worker), command);
        let (heard,): (u64,) = self.link.ask(&commands, what).await?;
        Ok(if heard == 0 { StopAsked::Unheard } else { StopAsked::Told })
    }
}
