//! PostgreSQL as an engine: how values are bound, and its transactions.

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, SqlSafeStr};

use super::connection::Database;
use super::fault::{During, refused_or_fault};
use super::statement::{Tx, query};
use crate::fault::Fault;
use crate::store::deletion::StepFault;
use crate::store::sql::engine::{Connection, Engine, Sql, Value};

/// A statement with its values.
pub(super) fn bound<'q>(sql: impl SqlSafeStr, values: &[Value<'q>]) -> Query<'q, Postgres, PgArguments> {
    values.iter().fold(query(sql), |query, value| match *value {
        Value::Number(number) => query.bind(number),
        Value::Count(count) => query.bind(count.map(number)),
        Value::Text(text) => query.bind(text),
        Value::Time(time) => query.bind(time.map(|at| at.naive_utc())),
        Value::Flag(flag) => query.bind(flag),
        Value::Ids(ids) => query.bind(ids),
        Value::Texts(texts) => query.bind(texts),
        Value::After(delay) => query.bind(delay.as_secs_f64()),
        Value::Now => query,
    })
}

/// One of our numbers, for a column of type `integer`.
pub(super) fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

#[async_trait]
impl Connection for PgConnection {
    type Row = PgRow;

    async fn rows(&mut self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<Vec<PgRow>, Fault> {
        bound(sql, values).fetch_all(self).await.during(what)
    }

    async fn run(&mut self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<u64, Fault> {
        Ok(bound(sql, values).execute(self).await.during(what)?.rows_affected())
    }

    async fn composed(
        &mut self,
        sql: String,
        values: &[Value<'_>],
        what: &str,
    ) -> Result<Vec<PgRow>, StepFault> {
        let rows = bound(AssertSqlSafe(sql), values).fetch_all(self).await;
        rows.map_err(|error| refused_or_fault(error, what))
    }
}

#[async_trait]
impl Engine for Database {
    type Connection = PgConnection;
    type Writing = Tx;
    type Reading = Tx;

    // The time does not depend on the session's time zone.
    const NOW: Option<Sql> = Some("select now() at time zone 'utc' as now");

    async fn writing(&self, what: &str) -> Result<Tx, Fault> {
        self.write(what).await
    }

    async fn reading(&self, what: &str) -> Result<Tx, Fault> {
        self.read(what).await
    }

    async fn commit(tx: Tx, what: &str) -> Result<(), Fault> {
        tx.commit().await.during(what)
    }
}
