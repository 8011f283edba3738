//! The live schema, as far as descriptions name it.

use std::collections::BTreeMap;

/// Tables that descriptions name, and the foreign keys into them.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct LiveSchema {
    /// By name; a name that the database does not know is missing.
    pub(in crate::store) tables: BTreeMap<String, LiveTable>,
    /// Every foreign key into one of them.
    pub(in crate::store) foreign_keys: Vec<ForeignKey>,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct LiveTable {
    /// What it is, if it is none: `view`.
    pub(in crate::store) other: Option<String>,
    /// Its columns.
    pub(in crate::store) columns: Vec<LiveColumn>,
    /// The columns of its indexes, in order.
    pub(in crate::store) indexes: Vec<LiveIndex>,
    /// Triggers and rules on changes: `trigger guard`.
    pub(in crate::store) triggers: Vec<String>,
    /// Whether row security may hide rows from us.
    pub(in crate::store) hides: bool,
    /// The name of a hidden column by which rows are found fast.
    pub(in crate::store) handle: Option<&'static str>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct LiveColumn {
    /// Its name.
    pub(in crate::store) name: String,
    /// Its type as SQL.
    pub(in crate::store) sql_type: String,
    /// Whether it is never null.
    pub(in crate::store) is_never_null: bool,
}

/// An index.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct LiveIndex {
    /// Its columns; an expression is empty.
    pub(in crate::store) columns: Vec<String>,
    /// Whether its rows are unique.
    pub(in crate::store) is_unique: bool,
    /// Whether it is the primary key.
    pub(in crate::store) is_primary: bool,
    /// Whether it has all rows, or all but those without a value.
    pub(in crate::store) is_whole: bool,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct ForeignKey {
    /// The table that it is on.
    pub(in crate::store) table: String,
    /// The same as SQL.
    pub(in crate::store) table_sql: String,
    /// Its columns.
    pub(in crate::store) columns: Vec<String>,
    /// The table that it refers to.
    pub(in crate::store) to_table: String,
    /// The columns there.
    pub(in crate::store) to_columns: Vec<String>,
    /// What becomes of its row when the other one is removed.
    pub(in crate::store) on_delete: OnDelete,
    /// Whether an index begins with its first column.
    pub(in crate::store) is_indexed: bool,
}

/// What becomes of a row when the one that it refers to is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum OnDelete {
    /// It is removed, too.
    Cascade,
    /// It loses its reference.
    Clear,
    /// The other one stays.
    Refuse,
}

impl LiveTable {
    pub(in crate::store) fn column(&self, name: &str) -> Option<&LiveColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The primary key, if it is one column.
    pub(in crate::store) fn key(&self) -> Option<&LiveColumn> {
        let primary = self.indexes.iter().find(|index| index.is_primary)?;
        let [only] = primary.columns.as_slice() else { return None };
        self.column(only)
    }

    /// Whether a column is unique and never null.
    pub(in crate::store) fn identifies(&self, column: &LiveColumn) -> bool {
        let of_it = |index: &&LiveIndex| index.columns.len() == 1 && index.columns.contains(&column.name);
        let unique = self.indexes.iter().filter(of_it).any(|index| index.is_unique && index.is_whole);
        let is_primary = self.indexes.iter().filter(of_it).any(|index| index.is_primary);
        is_primary || (unique && column.is_never_null)
    }

    /// Whether an index begins with this column.
    pub(in crate::store) fn is_indexed(&self, column: &str) -> bool {
        let leads =
            |index: &LiveIndex| index.is_whole && index.columns.first().is_some_and(|first| first == column);
        self.indexes.iter().any(leads)
    }
}

impl ForeignKey {
    /// Its name in messages: `transcripts.recording_id`.
    pub(in crate::store) fn shown(&self) -> String {
        format!("{}.{}", self.table, self.columns.join("+"))
    }

    /// Whether it is on exactly this column of this table.
    pub(in crate::store) fn is_on(&self, table: &str, column: &str) -> bool {
        let is_column = |only: &String| only.eq_ignore_ascii_case(column);
        self.table == table && self.columns.len() == 1 && self.columns.first().is_some_and(is_column)
    }
}
