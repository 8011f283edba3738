//! Which rows a described deletion covers: the statements that take and count them.

use super::described_schema::DescribedSql;
use super::described_state::plain;
use super::engine::{Connection, Value};
use crate::fault::Fault;
use crate::job::RowsEnd;
use crate::store::deletion::StepFault;
use crate::store::described::FittedDeletion;
use crate::store::described::dialect::{Dialect, name};
use crate::store::row::Cells as _;
use crate::store::{CoveredRows, DescribedRow, Pass};

/// A statement while it is put together, with its values.
pub(super) struct Composed<'a> {
    pub(super) sql: String,
    pub(super) values: Vec<Value<'a>>,
}

impl<'a> Composed<'a> {
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }

    /// Adds a value, and returns its place in the statement.
    pub(super) fn value(&mut self, value: impl Into<Value<'a>>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// Runs it.
    pub(super) async fn rows<C: Connection>(self, tx: &mut C, what: &str) -> Result<Vec<C::Row>, StepFault> {
        tx.composed(self.sql, &self.values, what).await
    }
}

/// The rows of one request.
pub(super) struct Covered<'a> {
    pub(super) dialect: Dialect,
    pub(super) deletion: &'a FittedDeletion,
    pub(super) row: &'a DescribedRow,
}

impl<'a> Covered<'a> {
    /// The next rows after an id, ascending and locked until the commit.
    pub(super) async fn take<C: Connection>(
        &self,
        tx: &mut C,
        after: Option<&'a str>,
        (pass, limit): (Pass, u32),
    ) -> Result<Vec<String>, Fault> {
        let Some(id) = &self.deletion.rows.key else { return Ok(Vec::new()) };
        // A bare name in `order by` would be that of the result, which is text.
        let column = format!("{}.{}", name(&self.deletion.rows.table), name(&id.name));
        let mut sql = Composed::new(format!("select {} as id", self.dialect.as_text(&column)));
        self.from(&mut sql);
        if let Some(existed) = &self.deletion.description.existed {
            let requested = self.requested_at(&mut sql);
            sql.sql += &format!(" and {} <= {requested}", self.dialect.time_of(&name(existed)));
        }
        if let Some(after) = after {
            let place = sql.value(after);
            sql.sql += &format!(" and {column} > {}", self.dialect.of_text(&place, &id.sql_type));
        }
        if pass == Pass::Sweep {
            let place = sql.value(self.row.id);
            let as_text = self.dialect.as_text(&column);
            sql.sql += &format!(
                " and not exists (select 1 from tikkun_rows_set_aside tikkun_s
                  where tikkun_s.deletion_id = {place} and tikkun_s.row_id = {as_text})"
            );
        }
        let limit = sql.value(limit.max(1));
        let removes = self.deletion.description.rows == RowsEnd::Remove;
        sql.sql += &format!(" order by {column} limit {limit}{}", self.dialect.locked(removes));
        let rows = plain(sql.rows(tx, "take the rows of a batch").await)?;
        rows.iter().map(|row| Ok(row.text("id")?.unwrap_or_default())).collect()
    }

    /// Counts the rows that are there now.
    pub(super) async fn count<E: DescribedSql>(&self, engine: &E) -> Result<CoveredRows, Fault> {
        let what = format!("count the rows of the deletion {}", self.row.id);
        let mut sql = Composed::new("select count(*) as covered, 0 as kept");
        if let Some(existed) = &self.deletion.description.existed {
            let requested = self.requested_at(&mut sql);
            let is_old = format!("{} <= {requested}", self.dialect.time_of(&name(existed)));
            sql.sql = format!(
                "select count(*) filter (where {is_old}) as covered,
                 count(*) filter (where ({is_old}) is not true) as kept"
            );
        }
        self.from(&mut sql);
        let mut tx = engine.reading(&what).await?;
        let rows = plain(sql.rows(&mut *tx, &what).await)?;
        E::end(tx, &what).await?;
        let Some(row) = rows.first() else { return Ok(CoveredRows::default()) };
        Ok(CoveredRows { covered: row.needed("covered")?, kept: row.needed("kept")? })
    }

    fn requested_at(&self, sql: &mut Composed<'a>) -> String {
        let place = sql.value(self.row.requested_at);
        self.dialect.moment(&place)
    }

    /// Adds the table, and all conditions but that on the time of creation.
    fn from(&self, sql: &mut Composed<'a>) {
        let FittedDeletion { description, rows, tenant, only, .. } = self.deletion;
        sql.sql += &format!(" from {} where true", name(&rows.table));
        if let (Some(column), Some(tenant)) = (tenant, &self.row.tenant) {
            let place = sql.value(tenant.as_str());
            sql.sql +=
                &format!(" and {} = {}", name(&column.name), self.dialect.of_text(&place, &column.sql_type));
        }
        if let RowsEnd::Mark { mark, .. } = &description.rows {
            sql.sql += &format!(" and {} is not true", name(mark));
        }
        if let (Some(bound), Some(id)) = (&self.row.bound, &rows.key) {
            let place = sql.value(bound.as_str());
            sql.sql += &format!(" and {} <= {}", name(&id.name), self.dialect.of_text(&place, &id.sql_type));
        }
        if let Some(only) = only {
            let requested = if only.has_moment() { self.requested_at(sql) } else { String::new() };
            sql.sql += &format!(" and {}", only.text(&requested));
        }
    }
}
