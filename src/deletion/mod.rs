//! Deletions: that of a tenant's receipts, with its job, its batches, its pace and the clean-up of objects; and
//! [`described`], those of any table.
//!
//! The job [`DeleteReceipts`] asks [`DeletionBatch`] for one batch after the other. A batch is committed
//! together with the cursor, and its objects are deleted while the next batch runs.

mod batch_ports;
mod batch_size;
mod clean_up;
mod clean_up_lane;
mod delete_receipts;
mod deletion_batch;
pub mod described;
mod endings;
mod outcome;
mod pace;
mod run;
mod store_line;
mod tracker_line;

pub use batch_ports::{BatchDone, BatchPorts, CleanUpMode};
pub use clean_up::{CleanUpLimits, CleanedUp, delete_objects};
pub use delete_receipts::{DeleteReceipts, DeleteReceiptsArgs, DeletionTeam};
pub use deletion_batch::{DeletionBatch, FinishCleanUp, RunBatch};
