//! The values of a PostgreSQL row. A column of the application may be wider or narrower than ours.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Row, TypeInfo, ValueRef};

use super::fault::During;
use crate::fault::Fault;
use crate::store::row::Cells;

/// 2000-01-01, the epoch of PostgreSQL, in seconds of Unix time.
const EPOCH: i64 = 946_684_800;
/// Years for which adding a few centuries cannot overflow.
const KNOWN: RangeInclusive<i32> = -4800..=200_000;

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
        // Both time types are sent as the same number.
        let since = self.try_get_unchecked::<Option<i64>, _>(column).during("read a row of the store")?;
        Ok(since.and_then(moment))
    }
}

/// The time this many microseconds after PostgreSQL's epoch. `None` if the calendar cannot hold it, such as
/// `infinity`; it then counts as missing.
fn moment(since: i64) -> Option<DateTime<Utc>> {
    let epoch = DateTime::from_timestamp(EPOCH, 0)?;
    epoch.checked_add_signed(TimeDelta::microseconds(since)).filter(|at| KNOWN.contains(&at.year()))
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
