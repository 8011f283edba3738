//! The port onto sessions that ended before their time, on Sqlite.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::connection::Database;
use super::fault::During;
use super::moment;
use crate::fault::Fault;
use crate::store::{EndedSession, EndedSessions};

/// Keeps one; a session that ended twice has ended.
const END: &str = "
    insert into tikkun_ended_sessions (mark, holds_until) values (?1, ?2) on conflict (mark) do nothing";

/// Those whose time has passed open nothing by themselves.
const DROP: &str = "delete from tikkun_ended_sessions where holds_until <= ?1";

/// Those that would still hold.
const LIST: &str = "
    select mark, holds_until from tikkun_ended_sessions where holds_until > ?1
    order by holds_until desc limit ?2";

/// Ended sessions in one database.
pub(super) struct SqliteEndedSessions {
    database: Arc<Database>,
}

impl SqliteEndedSessions {
    /// On open connections.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl EndedSessions for SqliteEndedSessions {
    async fn end_session(&self, session: &EndedSession, now: DateTime<Utc>) -> Result<(), Fault> {
        let what = "note that a session has ended";
        let mut tx = self.database.write(what).await?;
        sqlx::query(DROP).bind(moment::to_text(now)).execute(&mut *tx).await.during(what)?;
        sqlx::query(END)
            .bind(&session.mark)
            .bind(moment::to_text(session.until))
            .execute(&mut *tx)
            .await
            .during(what)?;
        tx.commit().await.during(what)
    }

    async fn ended(&self, now: DateTime<Utc>, max: u32) -> Result<Vec<EndedSession>, Fault> {
        let what = "list sessions that have ended";
        let found: Vec<(String, String)> = sqlx::query_as(LIST)
            .bind(moment::to_text(now))
            .bind(max)
            .fetch_all(self.database.read())
            .await
            .during(what)?;
        // A time that is none ends its session for as long as any can hold.
        let until = |text: &str| moment::parse(text).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok(found.into_iter().map(|(mark, text)| EndedSession { until: until(&text), mark }).collect())
    }
}
