//! What the ports need of a database engine: transactions, and statements whose values and rows are the same
//! on every engine.

use std::ops::DerefMut;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::fault::{Fault, FaultKind};
use crate::store::deletion::StepFault;
use crate::store::row::Cells;

/// The text of a statement.
pub type Sql = &'static str;

/// A value for a placeholder `$1`, `$2` and so on in a statement.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// An id or another number of the application.
    Number(Option<i64>),
    /// One of our numbers, for a column of type `integer`.
    Count(Option<u32>),
    /// A text.
    Text(Option<&'a str>),
    /// A time.
    Time(Option<DateTime<Utc>>),
    /// A boolean.
    Flag(bool),
    /// A list of ids.
    Ids(&'a [i64]),
    /// A list of texts.
    Texts(&'a [String]),
    /// The time this long after now.
    After(Duration),
    /// The current time. Always the last value: a server uses its own clock, and its statements have no such
    /// parameter.
    Now,
}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => {
        $(impl From<$type> for Value<'_> {
            fn from(value: $type) -> Self {
                Self::$variant(Some(value))
            }
        }

        impl From<Option<$type>> for Value<'_> {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value)
            }
        })*
    };
}
from!(i64 => Number, u32 => Count, DateTime<Utc> => Time);

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// A connection in a transaction. Errors name `what` was done.
#[async_trait]
pub trait Connection: Send {
    /// A row of an answer.
    type Row: Cells + Send + Sync;

    /// Runs a statement and returns its rows.
    async fn rows(&mut self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<Vec<Self::Row>, Fault>;

    /// Runs a statement and returns the number of changed rows.
    async fn run(&mut self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<u64, Fault>;

    /// Runs a statement that was put together from quoted names and checked expressions, and returns its rows. A refusal
    /// of single rows is told apart.
    async fn composed(
        &mut self,
        sql: String,
        values: &[Value<'_>],
        what: &str,
    ) -> Result<Vec<Self::Row>, StepFault>;

    /// Runs a statement and returns its first row.
    async fn first(
        &mut self,
        sql: Sql,
        values: &[Value<'_>],
        what: &str,
    ) -> Result<Option<Self::Row>, Fault> {
        Ok(self.rows(sql, values, what).await?.into_iter().next())
    }

    /// Runs a statement that always returns one row.
    async fn one(&mut self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<Self::Row, Fault> {
        let missing = || Fault::new(FaultKind::Permanent, what).because(sqlx::Error::RowNotFound);
        self.first(sql, values, what).await?.ok_or_else(missing)
    }
}

/// The rows of an engine.
pub type RowOf<E> = <<E as Engine>::Connection as Connection>::Row;

/// One open database.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Its connections.
    type Connection: Connection;
    /// A transaction that may write; dropping it rolls it back.
    type Writing: DerefMut<Target = Self::Connection> + Send;
    /// A read-only transaction with one snapshot.
    type Reading: DerefMut<Target = Self::Connection> + Send;

    /// The query for the server's time. `None`: the engine and all processes that use it are on this host.
    const NOW: Option<Sql>;

    /// Begins a transaction that may write.
    async fn writing(&self, what: &str) -> Result<Self::Writing, Fault>;

    /// Fails if an ordinary write may find no room, though a small one does.
    async fn has_room(&self, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// Begins a transaction that only reads.
    async fn reading(&self, what: &str) -> Result<Self::Reading, Fault>;

    /// Commits the changes.
    async fn commit(tx: Self::Writing, what: &str) -> Result<(), Fault>;

    /// Ends a read-only transaction that succeeded.
    async fn end(_: Self::Reading, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// Runs a single statement that only reads.
    async fn read_rows(&self, sql: Sql, values: &[Value<'_>], what: &str) -> Result<Vec<RowOf<Self>>, Fault> {
        self.reading(what).await?.rows(sql, values, what).await
    }

    /// Runs a single statement that writes.
    async fn write_rows(
        &self,
        sql: Sql,
        values: &[Value<'_>],
        what: &str,
    ) -> Result<Vec<RowOf<Self>>, Fault> {
        let mut tx = self.writing(what).await?;
        let rows = tx.rows(sql, values, what).await?;
        Self::commit(tx, what).await?;
        Ok(rows)
    }
}
