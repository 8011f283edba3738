//! The board: the state of the service, read once for all viewers, and only while there are any.
//!
//! [`BoardReader`] reads from the ports, [`Board`] keeps one text per section, built once and sent to every
//! viewer that does not have it. A slow viewer skips old texts.

mod cache;
mod eta;
mod history;
mod keeper;
mod reader;
mod running;
mod shapes;

pub(super) use eta::{DeletionRow, deletion_row};
pub use keeper::Board;
pub(super) use keeper::Posted;
pub use reader::{BoardReader, Identity};
pub(super) use shapes::{Snapshot, SupervisionTree};
