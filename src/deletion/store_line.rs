//! A deletion's own calls to the database, each within a time limit: where a gateway has forgotten the connection, nobody
//! ever says that no answer will come.

use std::sync::Arc;
use std::time::Duration;

use crate::deadline::answer_in;
use crate::fault::Fault;
use crate::job::BackgroundJobId;
use crate::job::background::BackgroundJob;
use crate::store::{BackgroundJobs, Receipts, SetAside};

/// Calls the database.
pub(super) struct StoreLine {
    pub(super) jobs: Arc<dyn BackgroundJobs>,
    pub(super) receipts: Arc<dyn Receipts>,
    /// The time limit of each call.
    pub(super) deadline: Duration,
}

impl StoreLine {
    pub(super) async fn row(&self, id: BackgroundJobId) -> Result<Option<BackgroundJob>, Fault> {
        answer_in(self.deadline, "read the row of a deletion", self.jobs.get(id)).await
    }

    /// The first receipt that was set aside.
    pub(super) async fn set_aside(&self, id: BackgroundJobId) -> Result<Option<SetAside>, Fault> {
        let first = answer_in(self.deadline, "read what was set aside", self.receipts.set_aside(id, 1));
        Ok(first.await?.into_iter().next())
    }

    /// Whether there may be receipts that the database does not show.
    pub(super) async fn may_be_hidden(&self) -> Result<bool, Fault> {
        answer_in(self.deadline, "look whether rows are hidden", self.receipts.may_be_hidden()).await
    }

    /// Tries whether the database takes any write.
    pub(super) async fn takes_writes(&self) -> Result<(), Fault> {
        answer_in(self.deadline, "try to write", self.jobs.check()).await
    }
}
