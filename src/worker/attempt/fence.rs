//! The fence of a thread of runners. It falls once and for good when the thread is given up; from then on
//! nothing that happens on the thread has any effect.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::job::ExecutionId;

/// The executions whose code blocked their thread; the others on it are not to blame.
pub type Blamed = BTreeSet<ExecutionId>;

/// The fence of one thread. Clones are the same fence.
#[derive(Clone, Debug)]
pub struct Fence(Arc<watch::Sender<Option<Arc<Blamed>>>>);

impl Default for Fence {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Fence {
    /// Gives up the thread, and passes the blamed executions to those who wait.
    pub fn fall(&self, blamed: Blamed) {
        self.0.send_if_modified(|fallen| {
            let first = fallen.is_none();
            fallen.get_or_insert_with(|| Arc::new(blamed));
            first
        });
    }

    /// Whether the thread was given up.
    #[must_use]
    pub fn has_fallen(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Completes when the thread is given up, with the blamed executions. Cancel safe.
    pub async fn fallen(&self) -> Arc<Blamed> {
        let mut fallen = self.0.subscribe();
        let blamed = fallen.wait_for(Option::is_some).await.ok().and_then(|blamed| blamed.clone());
        match blamed {
            Some(blamed) => blamed,
            None => std::future::pending().await,
        }
    }

    /// Whether both are the same fence.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn fence_falls_once_and_tells_the_first_blame_for_good() {
        let fence = Fence::default();
        assert!(!fence.has_fallen());
        fence.fall(["a".into()].into());
        fence.fall(["b".into()].into());
        assert!(fence.clone().has_fallen());
        assert_eq!(*fence.fallen().await, ["a".into()].into());
    }
}
