//! Jobs go out. A caller may stop listening while the answer is on its way: what it was lent then goes back
//! to the head of its queue by itself.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::server::Server;
use crate::job::QueueEnd;
use crate::queue::delivery::{Delivery, Settlement, Verdict};

/// Deliveries nobody has received yet.
pub(super) struct Lent {
    deliveries: Vec<Delivery>,
    server: Arc<Server>,
}

impl Lent {
    pub(super) fn new(deliveries: Vec<Delivery>, server: Arc<Server>) -> Self {
        Self { deliveries, server }
    }

    /// They are in the caller's hands.
    pub(super) fn received(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (deliveries, server) = (std::mem::take(&mut self.deliveries), Arc::clone(&self.server));
        let Some(runtime) = Handle::try_current().ok().filter(|_| !deliveries.is_empty()) else { return };
        // The last goes first: then the first is at the head again.
        let returned: Vec<_> = deliveries.into_iter().rev().map(give_back).collect();
        runtime.spawn(async move {
            if let Err(fault) = server.settle(&returned).await {
                tracing::warn!(
                    error = fault.chain(),
                    jobs = returned.len(),
                    "jobs were fetched for nobody and could not go back yet"
                );
            }
        });
    }
}

fn give_back(delivery: Delivery) -> Settlement {
    Settlement {
        job: delivery.job.id,
        queue: delivery.job.queue,
        execution: delivery.execution,
        verdict: Verdict::GiveBack { end: QueueEnd::Head },
        remark: None,
    }
}
