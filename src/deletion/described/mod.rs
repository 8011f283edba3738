//! Deletions of any table that the configuration describes: the job, its pace, and which descriptions can be used.
//!
//! The job [`DeleteDescribed`] runs batch after batch, as the deletion of receipts does, over the same outbox. Its state is
//! a row of `tikkun_deletions`.

mod committed;
mod delete_described;
mod descriptions;
mod endings;
mod run;
mod team;

pub use delete_described::{DeleteDescribed, DeleteDescribedArgs, TenantArg};
pub use descriptions::Descriptions;
pub use team::DescribedTeam;
