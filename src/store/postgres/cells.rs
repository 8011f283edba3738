//! The values of a row, as PostgreSQL answers with them: a column of the application may be wider or
//! narrower than ours would be.

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Row, TypeInfo, ValueRef};

use super::fault::During;
use crate::fault::Fault;
use crate::store::row::Cells;

impl Cells for PgRow {
    fn number(&self, column: &str) -> Result<Option<i64>, Fault> {
        Ok(match type_name(self, column)?.as_str() {
            "INT2" => get::<Option<i16>>(self, column)?.map(i64::from),
            "INT4" => get::<Option<i32>>(self, column)?.map(i64::from),
            _ => get(self, column)?,
        })
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
        if type_name(self, column)? == "TIMESTAMPTZ" {
            return get(self, column);
        }
        Ok(get::<Option<NaiveDateTime>>(self, column)?.map(|at| at.and_utc()))
    }
}

fn get<'r, T>(row: &'r PgRow, column: &str) -> Result<T, Fault>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(column).during("read a row of the store")
}

fn type_name(row: &PgRow, column: &str) -> Result<String, Fault> {
    let value = row.try_get_raw(column).during("read a row of the store")?;
    Ok(value.type_info().name().to_owned())
}
