//! The port for sessions that ended early, on any SQL engine.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::engine::{Connection as _, Engine, RowOf};
use crate::fault::Fault;
use crate::store::row::Cells as _;
use crate::store::{EndedSession, EndedSessions};

/// Stores a session; a repetition changes nothing.
const END: &str = "
    insert into tikkun_ended_sessions (mark, holds_until) values ($1, $2) on conflict (mark) do nothing";

/// Deletes expired sessions, which need no entry any more.
const DROP: &str = "delete from tikkun_ended_sessions where holds_until <= $1";

/// The sessions that would still be valid.
const LIST: &str = "
    select mark, holds_until from tikkun_ended_sessions where holds_until > $1
    order by holds_until desc limit $2";

/// Ended sessions in one database.
pub(super) struct SqlEndedSessions<E>(pub(super) Arc<E>);

#[async_trait]
impl<E: Engine> EndedSessions for SqlEndedSessions<E> {
    async fn end_session(&self, session: &EndedSession, now: DateTime<Utc>) -> Result<(), Fault> {
        let what = "note that a session has ended";
        let mut tx = self.0.writing(what).await?;
        tx.run(DROP, &[now.into()], what).await?;
        tx.run(END, &[session.mark.as_str().into(), session.until.into()], what).await?;
        E::commit(tx, what).await
    }

    async fn ended(&self, now: DateTime<Utc>, max: u32) -> Result<Vec<EndedSession>, Fault> {
        let found =
            self.0.read_rows(LIST, &[now.into(), max.into()], "list sessions that have ended").await?;
        let session = |row: &RowOf<E>| {
            // An unreadable time counts as the latest possible one, so that the session stays ended.
            let until = row.time("holds_until").ok().flatten().unwrap_or(DateTime::<Utc>::MAX_UTC);
            Ok(EndedSession { mark: row.text("mark")?.unwrap_or_default(), until })
        };
        found.iter().map(session).collect()
    }
}
