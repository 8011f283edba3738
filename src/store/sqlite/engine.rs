//! SQLite as an engine: how values are bound, and its transactions.

use async_trait::async_trait;
use chrono::Utc;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, SqlSafeStr, Sqlite, SqliteConnection};

use super::connection::Database;
use super::fault::{During, refused_or_fault};
use super::{list, moment};
use crate::fault::Fault;
use crate::sqlite::Transaction;
use crate::store::deletion::StepFault;
use crate::store::sql::engine::{Connection, Engine, Sql, Value};
use crate::store::sql::outbox::later;

fn bound<'q>(
    sql: impl SqlSafeStr,
    values: &[Value<'q>],
) -> Result<Query<'q, Sqlite, SqliteArguments>, Fault> {
    values.iter().try_fold(sqlx::query(sql), |query, value| {
        Ok(match *value {
            Value::Number(number) => query.bind(number),
            Value::Count(count) => query.bind(count),
            Value::Text(text) => query.bind(text),
            Value::Time(time) => query.bind(time.map(moment::to_text)),
            Value::Flag(flag) => query.bind(flag),
            Value::Ids(ids) => query.bind(list::json(ids)?),
            Value::Texts(texts) => query.bind(list::json(texts)?),
            Value::After(delay) => query.bind(moment::to_text(later(Utc::now(), delay))),
            Value::Now => query.bind(moment::to_text(Utc::now())),
        })
    })
}

#[async_trait]
impl Connection for SqliteConnection {
    type Row = SqliteRow;

    async fn rows(&mut self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<Vec<SqliteRow>, Fault> {
        bound(sql, values)?.fetch_all(self).await.during(what)
    }

    async fn run(&mut self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<u64, Fault> {
        Ok(bound(sql, values)?.execute(self).await.during(what)?.rows_affected())
    }

    async fn composed(
        &mut self,
        sql: String,
        values: &[Value<'_>],
        what: &str,
    ) -> Result<Vec<SqliteRow>, StepFault> {
        let rows = bound(AssertSqlSafe(sql), values)?.fetch_all(self).await;
        rows.map_err(|error| refused_or_fault(error, what))
    }
}

#[async_trait]
impl Engine for Database {
    type Connection = SqliteConnection;
    type Writing = Transaction;
    type Reading = Transaction;

    const NOW: Option<Sql> = None;

    async fn writing(&self, what: &str) -> Result<Transaction, Fault> {
        self.write(what).await
    }

    async fn has_room(&self, what: &str) -> Result<(), Fault> {
        self.room().await.during(what)
    }

    async fn reading(&self, what: &str) -> Result<Transaction, Fault> {
        self.read().begin().await.during(what)
    }

    async fn commit(tx: Transaction, what: &str) -> Result<(), Fault> {
        tx.commit().await.during(what)
    }

    /// Commits, because a transaction that is only dropped makes its connection suspect.
    async fn end(tx: Transaction, what: &str) -> Result<(), Fault> {
        tx.commit().await.during(what)
    }

    /// A single statement needs no transaction.
    async fn read_rows(&self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<Vec<SqliteRow>, Fault> {
        bound(sql, values)?.fetch_all(self.read()).await.during(what)
    }
}
