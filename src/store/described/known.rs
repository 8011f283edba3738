//! What the checks of descriptions look at, and what they find.

use super::dialect::Dialect;
use super::fitted::{FittedColumn, Neighbours};
use super::live::{LiveColumn, LiveSchema, LiveTable};
use super::trials::Tried;
use crate::config::nearest;

/// What our own tables begin with.
const OURS: &str = "tikkun_";

/// What all checks look at.
pub(in crate::store) struct Known<'a> {
    pub(in crate::store) dialect: Dialect,
    pub(in crate::store) live: &'a LiveSchema,
    pub(in crate::store) tried: &'a Tried,
    pub(in crate::store) neighbours: &'a Neighbours,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What makes the description unusable.
    pub(super) errors: Vec<String>,
    /// What works, but slower or less safely than it could.
    pub(super) findings: Vec<String>,
}

impl Report {
    pub(super) fn error(&mut self, place: &str, said: impl AsRef<str>) {
        self.errors.push(format!("`{place}`: {}", said.as_ref()));
    }

    pub(super) fn finding(&mut self, place: &str, said: impl AsRef<str>) {
        self.findings.push(format!("`{place}`: {}", said.as_ref()));
    }
}

impl Known<'_> {
    /// The table, if it is one whose rows can be changed.
    pub(super) fn table(&self, place: &str, name: &str, report: &mut Report) -> Option<&LiveTable> {
        let Some(table) = self.live.tables.get(name) else {
            report.error(place, format!("there is no table `{name}`"));
            return None;
        };
        if name.to_ascii_lowercase().starts_with(OURS) {
            report.error(place, format!("`{name}` is a table of Tikkun's own"));
            return None;
        }
        if let Some(other) = &table.other {
            report.error(place, format!("`{name}` is a {other}, expected a table"));
            return None;
        }
        if table.hides {
            report.error(
                place,
                format!(
                    "row security on `{name}` binds the role of this service and may hide rows, which would stay unseen; \
                     give it a role that is not bound (`alter role … bypassrls`)"
                ),
            );
        }
        for trigger in &table.triggers {
            report.finding(
                place,
                format!("{trigger} on `{name}` may keep or change rows; what it keeps is set aside"),
            );
        }
        Some(table)
    }

    /// A column of a table.
    pub(super) fn column(
        &self,
        place: &str,
        table: &str,
        name: &str,
        report: &mut Report,
    ) -> Option<&LiveColumn> {
        let live = self.live.tables.get(table)?;
        let found = live.column(name);
        if found.is_none() {
            let meant = nearest(name, live.columns.iter().map(|column| column.name.as_str()));
            let hint = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            report.error(place, format!("there is no column `{name}` in `{table}`{hint}"));
        }
        found
    }

    /// A column whose values can be compared and kept as text.
    pub(super) fn identifying(
        &self,
        place: &str,
        table: &str,
        name: &str,
        report: &mut Report,
    ) -> Option<FittedColumn> {
        let column = self.column(place, table, name, report)?;
        let fitted = self.fitted(column);
        if fitted.is_none() {
            let expected = self.dialect.identifying_in_words();
            let sql_type = if column.sql_type.is_empty() { "no type" } else { &column.sql_type };
            report.error(place, format!("`{table}.{name}` is of {sql_type}, expected {expected}"));
        }
        fitted
    }

    pub(super) fn fitted(&self, column: &LiveColumn) -> Option<FittedColumn> {
        let sql_type = self.dialect.identifying(column)?;
        Some(FittedColumn { name: column.name.clone(), sql_type })
    }

    /// A column with times.
    pub(super) fn time(&self, place: &str, table: &str, name: &str, report: &mut Report) {
        let Some(column) = self.column(place, table, name, report) else { return };
        if !self.dialect.is_time(column) {
            report.error(place, format!("`{table}.{name}` is of {}, expected a time", column.sql_type));
        }
    }

    /// That an index is missing, with the statement that makes it.
    pub(super) fn missing_index(&self, table: &str, columns: &[&str]) -> String {
        format!(
            "an index on `{table}` ({}) is missing, so that each batch reads all of `{table}`; make it with: {}",
            columns.join(", "),
            self.dialect.create_index(table, columns)
        )
    }
}
