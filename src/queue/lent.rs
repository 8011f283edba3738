//! Jobs go out. A caller may stop listening while the answer is on its way: what it was lent would be nobody's while the
//! process lives, so it goes back to the head of its queue by itself.

use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::delivery::{Delivery, Settlement};
use crate::fault::Fault;

/// Settles what nobody has received.
type GiveBack = Box<dyn FnOnce(Vec<Settlement>) -> BoxFuture<'static, Result<(), Fault>> + Send>;

/// Deliveries nobody has received yet. Dropped: they go back.
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

    /// They are in the caller's hands.
    pub(super) fn received(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // The last goes first: then the first is at the head again.
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
