//! The descriptions of the configuration, and which of them cannot be used.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::deadline::answer_in;
use crate::fault::Fault;
use crate::job::DescribedDeletion;
use crate::store::{DescribedDeletions, ExaminedDeletion, FittedDeletion};

/// All descriptions of a process.
pub struct Descriptions {
    all: Vec<DescribedDeletion>,
    port: Arc<dyn DescribedDeletions>,
    deadline: Duration,
    /// Those that could not be used when they were last examined, with the reasons.
    unusable: Mutex<BTreeMap<String, String>>,
}

impl Descriptions {
    /// The descriptions; each look at the tables may take as long as `deadline`.
    #[must_use]
    pub fn new(all: Vec<DescribedDeletion>, port: Arc<dyn DescribedDeletions>, deadline: Duration) -> Self {
        Self { all, port, deadline, unusable: Mutex::default() }
    }

    /// Those that could not be used when they were last examined, with the reasons.
    #[must_use]
    pub fn unusable(&self) -> BTreeMap<String, String> {
        self.unusable.lock().clone()
    }

    /// Compares all descriptions with the tables as they are now.
    ///
    /// # Errors
    /// Only if the database cannot be asked.
    pub async fn examine(&self) -> Result<Vec<ExaminedDeletion>, Fault> {
        if self.all.is_empty() {
            return Ok(Vec::new());
        }
        let asked = self.port.examine(&self.all);
        let examined =
            answer_in(self.deadline, "look at the tables of the described deletions", asked).await?;
        let unusable = examined.iter().filter(|one| one.fitted.is_none());
        let unusable = unusable.map(|one| (one.name.clone(), one.errors.join("; "))).collect();
        *self.unusable.lock() = unusable;
        Ok(examined)
    }

    /// The same at the start: logs what is wrong and what could be better.
    ///
    /// # Errors
    /// If one cannot be used and all have to be usable (`strict`).
    pub async fn examine_at_start(&self, strict: bool) -> Result<(), String> {
        let examined = match self.examine().await {
            Ok(examined) => examined,
            Err(fault) if strict && !fault.is_retryable() => return Err(fault.chain()),
            Err(fault) => {
                tracing::warn!(error = fault.chain(), "the described deletions cannot be examined now");
                return Ok(());
            }
        };
        for one in &examined {
            if one.fitted.is_none() && !strict {
                tracing::error!(
                    deletion = one.name,
                    "a described deletion cannot be used: {}",
                    one.errors.join("; ")
                );
            }
            for finding in &one.findings {
                tracing::warn!(deletion = one.name, "{finding}");
            }
        }
        let wrong: Vec<_> = examined.iter().flat_map(|one| one.errors.iter().map(String::as_str)).collect();
        if strict && !wrong.is_empty() { Err(wrong.join("; ")) } else { Ok(()) }
    }

    /// The deletion of this name, if it fits the tables as they are now; the inner error says why it does not.
    pub(super) async fn fitted(&self, name: &str) -> Result<Result<Arc<FittedDeletion>, String>, Fault> {
        if !self.all.iter().any(|one| one.name == name) {
            let names: Vec<_> = self.all.iter().map(|one| format!("`{}`", one.name)).collect();
            let there =
                if names.is_empty() { "has none".to_owned() } else { format!("has {}", names.join(", ")) };
            return Ok(Err(format!("there is no deletion `{name}`: the configuration {there}")));
        }
        let examined = self.examine().await?.into_iter().find(|one| one.name == name);
        let fitted = examined.map(|one| one.fitted.ok_or_else(|| one.errors.join("; ")));
        let fitted = fitted.unwrap_or_else(|| Err("it was not examined".to_owned()));
        Ok(fitted.map_err(|why| format!("the deletion `{name}` cannot be used: {why}")))
    }
}
