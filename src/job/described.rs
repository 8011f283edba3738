//! A deletion of rows of any table, as the configuration describes it.

/// One described deletion. Names are those of the database, as they are; expressions are SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedDeletion {
    /// Its name in requests and log lines.
    pub name: String,
    /// The table whose rows are deleted.
    pub table: String,
    /// The column with the tenant; `None`: the rows of the whole table.
    pub tenant: Option<String>,
    /// The column that identifies a row.
    pub id: String,
    /// What becomes of a row.
    pub rows: RowsEnd,
    /// Only rows for which this condition holds.
    pub only: Option<String>,
    /// The column with the time since which a row exists.
    pub existed: Option<String>,
    /// Rows of other tables that are removed with a row, before it.
    pub also: Vec<ChildRows>,
    /// The objects of a row.
    pub objects: Vec<ObjectKey>,
}

/// What becomes of the rows of a described deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowsEnd {
    /// They are removed.
    Remove,
    /// They stay, marked as deleted.
    Mark {
        /// The column that is set to true.
        mark: String,
        /// The column for the time of the deletion.
        at: Option<String>,
        /// The column for the time of the last change.
        touched: Option<String>,
    },
}

/// Rows that are removed with those of another table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildRows {
    /// Their table.
    pub table: String,
    /// The column that refers to the other table's row.
    pub by: String,
    /// Rows that are removed with them, before them.
    pub also: Vec<Self>,
    /// Their objects.
    pub objects: Vec<ObjectKey>,
}

/// Where the key of an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectKey {
    /// On the row itself: the expression.
    Own(String),
    /// On a row that it points to.
    Pointed(PointedRows),
}

/// Rows that others point to, and that are removed with their objects once nothing points to them any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointedRows {
    /// Their table.
    pub table: String,
    /// The columns that point to its primary key.
    pub from: Vec<String>,
    /// The expression of the key.
    pub key: String,
    /// The column with the tenant, which has to be that of the deletion.
    pub tenant: Option<String>,
    /// Only rows whose column `purpose` has one of these words; empty: all.
    pub purpose: Vec<String>,
}
