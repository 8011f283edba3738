//! Which jobs are meant: by id, or all that match.

use clap::Args;

use super::super::advice::{Advice, quoted};
use super::super::audited::COMMAND_LINE;
use super::super::ending::{self, Complaint};
use super::super::known;
use crate::job::background::BackgroundJob;
use crate::job::{BackgroundJobId, JobId, JobRecord, JobState};
use crate::operations::audit_bulk;
use crate::queue::JobFilter;
use crate::runtime::Ports;

/// The most jobs that one command changes, unless it is told otherwise.
const AT_ONCE: u32 = 1000;

/// One job, by id.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The id of a job in its queue, or the number of a row of background_jobs.
    pub id: String,
}

/// What must hold of a job.
#[derive(Debug, Args)]
pub(super) struct Matching {
    /// Only of this queue.
    #[arg(long, value_parser = known::queue(), hide_possible_values = true)]
    queue: Option<String>,
    /// Only in this state.
    #[arg(long, value_parser = known::state())]
    state: Option<JobState>,
    /// Only of this function, written as it was enqueued.
    #[arg(long)]
    function: Option<String>,
}

/// Jobs that are to be changed.
#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Ids of jobs in their queues, or numbers of rows of background_jobs.
    ids: Vec<String>,
    #[command(flatten)]
    matching: Matching,
    /// At most so many of those that match: 1000 unless told otherwise.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// What an id stands for: a row with the entry that carries it, or an entry alone.
#[derive(Debug)]
pub(super) enum Meant {
    /// A row of `background_jobs`.
    Row(Box<BackgroundJob>, Option<JobRecord>),
    /// A job of a queue.
    Entry(JobRecord),
    /// Nothing, and why.
    Nothing(Complaint),
}

impl Matching {
    /// The broker's filter; without a state of its own it takes `state`.
    pub(super) fn filter(&self, state: Option<JobState>, limit: u32) -> JobFilter {
        JobFilter {
            queue: self.queue.clone().map(Into::into),
            state: self.state.or(state),
            kind: self.function.clone().map(Into::into),
            limit,
            ..JobFilter::default()
        }
    }

    /// The filters as they are typed, with a space after each.
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
    /// What is chosen as it is typed, with a space before each.
    pub(super) fn words(&self) -> String {
        let ids = self.ids.iter().map(|id| format!(" {}", quoted(id)));
        format!(" {}", self.matching.as_flags()).trim_end().to_owned() + &ids.collect::<String>()
    }

    /// Whether jobs are named one by one.
    pub(super) fn by_id(&self) -> bool {
        !self.ids.is_empty()
    }

    /// Whether exactly one job is named.
    pub(super) fn is_single(&self) -> bool {
        self.ids.len() == 1
    }

    /// The jobs that `command` is to change, each once, with what they were called; those that only match are
    /// in `state` unless a state is given.
    pub(super) async fn find(
        self,
        ports: &Ports,
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
                    eprintln!("tikkun: these are the newest {limit}; older ones may match too");
                }
                let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
                audit_bulk(COMMAND_LINE, command.trim_start_matches("jobs "), &ids);
                Ok(jobs.into_iter().map(|job| (job.id.to_string(), Meant::Entry(job))).collect())
            }
        }
    }
}

/// What `id` stands for: a row if there is one of that number, else a job of a queue.
pub(super) async fn meant(id: &str, ports: &Ports) -> Result<Meant, Complaint> {
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
