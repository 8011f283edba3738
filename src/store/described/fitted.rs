//! A described deletion that fits the tables, with what its statements need to know of them.

use std::collections::BTreeMap;

use super::expression::Expression;
use super::live::ForeignKey;
use crate::job::DescribedDeletion;

/// A described deletion that was examined and fits the tables as they were then.
#[derive(Debug)]
pub struct FittedDeletion {
    pub(in crate::store) description: DescribedDeletion,
    /// The table's rows.
    pub(in crate::store) rows: FittedRows,
    /// The column with the tenant.
    pub(in crate::store) tenant: Option<FittedColumn>,
    /// The condition.
    pub(in crate::store) only: Option<Expression>,
    /// Every table that is named, for another look at the foreign keys.
    pub(in crate::store) tables: Vec<String>,
    /// The foreign keys into them.
    pub(in crate::store) foreign_keys: Vec<ForeignKey>,
    /// What every description knows of every other.
    pub(in crate::store) neighbours: Neighbours,
}

/// What all descriptions together say of tables, whichever of them runs.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Neighbours {
    /// Where keys of objects stand: the table and the expression.
    pub(in crate::store) keys: Vec<(String, String)>,
    /// Columns that point to rows with objects: the table, the column, the table pointed to.
    pub(in crate::store) pointers: Vec<(String, String, String)>,
    /// The columns that mark rows as deleted, by table.
    pub(in crate::store) marks: BTreeMap<String, String>,
}

/// Rows that go: those of the table, or of a child.
#[derive(Debug)]
pub(in crate::store) struct FittedRows {
    pub(in crate::store) table: String,
    /// The column that identifies a row; a child without children of its own may have none.
    pub(in crate::store) key: Option<FittedColumn>,
    /// The column of a child that refers to its parent.
    pub(in crate::store) by: Option<FittedColumn>,
    /// A hidden column by which rows are found fast.
    pub(in crate::store) handle: Option<&'static str>,
    /// Keys of objects on the row itself: expressions in parentheses.
    pub(in crate::store) own_keys: Vec<String>,
    /// Rows that it points to.
    pub(in crate::store) pointed: Vec<FittedPointer>,
    pub(in crate::store) also: Vec<Self>,
}

/// A column with its type as SQL.
#[derive(Clone, Debug)]
pub(in crate::store) struct FittedColumn {
    pub(in crate::store) name: String,
    pub(in crate::store) sql_type: String,
}

/// Rows that others point to.
#[derive(Debug)]
pub(in crate::store) struct FittedPointer {
    pub(in crate::store) table: String,
    /// The columns that point there.
    pub(in crate::store) from: Vec<String>,
    /// Their primary key.
    pub(in crate::store) id: FittedColumn,
    /// The key of the object: an expression in parentheses.
    pub(in crate::store) object: String,
    pub(in crate::store) tenant: Option<FittedColumn>,
    pub(in crate::store) purpose: Vec<String>,
}

impl FittedDeletion {
    /// The description.
    #[must_use]
    pub fn description(&self) -> &DescribedDeletion {
        &self.description
    }

    /// Whether a request may name this tenant, or none.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn takes_tenant(&self, tenant: Option<&str>) -> Result<(), String> {
        let name = &self.description.name;
        let (column, tenant) = match (&self.tenant, tenant) {
            (None, None) => return Ok(()),
            (None, Some(tenant)) => {
                return Err(format!(
                    "the deletion `{name}` is of the whole table, and takes no tenant (`{tenant}`)"
                ));
            }
            (Some(column), tenant) => (column, tenant.unwrap_or_default()),
        };
        // A database may take the digits in front of something else for a number.
        let fits = match column.is_whole_number() {
            true => tenant.parse::<i64>().is_ok_and(|number| number.to_string() == tenant),
            false => !tenant.trim().is_empty(),
        };
        let expected =
            format!("the deletion `{name}` is of one tenant: expected a value of `{}`", column.name);
        if fits { Ok(()) } else { Err(format!("{expected}, not `{tenant}`")) }
    }
}

impl FittedColumn {
    /// Whether its values are whole numbers.
    pub(in crate::store) fn is_whole_number(&self) -> bool {
        ["smallint", "integer", "bigint"].contains(&self.sql_type.as_str())
    }
}

impl FittedRows {
    /// The pointers of these rows and of all below them, in a fixed order.
    pub(in crate::store) fn all_pointers(&self) -> Vec<&FittedPointer> {
        let below = self.also.iter().flat_map(Self::all_pointers);
        self.pointed.iter().chain(below).collect()
    }
}
