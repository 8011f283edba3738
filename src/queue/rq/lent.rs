//! Jobs go out. A caller may stop listening while the answer is on its way: what it was lent then goes back
//! to the head of its queue by itself.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::memory::Memory;
use crate::job::QueueEnd;
use crate::queue::delivery::{Delivery, Disposition, Settlement};

/// Deliveries nobody has received yet.
pub(super) struct Lent {
    deliveries: Vec<Delivery>,
    memory: Arc<Memory>,
}

impl Lent {
    pub(super) fn new(deliveries: Vec<Delivery>, memory: Arc<Memory>) -> Self {
        Self { deliveries, memory }
    }

    /// They are in the caller's hands.
    pub(super) fn received(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (deliveries, memory) = (std::mem::take(&mut self.deliveries), Arc::clone(&self.memory));
        let Some(runtime) = Handle::try_current().ok().filter(|_| !deliveries.is_empty()) else { return };
        // The last goes first: then the first is at the head again.
        let returned: Vec<_> = deliveries.into_iter().rev().map(give_back).collect();
        runtime.spawn(async move {
            if let Err(fault) = memory.settle(&returned).await {
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
        verdict: Disposition::Release { end: QueueEnd::Head },
        remark: None,
    }
}
