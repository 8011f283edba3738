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
    /// Its payload does not fit its function, or does not even name one.
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
        (Err(unknown), Ok(_)) => return Err(NotFound::Unknown(JobError::permanent(unknown))),
        // Whoever has the function may read them.
        (Err(_), Err(error)) if record.kind.is_known() => {
            return Err(NotFound::Unknown(unreadable(registry, error)));
        }
        (Err(_), Err(error)) => return Err(NotFound::Unreadable(unreadable(registry, error))),
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

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::job::{Args, KindName, NewJob};

    #[test]
    fn a_function_with_a_name_may_be_somebody_elses_whatever_its_arguments_are() {
        let registry = Registry::default();
        let find = |kind: &str, args| {
            let record = JobRecord::of(NewJob::new("a", "q", kind, Args::default()), DateTime::UNIX_EPOCH);
            find(&registry, &JobRecord { args, ..record }).err().unwrap()
        };
        let strange = || Err(ArgsError::undecodable("(1 byte)", "strange"));
        assert!(matches!(find("shop.f", Ok(Args::default())), NotFound::Unknown(_)));
        let told =
            |error: JobError| assert!(error.message.contains("(1 byte): strange; registered"), "{error:?}");
        match find("shop.f", strange()) {
            NotFound::Unknown(error) => told(error),
            _ => panic!("it has a name"),
        }
        match find(KindName::UNREADABLE, strange()) {
            NotFound::Unreadable(error) => told(error),
            _ => panic!("it has none"),
        }
    }
}
