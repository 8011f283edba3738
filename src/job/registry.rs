//! The kinds of jobs of a process, found by their dotted name or its last part.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::{
    Args, ArgsError, ForeignJobs, Job, JobContext, JobError, JobResult, JobSettings, KindName, QueueName,
};

/// A kind of job with its argument type hidden.
pub trait BoxedJob: Send + Sync {
    /// The full dotted name.
    fn name(&self) -> &'static str;
    /// Its Rust type, for error texts.
    fn type_name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
    /// Its settings.
    fn settings(&self) -> JobSettings;
    /// Checks the arguments, and returns the id of the job for log lines, if it has its own.
    ///
    /// # Errors
    /// The problem with the arguments.
    fn known_as(&self, args: &Args) -> Result<Option<String>, ArgsError>;
    /// Runs one attempt; unreadable arguments are a permanent failure.
    fn run<'a>(&'a self, args: &'a Args, ctx: &'a JobContext) -> BoxFuture<'a, JobResult>;
    /// Notifies the kind that the job has failed for good.
    fn failed<'a>(&'a self, args: &'a Args, error: &'a JobError, ctx: &'a JobContext) -> BoxFuture<'a, ()>;
}

impl<J: Job> BoxedJob for J {
    fn name(&self) -> &'static str {
        J::NAME
    }

    fn settings(&self) -> JobSettings {
        Job::settings(self)
    }

    fn known_as(&self, args: &Args) -> Result<Option<String>, ArgsError> {
        args.read::<J::Args>(J::PARAMETERS).map(|typed| Job::known_as(self, &typed))
    }

    fn run<'a>(&'a self, args: &'a Args, ctx: &'a JobContext) -> BoxFuture<'a, JobResult> {
        match args.read::<J::Args>(J::PARAMETERS) {
            Ok(typed) => Box::pin(Job::run(self, typed, ctx)),
            Err(error) => Box::pin(async move { Err(JobError::permanent(error)) }),
        }
    }

    fn failed<'a>(&'a self, args: &'a Args, error: &'a JobError, ctx: &'a JobContext) -> BoxFuture<'a, ()> {
        match args.read::<J::Args>(J::PARAMETERS) {
            Ok(typed) => Box::pin(Job::failed(self, typed, error, ctx)),
            Err(_) => Box::pin(async {}),
        }
    }
}

/// The kinds of jobs that a process can run.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Arc<dyn BoxedJob>>,
    /// For each queue, the queue to which jobs with unknown functions are forwarded.
    elsewhere: BTreeMap<QueueName, QueueName>,
    /// What runs every other job.
    foreign: Option<Arc<dyn ForeignJobs>>,
}

/// Two kinds have the same name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two kinds of jobs are called `{name}`: {first} and {second}; give one of them another NAME")]
pub struct KindClash {
    name: &'static str,
    first: &'static str,
    second: &'static str,
}

/// An unregistered function name; the error lists the registered ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown function `{wanted}`; registered: {known}")]
pub struct UnknownFunction {
    wanted: KindName,
    known: String,
}

impl Registry {
    /// Forwards jobs of some queues with unknown functions to other queues, instead of failing them.
    #[must_use]
    pub fn forwarding(mut self, elsewhere: BTreeMap<QueueName, QueueName>) -> Self {
        self.elsewhere = elsewhere;
        self
    }

    /// The queue to which jobs of `queue` with unknown functions are forwarded; `None`: they fail.
    #[must_use]
    pub fn elsewhere(&self, queue: &QueueName) -> Option<&QueueName> {
        self.elsewhere.get(queue)
    }

    /// Those of these functions that are here, and no others.
    #[must_use]
    pub fn only(&self, wanted: &[KindName]) -> Self {
        let found = wanted.iter().filter_map(|kind| self.find(kind).ok());
        let kinds = found.map(|kind| (kind.name(), Arc::clone(kind))).collect();
        Self { kinds, ..Self::default() }
    }

    /// Has every job whose function is not here run in another program.
    #[must_use]
    pub fn with_foreign(mut self, jobs: Arc<dyn ForeignJobs>) -> Self {
        self.foreign = Some(jobs);
        self
    }

    /// What runs jobs whose function is not here.
    #[must_use]
    pub fn foreign(&self) -> Option<&Arc<dyn ForeignJobs>> {
        self.foreign.as_ref()
    }

    /// How jobs of a function are treated, if it runs here.
    ///
    /// # Errors
    /// As [`find`](Self::find), where no other program runs jobs.
    pub fn settings_of(&self, wanted: &KindName) -> Result<JobSettings, UnknownFunction> {
        match (self.find(wanted), &self.foreign) {
            (Ok(kind), _) => Ok(kind.settings()),
            (Err(_), Some(jobs)) => Ok(jobs.settings()),
            (Err(unknown), None) => Err(unknown),
        }
    }

    /// Adds a kind. A second kind of the same name takes the first one's place.
    #[must_use]
    pub fn with(self, job: impl Job) -> Self {
        self.with_boxed(Arc::new(job))
    }

    /// Adds a kind that reads its arguments itself.
    #[must_use]
    pub fn with_boxed(mut self, boxed: Arc<dyn BoxedJob>) -> Self {
        self.kinds.insert(boxed.name(), boxed);
        self
    }

    /// Checks that the name of `J` is not registered yet.
    ///
    /// # Errors
    /// When the name is registered; the error names both types.
    pub fn free_for<J: Job>(&self) -> Result<(), KindClash> {
        self.free(J::NAME, std::any::type_name::<J>())
    }

    /// Checks that no name is also registered in `other`.
    ///
    /// # Errors
    /// The first common name, with both types.
    pub fn apart_from(&self, other: &Self) -> Result<(), KindClash> {
        other.kinds.values().try_for_each(|kind| self.free(kind.name(), kind.type_name()))
    }

    fn free(&self, name: &'static str, second: &'static str) -> Result<(), KindClash> {
        let taken = |first: &Arc<dyn BoxedJob>| Err(KindClash { name, first: first.type_name(), second });
        self.kinds.get(name).map_or(Ok(()), taken)
    }

    /// Finds a kind by its dotted name, or by its last part if only one kind has it.
    ///
    /// # Errors
    /// When there is none, or several have that last part.
    pub fn find(&self, wanted: &KindName) -> Result<&Arc<dyn BoxedJob>, UnknownFunction> {
        if let Some(job) = self.kinds.get(wanted.as_str()) {
            return Ok(job);
        }
        let mut by_last_part = self.kinds.values().filter(|job| {
            !wanted.as_str().contains('.') && KindName::from(job.name()).short() == wanted.as_str()
        });
        match (by_last_part.next(), by_last_part.next()) {
            (Some(job), None) => Ok(job),
            _ => Err(UnknownFunction {
                wanted: wanted.clone(),
                known: self.names().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Each dotted name, with all names by which its kind is found.
    pub fn spellings(&self) -> impl Iterator<Item = (&'static str, Vec<String>)> + '_ {
        self.names().map(|name| {
            let short = KindName::from(KindName::from(name).short());
            let found = self.find(&short).is_ok_and(|kind| kind.name() == name && short.as_str() != name);
            let spellings = std::iter::once(name.to_owned()).chain(found.then(|| short.to_string()));
            (name, spellings.collect())
        })
    }

    /// The dotted names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.kinds.keys().copied()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Completion;

    struct Named;
    impl Job for Named {
        const NAME: &'static str = "a.b.named";
        type Args = ();
        async fn run(&self, (): (), _: &JobContext) -> JobResult {
            Ok(Completion::done())
        }
    }

    struct Namesake;
    impl Job for Namesake {
        const NAME: &'static str = "a.b.named";
        type Args = ();
        async fn run(&self, (): (), _: &JobContext) -> JobResult {
            Ok(Completion::done())
        }
    }

    #[test]
    fn two_kinds_of_one_name_are_refused_naming_both() {
        let registry = Registry::default().with(Named);
        let error = registry.free_for::<Namesake>().unwrap_err().to_string();
        for word in ["`a.b.named`", "tests::Named ", "tests::Namesake;"] {
            assert!(error.contains(word), "{error}");
        }
        assert!(registry.apart_from(&Registry::default().with(Namesake)).is_err());
        assert_eq!(registry.apart_from(&Registry::default()), Ok(()));
    }

    #[test]
    fn a_kind_answers_to_its_dotted_name_and_its_last_part() {
        let registry = Registry::default().with(Named);
        assert!(registry.find(&"a.b.named".into()).is_ok());
        assert!(registry.find(&"named".into()).is_ok());
    }

    #[test]
    fn a_part_of_it_has_the_wanted_kinds_by_either_name_and_no_others() {
        let registry = Registry::default().with(Named);
        for (wanted, expected) in [("named", 1), ("a.b.named", 1), ("other", 0)] {
            assert_eq!(registry.only(&[wanted.into()]).names().count(), expected, "{wanted}");
        }
    }

    #[test]
    fn spellings_are_those_under_which_a_kind_is_found() {
        let registry = Registry::default().with(Named);
        let all: Vec<_> = registry.spellings().collect();
        assert_eq!(all, [("a.b.named", vec!["a.b.named".to_owned(), "named".to_owned()])]);
        assert!(all.iter().flat_map(|(_, all)| all).all(|one| registry.find(&one.as_str().into()).is_ok()));
    }

    #[test]
    fn another_module_with_the_same_last_part_is_not_this_kind() {
        let registry = Registry::default().with(Named);
        assert!(registry.find(&"other.named".into()).is_err());
    }

    #[test]
    fn an_unknown_function_is_told_what_is_registered() {
        let error = Registry::default().with(Named).find(&"nope".into()).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "unknown function `nope`; registered: a.b.named");
    }
}
