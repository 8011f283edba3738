//! Which processes are there to run jobs.

use crate::fault::Fault;
use crate::queue::{Broker, ProcessRecord};

/// The processes with a valid lease, and those of this host that live and cannot renew theirs: these listen, too, and
/// go on as soon as they can write again.
pub async fn present(broker: &dyn Broker) -> Result<Vec<ProcessRecord>, Fault> {
    let (mut present, overdue) = futures::try_join!(broker.processes(), broker.overdue())?;
    for late in overdue {
        // It may have renewed its lease in between.
        if late.lives && present.iter().all(|one| one.id != late.process.id) {
            present.push(late.process);
        }
    }
    Ok(present)
}
