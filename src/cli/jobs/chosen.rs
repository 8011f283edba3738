//! Selects jobs by id, or by filters.

use clap::Args;

use super::super::advice::{Advice, quoted};
use super::super::audited::COMMAND_LINE;
use super::super::ending::{self, Complaint};
use super::super::{known, page};
use crate::job::background::BackgroundJob;
use crate::job::{BackgroundJobId, JobId, JobRecord, JobState};
use crate::operations::audit_bulk;
use crate::queue::JobFilter;
use crate::runtime::JobPorts;

/// The default limit on the jobs that one command changes.
const AT_ONCE: u32 = 1000;

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The id of a queue job, or of a row of background_jobs.
    pub id: String,
}

/// Filters for queue jobs.
#[derive(Debug, Args)]
pub(super) struct Matching {
    /// Only jobs of this queue.
    #[arg(long, value_parser = known::queue(), hide_possible_values = true)]
    queue: Option<String>,
    /// Only jobs in this state.
    #[arg(long, value_parser = known::state())]
    state: Option<JobState>,
    /// Only jobs of this function, written as it was enqueued.
    #[arg(long)]
    function: Option<String>,
}

/// The jobs to change.
#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Ids of queue jobs, or of rows of background_jobs.
    ids: Vec<String>,
    #[command(flatten)]
    matching: Matching,
    /// The most matching jobs to change; 1000 by default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// What an id refers to.
#[derive(Debug)]
pub(super) enum Meant {
    /// A row of `background_jobs`, with its queue job if there is one.
    Row(Box<BackgroundJob>, Option<JobRecord>),
    /// A queue job without a row.
    Entry(JobRecord),
    /// Nothing, with the reason.
    Nothing(Complaint),
}

impl Matching {
    /// The filter for the broker; `state` applies if no state was given.
    pub(super) fn filter(&self, state: Option<JobState>, limit: u32) -> JobFilter {
        JobFilter {
            queue: self.queue.clone().map(Into::into),
            state: self.state.or(state),
            kind: self.function.clone().map(Into::into),
            limit,
            ..JobFilter::default()
        }
    }

    /// The filters as typed, with a space after each.
    pub(super) fn as_flags(&self) -> String {
        let state = self.state.map(|state| state.as_str().to_owned());
        let all = [("--queue", &self.queue), ("--state", &state), ("--function", &self.function)];
        let given = all.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?)));
        given.map(|(flag, value)| format!("{flag} {} ", quoted(value))).collect()
    }

    fn is_given(&self) -> bool {
        self.queue.is_some() || self.state.is_some() || self.function.is_some()
    }
}

impl Chosen {
    /// The selection as typed, with a space before each part.
    pub(super) fn words(&self) -> String {
        let ids = self.ids.iter().map(|id| format!(" {}", quoted(id)));
        format!(" {}", self.matching.as_flags()).trim_end().to_owned() + &ids.collect::<String>()
    }

    /// Whether jobs are selected by id.
    pub(super) fn by_id(&self) -> bool {
        !self.ids.is_empty()
    }

    /// Whether exactly one id was given.
    pub(super) fn is_single(&self) -> bool {
        self.ids.len() == 1
    }

    /// The jobs to change, each once, with the id that was given. Filters without a state select jobs in
    /// `state`. `command` is for messages.
    pub(super) async fn find(
        self,
        ports: &JobPorts,
        (command, state): (&'static str, JobState),
    ) -> Result<Vec<(String, Meant)>, Complaint> {
        match (self.by_id(), self.matching.is_given() || self.limit.is_some()) {
            (true, true) => {
                let text = "give ids, or --queue, --state and --function, but not both";
                Err(Complaint::usage(text, Advice::help(command)))
            }
            (false, _) if !self.matching.is_given() => Err(Complaint::usage(
                format!(
                    "which jobs? give ids, or one of --queue, --state and --function, as in `--state {state}`"
                ),
                Advice::help(command),
            )),
            (true, false) => {
                let mut found = Vec::new();
                for (place, id) in self.ids.iter().enumerate() {
                    if !self.ids.iter().take(place).any(|before| before == id) {
                        found.push((id.clone(), meant(id, ports).await?));
                    }
                }
                Ok(found)
            }
            (false, _) => {
                let limit = self.limit.unwrap_or(AT_ONCE);
                let jobs = ports.broker.jobs(&self.matching.filter(Some(state), limit)).await?;
                if jobs.is_empty() {
                    ending::tell("no job matches", &Advice::FEWER_FILTERS);
                } else if jobs.len() >= limit as usize {
                    page::note(&format!("these are the newest {limit}; older ones may match too"));
                }
                let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
                audit_bulk(COMMAND_LINE, command.trim_start_matches("jobs "), &ids);
                Ok(jobs.into_iter().map(|job| (job.id.to_string(), Meant::Entry(job))).collect())
            }
        }
    }
}

/// Finds the row with this id, else the queue job.
pub(super) async fn meant(id: &str, ports: &JobPorts) -> Result<Meant, Complaint> {
    let row = match id.parse() {
        Ok(number) => ports.store.background_jobs.get(BackgroundJobId(number)).await?,
        Err(_) => None,
    };
    let Some(row) = row else {
        let entry = ports.broker.job(&JobId::from(id)).await?;
        return Ok(entry.map_or_else(|| Meant::Nothing(unknown(id)), Meant::Entry));
    };
    let entry = match &row.note.queue_job {
        Some(id) => ports.broker.job(id).await?,
        None => None,
    };
    Ok(Meant::Row(Box::new(row), entry))
}

fn unknown(id: &str) -> Complaint {
    let text = match id.parse::<i64>() {
        Ok(_) => format!("there is no background job {id} and no queue job of that id"),
        Err(_) => format!("there is no job `{id}`"),
    };
    Complaint::failed(text, Advice::LIST_JOBS)
}
