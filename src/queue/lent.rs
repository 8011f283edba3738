//! Fetched jobs on their way to the caller. If the caller is dropped before it receives them, they go back to
//! the head of their queue by themselves; otherwise nobody would run them while the process lives.

use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::delivery::{Delivery, Settlement};
use crate::fault::Fault;

/// Settles deliveries that nobody has received.
type GiveBack = Box<dyn FnOnce(Vec<Settlement>) -> BoxFuture<'static, Result<(), Fault>> + Send>;

/// Deliveries that are not received yet. If dropped, they go back to their queue.
pub(super) struct Lent {
    pub(super) deliveries: Vec<Delivery>,
    give_back: Option<GiveBack>,
}

impl Lent {
    pub(super) fn new<F>(
        deliveries: Vec<Delivery>,
        give_back: impl FnOnce(Vec<Settlement>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        Self { deliveries, give_back: Some(Box::new(|settlements| Box::pin(give_back(settlements)))) }
    }

    /// The caller has received them.
    pub(super) fn received(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // In reverse order, so that the first is at the head again.
        let returned: Vec<_> = self.deliveries.iter().rev().map(Settlement::given_back).collect();
        let (Ok(runtime), Some(give_back), false) =
            (Handle::try_current(), self.give_back.take(), returned.is_empty())
        else {
            return;
        };
        runtime.spawn(async move {
            let jobs = returned.len();
            if let Err(fault) = give_back(returned).await {
                tracing::warn!(
                    error = fault.chain(),
                    jobs,
                    "jobs were fetched for nobody and could not go back yet"
                );
            }
        });
    }
}
