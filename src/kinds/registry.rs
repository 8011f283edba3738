//! The registry of Tikkun's own kinds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::diagnostics;
use crate::deletion::DeleteReceipts;
use crate::deletion::described::DeleteDescribed;
use crate::job::{Job, KindClash, KindName, Registry};

/// A kind of Tikkun's other than the trial jobs: what is known of it before a process has made what it works with.
struct OwnKind {
    name: &'static str,
    free_in: fn(&Registry) -> Result<(), KindClash>,
    add: fn(Registry, &OwnJobs) -> Registry,
}

/// The kinds that a process has made.
struct OwnJobs {
    receipts: Arc<DeleteReceipts>,
    described: Arc<DeleteDescribed>,
}

impl OwnKind {
    const fn of<J: Job>(add: fn(Registry, &OwnJobs) -> Registry) -> Self {
        Self { name: J::NAME, free_in: Registry::free_for::<J>, add }
    }
}

/// All of them. Trial jobs stand in `diagnostics::register`.
const OWN_KINDS: &[OwnKind] = &[
    OwnKind::of::<DeleteReceipts>(|registry, made| registry.with_boxed(made.receipts.clone())),
    OwnKind::of::<DeleteDescribed>(|registry, made| registry.with_boxed(made.described.clone())),
];

/// All kinds of jobs of a process: its `own` ones and those of Tikkun, of which the test jobs only with
/// `diagnostics`.
#[must_use]
pub fn registry(
    own: Registry,
    (receipts, described): (DeleteReceipts, DeleteDescribed),
    diagnostics: bool,
) -> Registry {
    let made = OwnJobs { receipts: Arc::new(receipts), described: Arc::new(described) };
    let registry = OWN_KINDS.iter().fold(own, |registry, kind| (kind.add)(registry, &made));
    if diagnostics { diagnostics::register(registry) } else { registry }
}

/// Checks that a process's own kinds do not use Tikkun's names, even those of disabled test jobs.
///
/// # Errors
/// The first name that is Tikkun's.
pub fn check_own(own: &Registry) -> Result<(), KindClash> {
    diagnostics::register(Registry::default()).apart_from(own)?;
    OWN_KINDS.iter().try_for_each(|kind| (kind.free_in)(own))
}

/// The names of Tikkun's kinds, trial jobs only with `diagnostics`.
#[must_use]
pub fn names(diagnostics: bool) -> BTreeSet<&'static str> {
    let trials = diagnostics.then(|| diagnostics::register(Registry::default()));
    let names = OWN_KINDS.iter().map(|kind| kind.name);
    names.chain(trials.iter().flat_map(Registry::names)).collect()
}

/// Whether this build has registered a function, by its full name or its last part.
#[must_use]
pub fn is_registered(function: &KindName, diagnostics: bool) -> bool {
    names(diagnostics).into_iter().any(|name| is_called(name, function.as_str()))
}

/// Whether a function, by its full name or its last part, is the deletion of receipts.
#[must_use]
pub fn is_deletion(function: &str) -> bool {
    is_called(DeleteReceipts::NAME, function)
}

fn is_called(name: &str, function: &str) -> bool {
    function == name || name.rsplit('.').next() == Some(function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Completion, JobContext, JobResult};

    /// Called like the deletion.
    struct Namesake;

    impl Job for Namesake {
        const NAME: &'static str = DeleteReceipts::NAME;
        type Args = ();

        async fn run(&self, (): (), _: &JobContext) -> JobResult {
            Ok(Completion::done())
        }
    }

    #[test]
    fn name_of_a_kind_of_ours_is_refused_to_others() {
        let error = check_own(&Registry::default().with(Namesake)).unwrap_err().to_string();
        assert!(error.contains("Namesake") && error.contains("DeleteReceipts;"), "{error}");
    }

    #[test]
    fn no_two_of_them_are_called_by_the_same_last_part() {
        let all = names(true);
        let last_parts: BTreeSet<_> = all.iter().map(|name| name.rsplit('.').next()).collect();
        assert_eq!(last_parts.len(), all.len(), "{all:?}");
    }

    #[test]
    fn each_of_them_is_known_by_its_name_and_its_last_part_and_trials_only_where_they_are_on() {
        for name in names(true) {
            let spellings = [name, name.rsplit('.').next().unwrap()].map(KindName::from);
            let is_trial = name.starts_with("tikkun.") && name != DeleteDescribed::NAME;
            assert!(spellings.iter().all(|one| is_registered(one, true)), "{name}");
            assert!(spellings.iter().all(|one| is_registered(one, false) != is_trial), "{name}");
        }
        assert!(!is_registered(&"other.noop".into(), true));
    }
}
