//! Imports modules ahead of jobs in rounds: at the boot, and whenever jobs have imported others.

use std::collections::{BTreeMap, HashSet};
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use super::answers::Preloaded;
use super::hazards::Hazards;
use super::imported::Imported;
use super::trial::try_out;
use crate::fault::Fault;
use crate::python::booting::boot_error::BootError;
use crate::python::zygote::Zygote;

/// Time from the first module that a job has imported until those of that time are imported ahead. It doubles with
/// each round, up to the longest.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(600);

/// How long the import of one module may take.
const EACH: Duration = Duration::from_secs(60);

/// How many trials a round may take: all but the last find a module that is left out.
const TRIALS: usize = 16;

/// Which modules are imported ahead of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreloadPlan {
    /// None.
    Off,
    /// Those that jobs have imported.
    Learned,
    /// These.
    Listed(Vec<String>),
}

/// The modules that are imported ahead. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Preload(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plan: PreloadPlan,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Imported in the zygote by their names.
    modules: Vec<String>,
    /// Not to be imported there, with the reason.
    left_out: BTreeMap<String, String>,
    /// Imported in the zygote, by their names or along with others.
    there: HashSet<String>,
    rounds: u32,
    /// When the next round begins.
    due: Option<Instant>,
}

/// What is imported ahead, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreloadSnapshot {
    /// `learned`, `list` or `off`.
    pub mode: &'static str,
    /// The modules that are imported ahead; others came along with them.
    pub modules: Vec<String>,
    /// The modules that are not, with the reason.
    pub left_out: BTreeMap<String, String>,
}

/// What came of one round of imports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreloadRound {
    /// The modules that are there since.
    pub loaded: Vec<String>,
    /// The modules that were left out, with the reason.
    pub left_out: BTreeMap<String, String>,
    /// What the zygote has since then that its children get only a part of.
    pub hazards: Hazards,
    /// The zygote should make room for another, in which these modules are left out.
    pub is_spoiled: bool,
}

impl Preload {
    /// Nothing is imported yet.
    #[must_use]
    pub fn new(plan: PreloadPlan) -> Self {
        Self(Arc::new(Inner { plan, state: Mutex::default() }))
    }

    /// Imports in a zygote that has just booted what is known: the list, or what was learned with earlier ones.
    ///
    /// # Errors
    /// The zygote ended while it imported the list, or has not done so within `deadline`.
    pub async fn begin(&self, zygote: &Zygote, deadline: Duration) -> Result<PreloadRound, BootError> {
        match &self.0.plan {
            PreloadPlan::Off => Ok(PreloadRound::default()),
            PreloadPlan::Listed(modules) => self.load_list(zygote, modules, deadline).await,
            PreloadPlan::Learned => {
                let known = {
                    let mut state = self.0.state.lock();
                    (state.there, state.due) = (HashSet::new(), None);
                    take(&mut state.modules)
                };
                // What is not learned now will be, from its jobs.
                Ok(if known.is_empty() { None } else { self.load(zygote, known).await.ok() }
                    .unwrap_or_default())
            }
        }
    }

    async fn load_list(
        &self,
        zygote: &Zygote,
        modules: &[String],
        deadline: Duration,
    ) -> Result<PreloadRound, BootError> {
        match timeout(deadline, zygote.preload(modules.to_vec())).await {
            Ok(Ok(Preloaded { failed, hazards, .. })) => {
                let is_there = |module: &&String| !failed.contains_key(*module);
                let loaded: Vec<_> = modules.iter().filter(is_there).cloned().collect();
                let mut state = self.0.state.lock();
                (state.modules, state.left_out) = (loaded.clone(), failed.clone());
                Ok(PreloadRound { loaded, left_out: failed, hazards, is_spoiled: false })
            }
            Ok(Err(_)) => {
                let end = zygote.gone().await;
                let last_line = end.last_line.map(|line| format!(": {line}")).unwrap_or_default();
                Err(BootError::Preloading { why: format!("they end the process ({}){last_line}", end.words) })
            }
            Err(_) => {
                let within = humantime::format_duration(deadline);
                Err(BootError::Preloading { why: format!("they take longer than {within}") })
            }
        }
    }

    /// Waits until there is something to learn and its time has come. Cancel safe.
    pub async fn is_due(&self, zygote: &Zygote) {
        if self.0.plan != PreloadPlan::Learned {
            return std::future::pending().await;
        }
        let mut imported = zygote.imported();
        let is_new = |imported: &Imported| !self.0.state.lock().new_of(imported).is_empty();
        if imported.wait_for(is_new).await.is_err() {
            return std::future::pending().await;
        }
        let due = self.0.state.lock().due();
        sleep_until(due).await;
    }

    /// Imports what jobs have imported until now, as far as that does no harm.
    ///
    /// # Errors
    /// The zygote is gone, or cannot fork now.
    pub async fn learn(&self, zygote: &Zygote) -> Result<PreloadRound, Fault> {
        let modules = {
            let mut state = self.0.state.lock();
            (state.rounds, state.due) = (state.rounds.saturating_add(1), None);
            state.new_of(&zygote.imported().borrow())
        };
        self.load(zygote, modules).await
    }

    async fn load(&self, zygote: &Zygote, mut modules: Vec<String>) -> Result<PreloadRound, Fault> {
        let mut round = PreloadRound::default();
        let mut is_whole = false;
        for _ in 0..TRIALS {
            let trial = try_out(zygote, &modules, EACH).await?;
            modules.retain(|module| !trial.left_out.contains_key(module));
            round.left_out.extend(trial.left_out);
            is_whole = trial.is_whole || modules.is_empty();
            if is_whole {
                break;
            }
        }
        if !is_whole {
            // The next round goes on with them.
            modules.clear();
        }
        let told = match timeout(EACH, zygote.preload(modules.clone())).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => round.spoil(&modules, "the process that forks ended while it imported modules"),
            Err(_) => round.spoil(&modules, "the process that forks took too long to import modules"),
        };
        if !told.hazards.is_empty() {
            let brought = told.hazards.names().join(", ");
            round.spoil(&told.loaded, &format!("the process that forks had {brought} after it was imported"));
        }
        round.left_out.extend(told.failed);
        round.hazards = told.hazards;
        let mut state = self.0.state.lock();
        state.left_out.extend(round.left_out.clone());
        if !round.is_spoiled {
            round.loaded = told.loaded;
            state.modules.extend(round.loaded.iter().cloned());
            state.there.extend(modules);
        }
        Ok(round)
    }

    /// Gives modules that were left out another chance with the next zygote: the application may have changed.
    pub fn forgive(&self) {
        self.0.state.lock().left_out.clear();
    }

    /// What is imported ahead now.
    #[must_use]
    pub fn snapshot(&self) -> PreloadSnapshot {
        let state = self.0.state.lock();
        let mode = match self.0.plan {
            PreloadPlan::Off => "off",
            PreloadPlan::Learned => "learned",
            PreloadPlan::Listed(_) => "list",
        };
        PreloadSnapshot { mode, modules: state.modules.clone(), left_out: state.left_out.clone() }
    }
}

impl State {
    /// Those of which it is not known yet whether they can be imported ahead.
    fn new_of(&self, imported: &Imported) -> Vec<String> {
        let is_new = |name: &&String| !self.there.contains(*name) && !self.left_out.contains_key(*name);
        imported.names().iter().filter(is_new).cloned().collect()
    }

    /// When the next round begins: it is set by who asks first.
    fn due(&mut self) -> Instant {
        let distance = FIRST.saturating_mul(1 << self.rounds.min(16)).min(LONGEST);
        *self.due.get_or_insert_with(|| Instant::now() + distance)
    }
}

impl PreloadRound {
    /// Leaves these modules out, which the zygote has imported already, or at which it is. Nothing was loaded.
    fn spoil(&mut self, modules: &[String], why: &str) -> Preloaded {
        self.left_out.extend(modules.iter().map(|module| (module.clone(), why.to_owned())));
        self.is_spoiled = true;
        Preloaded::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::messages::Mode;
    use crate::python::ran::Ran;
    use crate::python::stand_in::{Kept, LONG, boot_with, job};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// A zygote whose jobs have imported these.
    async fn told_of(names: &[&str]) -> Zygote {
        let (zygote, _) = boot_with(&[]).await;
        tell(&zygote, names).await;
        zygote
    }

    /// Runs a job that imports these.
    async fn tell(zygote: &Zygote, names: &[&str]) {
        let mut child = zygote.fork(Mode::Job, LONG).await.unwrap();
        let code = format!("say(53, *{names:?})");
        let ran = child.run(&job(&code), Arc::new(Kept::default()), &mut |_| {}).await;
        assert!(matches!(ran, Ran::Answered(_)), "{ran:?}");
    }

    #[tokio::test]
    async fn what_jobs_imported_is_imported_once_and_by_later_zygotes() {
        let zygote = told_of(&["colorsys", "wave"]).await;
        let preload = Preload::new(PreloadPlan::Learned);
        assert_eq!(preload.begin(&zygote, LONG).await.unwrap(), PreloadRound::default());
        preload.is_due(&zygote).await;
        assert_eq!(preload.learn(&zygote).await.unwrap().loaded, ["colorsys", "wave"]);
        assert_eq!(preload.snapshot().modules, ["colorsys", "wave"]);
        tell(&zygote, &["wave", "tabnanny"]).await;
        assert_eq!(preload.learn(&zygote).await.unwrap().loaded, ["tabnanny"]);
        let (next, _) = boot_with(&[]).await;
        assert_eq!(preload.begin(&next, LONG).await.unwrap().loaded, ["colorsys", "wave", "tabnanny"]);
        assert_eq!(preload.snapshot().modules, ["colorsys", "wave", "tabnanny"]);
    }

    #[tokio::test]
    async fn what_does_harm_is_left_out_with_its_reason_and_all_else_is_imported() {
        let zygote =
            told_of(&["threads_a", "colorsys", "crashes", "no_such_module", "threads_b", "wave"]).await;
        let preload = Preload::new(PreloadPlan::Learned);
        let round = preload.learn(&zygote).await.unwrap();
        assert_eq!(round.loaded, ["colorsys", "wave"]);
        assert!(!round.is_spoiled);
        let left_out = preload.snapshot().left_out;
        assert_eq!(left_out["threads_a"], "it starts threads");
        assert_eq!(left_out["threads_b"], "it starts threads");
        assert_eq!(left_out["no_such_module"], "No module named 'no_such_module'");
        assert!(left_out["crashes"].contains("SIGSEGV"), "{left_out:?}");
        assert_eq!(preload.learn(&zygote).await.unwrap().left_out, BTreeMap::new());
        preload.forgive();
        assert_eq!(preload.learn(&zygote).await.unwrap().left_out, left_out);
    }

    #[tokio::test]
    async fn rounds_that_find_too_much_go_on_in_the_next() {
        let names: Vec<String> = (0..=TRIALS).map(|n| format!("threads_{n}")).collect();
        let zygote = told_of(&names.iter().map(String::as_str).chain(["wave"]).collect::<Vec<_>>()).await;
        let preload = Preload::new(PreloadPlan::Learned);
        let round = preload.learn(&zygote).await.unwrap();
        assert_eq!((round.left_out.len(), round.loaded.len()), (TRIALS, 0));
        let round = preload.learn(&zygote).await.unwrap();
        assert_eq!((round.left_out.len(), round.loaded), (1, words(&["wave"])));
    }

    #[tokio::test]
    async fn harm_that_no_trial_has_shown_spoils_the_zygote_once() {
        for (module, why) in [("spoils", "had late after"), ("deadly", "ended while")] {
            let zygote = told_of(&[module, "wave"]).await;
            let preload = Preload::new(PreloadPlan::Learned);
            let round = preload.learn(&zygote).await.unwrap();
            assert!(round.is_spoiled && round.left_out[module].contains(why), "{round:?}");
            assert_eq!(preload.snapshot().modules, words(&[]));
            let (next, _) = boot_with(&[]).await;
            assert_eq!(preload.begin(&next, LONG).await.unwrap(), PreloadRound::default());
            tell(&next, &[module, "colorsys"]).await;
            assert_eq!(preload.learn(&next).await.unwrap().loaded, ["colorsys"]);
        }
    }

    #[tokio::test]
    async fn list_is_imported_at_the_boot_and_what_fails_is_told() {
        let (zygote, _) = boot_with(&[]).await;
        let preload = Preload::new(PreloadPlan::Listed(words(&["json", "wave", "no_such_module"])));
        let round = preload.begin(&zygote, LONG).await.unwrap();
        assert_eq!(round.loaded, ["json", "wave"]);
        assert_eq!(round.left_out["no_such_module"], "No module named 'no_such_module'");
        assert_eq!((preload.snapshot().mode, preload.snapshot().modules), ("list", round.loaded));
        let deadly = Preload::new(PreloadPlan::Listed(words(&["deadly"])));
        let error = deadly.begin(&zygote, LONG).await.unwrap_err().to_string();
        assert!(error.contains("left with exit code 9"), "{error}");
    }

    #[tokio::test]
    async fn off_learns_nothing() {
        let zygote = told_of(&["wave"]).await;
        let preload = Preload::new(PreloadPlan::Off);
        assert_eq!(preload.begin(&zygote, LONG).await.unwrap(), PreloadRound::default());
        let due = futures::FutureExt::now_or_never(preload.is_due(&zygote));
        assert_eq!((due, preload.snapshot().mode), (None, "off"));
    }

    #[test]
    fn distance_of_rounds_grows_to_its_end() {
        let mut state = State::default();
        let mut distance = |rounds| {
            (state.rounds, state.due) = (rounds, None);
            let now = Instant::now();
            (state.due() - now).as_secs()
        };
        assert_eq!([distance(0), distance(3), distance(40)], [2, 16, 600]);
    }
}
