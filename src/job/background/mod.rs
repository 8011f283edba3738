//! A row of `background_jobs`: its statuses, the allowed changes, and its cursor.

mod cursor;
mod row;
mod status;

pub use cursor::{AttachmentsKept, Cursor, CursorError, Dated, FirstLook, LeftAlone};
pub use row::{BackgroundJob, DELETE_RECEIPTS_ALL, Note};
pub use status::{AtRuntimeLimit, Move, PauseReason, Status};
