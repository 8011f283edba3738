//! The board: the state of everything, read once for all who look, and only while somebody looks.
//!
//! [`BoardReader`] asks the ports, [`Board`] keeps what was read: one text for each section, made once, sent
//! to every viewer who has not seen it. A slow viewer gets the newest text and never a queue of old ones.

mod cache;
mod eta;
mod history;
mod keeper;
mod reader;
mod shapes;

pub(super) use eta::{DeletionRow, deletion_row};
pub use keeper::Board;
pub(super) use keeper::Posted;
pub use reader::{BoardReader, Identity};
pub(super) use shapes::{Snapshot, SupervisionTree};
