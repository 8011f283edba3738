//! Looks up a job's function and checks its arguments.

use std::sync::Arc;

use crate::job::{ArgsError, BoxedJob, ForeignJobs, JobError, JobRecord, JobSettings, Registry};
use crate::supervision::catch;

/// A registered kind of job that can read its arguments.
pub(crate) struct Found {
    pub(crate) job: Arc<dyn BoxedJob>,
    pub(crate) known_as: String,
}

/// Why a job cannot be started.
pub(crate) enum NotFound {
    /// Its function is not registered in this process.
    Unknown(JobError),
    /// Its payload does not fit its function.
    Unreadable(JobError),
    /// It runs in another program.
    Foreign(Arc<dyn ForeignJobs>),
}

impl NotFound {
    pub(crate) fn into_error(self) -> JobError {
        match self {
            Self::Unknown(error) | Self::Unreadable(error) => error,
            Self::Foreign(_) => JobError::retryable("the program that runs the job was lost"),
        }
    }
}

/// Finds the function and checks its arguments.
fn find(registry: &Registry, record: &JobRecord) -> Result<Found, NotFound> {
    let job = match (registry.find(&record.kind), &record.args) {
        (Ok(job), _) => job,
        (Err(_), _) if let Some(jobs) = registry.foreign() => {
            return Err(NotFound::Foreign(Arc::clone(jobs)));
        }
        // What cannot even be read is no function that somebody else may have.
        (Err(_), Err(error)) => return Err(NotFound::Unreadable(unreadable(registry, error))),
        (Err(unknown), Ok(_)) => return Err(NotFound::Unknown(JobError::permanent(unknown))),
    };
    let unreadable = |error| NotFound::Unreadable(unreadable(registry, &error));
    let args = record.args.as_ref().map_err(|error| unreadable(error.clone()))?;
    let known_as = job.known_as(args).map_err(unreadable)?;
    let known_as = known_as.unwrap_or_else(|| record.id.to_string());
    Ok(Found { job: Arc::clone(job), known_as })
}

/// Finds the function and its settings. Both run code of the kind, so a panic in it is caught, and the job
/// cannot be started.
pub(crate) fn look_up(registry: &Registry, record: &JobRecord) -> (Result<Found, NotFound>, JobSettings) {
    let look = || {
        let found = find(registry, record);
        let settings = match &found {
            Ok(found) => found.job.settings(),
            Err(NotFound::Foreign(jobs)) => jobs.settings(),
            Err(_) => JobSettings::default(),
        };
        (found, settings)
    };
    catch(look).unwrap_or_else(|panic| {
        let error = JobError::permanent(format!("the job panicked before it began: {panic}"));
        (Err(NotFound::Unreadable(error)), JobSettings::default())
    })
}

pub(crate) fn unreadable(registry: &Registry, error: &ArgsError) -> JobError {
    JobError::permanent(format!("{error}; registered: {}", registry.names().collect::<Vec<_>>().join(", ")))
}
