//! The values of an SQLite row.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::fault::During;
use super::moment;
use crate::fault::{Fault, FaultKind};
use crate::store::row::Cells;

impl Cells for SqliteRow {
    fn number(&self, column: &str) -> Result<Option<i64>, Fault> {
        get(self, column)
    }

    fn real(&self, column: &str) -> Result<Option<f64>, Fault> {
        get(self, column)
    }

    fn text(&self, column: &str) -> Result<Option<String>, Fault> {
        get(self, column)
    }

    fn flag(&self, column: &str) -> Result<bool, Fault> {
        get(self, column)
    }

    fn time(&self, column: &str) -> Result<Option<DateTime<Utc>>, Fault> {
        let Some(text) = self.text(column)? else { return Ok(None) };
        let at = moment::parse(&text);
        at.map(Some).ok_or_else(|| {
            Fault::new(FaultKind::Permanent, format!("there is no time in {column}: `{text}`"))
        })
    }
}

fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T, Fault>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).during("read a row of the store")
}
