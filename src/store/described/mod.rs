//! Deletions of any table, as descriptions of the configuration have them: the values, the check against the live
//! schema, and the SQL that differs between databases. Nothing here asks a database.

mod check;
mod check_keys;
mod check_objects;
pub(super) mod dialect;
pub(super) mod expression;
mod fitted;
mod known;
pub(super) mod live;
mod port;
pub(super) mod trials;

pub(super) use check::examine;
pub use fitted::FittedDeletion;
pub(super) use fitted::{FittedColumn, FittedPointer, FittedRows, Neighbours};
pub(super) use known::Known;
pub use port::{
    BeginDescribed, BegunDescribed, CoveredRows, DescribedBatch, DescribedDeletions, DescribedOrder,
    DescribedOutcome, DescribedRow, EndDescribed, ExaminedDeletion,
};
