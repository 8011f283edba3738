//! The port onto sessions that ended before their time, on Postgres.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};

use super::connection::Database;
use super::fault::During;
use super::statement::{query, tuples};
use crate::fault::Fault;
use crate::store::{EndedSession, EndedSessions};

/// Keeps one; a session that ended twice has ended.
const END: &str = "
    insert into tikkun_ended_sessions (mark, holds_until) values ($1, $2) on conflict (mark) do nothing";

/// Those whose time has passed open nothing by themselves.
const DROP: &str = "delete from tikkun_ended_sessions where holds_until <= $1";

/// Those that would still hold.
const LIST: &str = "
    select mark, holds_until from tikkun_ended_sessions where holds_until > $1
    order by holds_until desc limit $2";

/// Ended sessions in one database.
pub(super) struct PostgresEndedSessions {
    database: Arc<Database>,
}

impl PostgresEndedSessions {
    /// On open connections.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl EndedSessions for PostgresEndedSessions {
    async fn end_session(&self, session: &EndedSession, now: DateTime<Utc>) -> Result<(), Fault> {
        let what = "note that a session has ended";
        let mut tx = self.database.write(what).await?;
        query(DROP).bind(now.naive_utc()).execute(&mut *tx).await.during(what)?;
        query(END)
            .bind(&session.mark)
            .bind(session.until.naive_utc())
            .execute(&mut *tx)
            .await
            .during(what)?;
        tx.commit().await.during(what)
    }

    async fn ended(&self, now: DateTime<Utc>, max: u32) -> Result<Vec<EndedSession>, Fault> {
        let what = "list sessions that have ended";
        let mut tx = self.database.read(what).await?;
        let found: Vec<(String, NaiveDateTime)> =
            tuples(LIST).bind(now.naive_utc()).bind(i64::from(max)).fetch_all(&mut *tx).await.during(what)?;
        Ok(found.into_iter().map(|(mark, until)| EndedSession { mark, until: until.and_utc() }).collect())
    }
}
