//! `tikkun enqueue`: puts one job into a queue.

use std::time::Duration;

use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};

use super::advice::{Advice, quoted};
use super::audited::{COMMAND_LINE, audited};
use super::ending::{Complaint, finish};
use super::{Common, key_value, known, page, spans};
use crate::config::Settings;
use crate::job::{Args, JobId, Limit, NewJob, QueueEnd, QueueName, Retries};
use crate::kinds::is_deletion;
use crate::operations::present;
use crate::queue::Enqueued;
use crate::runtime::JobPorts;

/// The queue for functions without a queue of their own.
const DEFAULT_QUEUE: &str = "default";

/// Options of `enqueue`.
#[derive(Debug, ClapArgs)]
pub(super) struct Enqueue {
    /// The function, as `module.function` or its last part alone.
    #[arg(value_parser = known::name)]
    function: String,
    /// Its arguments in order, each as JSON (`27`, `true`, `[1,2]`) or, if it is not JSON, as text.
    #[arg(allow_negative_numbers = true)]
    args: Vec<String>,
    /// The queue; by default `deletion.queue` for the deletion of receipts, else `default`.
    #[arg(long, value_parser = known::queue(), hide_possible_values = true)]
    queue: Option<String>,
    /// An argument by name; may be repeated.
    #[arg(long, value_name = "KEY=JSON", value_parser = key_value)]
    named: Vec<(String, String)>,
    /// The job's id; by default a new UUID.
    #[arg(long, value_parser = known::name)]
    id: Option<String>,
    /// The time limit of one attempt: `30m` or `never`; by default the function's own.
    #[arg(long, value_parser = spans::limit)]
    timeout: Option<Limit>,
    /// The job waits at least this long before it runs.
    #[arg(long, value_parser = spans::duration)]
    delay: Option<Duration>,
    /// How many times a failed job is retried; by default the function's own number.
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// The waits before the retries, separated by commas; the last one repeats.
    #[arg(long, value_name = "10s,30s", requires = "retries", value_delimiter = ',', value_parser = spans::duration)]
    retry_interval: Vec<Duration>,
    /// Puts the job at the head of its queue.
    #[arg(long)]
    front: bool,
    /// How long its result is kept: `5m` or `never`.
    #[arg(long, value_parser = spans::keep)]
    result_ttl: Option<Limit>,
    /// How long its failure is kept: `1day` or `never`.
    #[arg(long, value_parser = spans::keep)]
    failure_ttl: Option<Limit>,
}

impl Enqueue {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        finish(common.with_new_ports(async move |settings, ports| {
            let job = self.into_job(&settings)?;
            // Without the arguments: they may be confidential.
            let (function, id) = (quoted(job.kind.as_str()), quoted(job.id.as_str()));
            let words = format!("enqueue {function} --queue {} --id {id}", job.queue);
            audited((COMMAND_LINE, words), enqueue(&job, &ports, json)).await
        }))
    }

    fn into_job(self, settings: &Settings) -> Result<NewJob, Complaint> {
        let queue = self.queue.map(QueueName::from).unwrap_or_else(|| usual_queue(&self.function, settings));
        let id = self.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let mut named = Map::new();
        for (key, value) in self.named {
            if named.contains_key(&key) {
                let text = format!("--named gives `{key}` twice; expected each name once");
                return Err(Complaint::usage(text, Advice::help("enqueue")));
            }
            named.insert(key, json_or_text(value));
        }
        let args = Args { positional: self.args.into_iter().map(json_or_text).collect(), named };
        let intervals = self.retry_interval;
        Ok(NewJob {
            timeout: self.timeout,
            retries: self.retries.map(|left| Retries { left, intervals }),
            result_ttl: self.result_ttl,
            failure_ttl: self.failure_ttl,
            delay: self.delay.filter(|delay| !delay.is_zero()),
            end: if self.front { QueueEnd::Head } else { QueueEnd::Tail },
            ..NewJob::new(JobId::from(id), queue, self.function, args)
        })
    }
}

async fn enqueue(job: &NewJob, ports: &JobPorts, json: bool) -> Result<(), Complaint> {
    let answers = ports.broker.enqueue(std::slice::from_ref(job)).await?;
    if answers.contains(&Enqueued::Exists) {
        let text = format!("a job with the id `{}` exists already and was left as it is", job.id);
        return Err(Complaint::failed(text, Advice::other_id(&job.id)));
    }
    if json {
        let state = if job.delay.is_some() { "scheduled" } else { "queued" };
        page::json(&json!({ "id": job.id, "queue": job.queue, "function": job.kind, "state": state }));
    } else {
        page::line(job.id.as_str());
    }
    warn_if_nobody_listens(ports, &job.queue).await;
    Ok(())
}

fn usual_queue(function: &str, settings: &Settings) -> QueueName {
    if is_deletion(function) { settings.deletion.queue.clone() } else { DEFAULT_QUEUE.into() }
}

/// Prints a warning only: the job is in its queue in any case.
async fn warn_if_nobody_listens(ports: &JobPorts, queue: &QueueName) {
    match present(&*ports.broker).await {
        Ok(live) if live.iter().any(|process| process.listens_to(queue)) => {}
        Ok(_) => page::note(&format!(
            "warning: no live process listens to queue `{queue}`; the job waits until one does, as \
             `tikkun serve --queues {queue}`"
        )),
        Err(fault) => page::note(&format!(
            "warning: who listens to queue `{queue}` cannot be told now: {}",
            fault.chain()
        )),
    }
}

fn json_or_text(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_json_where_it_is_json() {
        assert_eq!(json_or_text("27".into()), json!(27));
        assert_eq!(json_or_text("[1, null]".into()), json!([1, null]));
        assert_eq!(json_or_text("Dana's".into()), json!("Dana's"));
        assert_eq!(json_or_text("".into()), json!(""));
    }
}
