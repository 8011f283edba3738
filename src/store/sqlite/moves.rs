//! The one statement that changes a status.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;

use super::fault::During;
use super::moment;
use crate::fault::Fault;
use crate::job::BackgroundJobId;
use crate::job::background::{Move, Status};

/// Changes a row only from the status that was decided upon; `started_at` keeps its first value.
const MOVE: &str = "
    update background_jobs
    set status = ?3, last_error = coalesce(?4, last_error), finished_at = ?5,
        started_at = coalesce(started_at, ?6), heartbeat_at = coalesce(?7, heartbeat_at), updated_at = ?8
    where id = ?1 and status = ?2";

/// A change of one row.
pub(super) struct RowMove<'a> {
    /// The row.
    pub(super) id: BackgroundJobId,
    /// The change.
    pub(super) step: Move,
    /// Where the row must stand.
    pub(super) from: Status,
    /// Goes into `last_error`; none leaves it.
    pub(super) error: Option<&'a str>,
    /// When.
    pub(super) now: DateTime<Utc>,
}

impl RowMove<'_> {
    /// Makes the move; false: the row stands elsewhere.
    pub(super) async fn make(&self, connection: &mut SqliteConnection) -> Result<bool, Fault> {
        let (now, to) = (moment::to_text(self.now), self.step.to());
        let what = format!("move background job {} from {} to {to}", self.id, self.from);
        let done = sqlx::query(MOVE)
            .bind(self.id.0)
            .bind(self.from.as_str())
            .bind(to.as_str())
            .bind(self.error)
            .bind((!to.is_active()).then_some(&now))
            .bind((self.step == Move::Start).then_some(&now))
            .bind(self.shows_life().then_some(&now))
            .bind(&now)
            .execute(connection)
            .await
            .during(&what)?;
        Ok(done.rows_affected() == 1)
    }

    /// A resumed row gets a fresh heartbeat, lest the web application's stale rule fail it while it waits.
    fn shows_life(&self) -> bool {
        matches!(self.step, Move::Start | Move::Continue | Move::Complete | Move::Revive | Move::Resume)
    }
}
