//! Removes rows of a described deletion with everything that goes with them, in one transaction.

use futures::future::BoxFuture;

use super::described_had::{DescribedScope, Had, Removed, note_all, returning};
use super::described_objects::Objects;
use super::described_rows::Composed;
use super::described_schema::DescribedSql;
use super::engine::Value;
use crate::job::RowsEnd;
use crate::store::deletion::{LEFT_AS_IT_WAS, StepFault};
use crate::store::described::dialect::{Dialect, name};
use crate::store::described::{FittedColumn, FittedRows};
use crate::store::row::Cells as _;

/// What is removed at once of the others, so that what is read of them stays small.
const PORTION: u32 = 1000;

/// Removes rows of one batch.
pub(super) struct Removal<'a>(pub(super) DescribedScope<'a>);

/// How far a part has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of its rows are deleted.
    Complete,
    /// So many others go with them that only a part of these went.
    InPart,
}

fn refuse<T>() -> Result<T, StepFault> {
    Err(StepFault::Refused(LEFT_AS_IT_WAS.to_owned()))
}

impl<'a> Removal<'a> {
    /// Deletes these rows with everything that goes with them.
    pub(super) async fn part<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        ids: &[String],
        removed: &mut Removed,
    ) -> Result<Part, StepFault> {
        let (root, mut had) = (&self.0.deletion.rows, Had::default());
        let part = match self.children::<E>(tx, &root.also, ids, (&mut had, &mut *removed)).await? {
            false => Part::InPart,
            true => {
                self.rows::<E>(tx, ids, &mut had).await?;
                Part::Complete
            }
        };
        let objects = Objects { scope: &self.0, had: &had };
        objects.settle::<E>(tx, removed).await?;
        // Triggers of what followed may have brought rows back.
        if part == Part::Complete && self.are_there::<E>(tx, ids).await? {
            return refuse();
        }
        Ok(part)
    }

    /// Removes the children of these rows, each after its own. `false` if there are too many for one transaction.
    fn children<'b, E: DescribedSql>(
        &'b self,
        tx: &'b mut E::Connection,
        also: &'a [FittedRows],
        parents: &'b [String],
        (had, removed): (&'b mut Had<'a>, &'b mut Removed),
    ) -> BoxFuture<'b, Result<bool, StepFault>>
    where
        'a: 'b,
    {
        Box::pin(async move {
            for child in also {
                loop {
                    let most = removed.left.min(PORTION);
                    if most == 0 {
                        return Ok(false);
                    }
                    let gone = if child.also.is_empty() {
                        self.some::<E>(tx, child, (parents, most), had).await?
                    } else {
                        let ids = self.ids::<E>(tx, child, (parents, most)).await?;
                        if !self.children::<E>(tx, &child.also, &ids, (&mut *had, &mut *removed)).await? {
                            return Ok(false);
                        }
                        let key = child.key.as_ref();
                        let gone = self.of_list::<E>(tx, child, (key, &ids), had).await?;
                        if gone as usize != ids.len() {
                            return refuse();
                        }
                        gone
                    };
                    removed.left = removed.left.saturating_sub(gone);
                    removed.others += u64::from(gone);
                    if gone < most {
                        break;
                    }
                }
                if self.has_children::<E>(tx, child, parents).await? {
                    return refuse();
                }
            }
            Ok(true)
        })
    }

    /// The condition that rows belong to these parents.
    fn of_parents<'v, E: DescribedSql>(
        sql: &mut Composed<'v>,
        child: &FittedRows,
        parents: &'v [String],
    ) -> String {
        let Some(by) = &child.by else { return "false".to_owned() };
        let place = sql.value(Value::Texts(parents));
        E::DIALECT.among(&name(&by.name), &by.sql_type, &place)
    }

    /// The ids of some children.
    async fn ids<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        child: &FittedRows,
        (parents, most): (&[String], u32),
    ) -> Result<Vec<String>, StepFault> {
        let Some(key) = &child.key else { return Ok(Vec::new()) };
        let column = format!("{}.{}", name(&child.table), name(&key.name));
        let mut sql = Composed::new("");
        let of_parents = Self::of_parents::<E>(&mut sql, child, parents);
        let most = sql.value(most);
        sql.sql = format!(
            "select {} as id from {} where {of_parents} order by {column} limit {most}{}",
            E::DIALECT.as_text(&column),
            name(&child.table),
            E::DIALECT.locked(true)
        );
        let rows = sql.rows(tx, "take rows that go with others").await?;
        rows.iter().map(|row| Ok(row.text("id")?.unwrap_or_default())).collect()
    }

    /// Removes at most so many children that have none of their own; where the table has no handle, all of them.
    async fn some<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        child: &'a FittedRows,
        (parents, most): (&[String], u32),
        had: &mut Had<'a>,
    ) -> Result<u32, StepFault> {
        let table = name(&child.table);
        let mut sql = Composed::new("");
        let mut these = Self::of_parents::<E>(&mut sql, child, parents);
        if let Some(handle) = child.handle {
            let most = sql.value(most);
            let some = format!("select {handle} from {table} where {these} limit {most}");
            these = match E::DIALECT {
                Dialect::Postgres => format!("{handle} = any(array({some}))"),
                Dialect::Sqlite => format!("{handle} in ({some})"),
            };
        }
        sql.sql = format!("delete from {table} where {these} returning {}", returning(child, E::DIALECT));
        note_all(sql.rows(tx, "remove rows that go with others").await?, child, had)
    }

    /// Removes rows by a list of ids.
    async fn of_list<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        rows: &'a FittedRows,
        (key, ids): (Option<&FittedColumn>, &[String]),
        had: &mut Had<'a>,
    ) -> Result<u32, StepFault> {
        let Some(key) = key.filter(|_| !ids.is_empty()) else { return Ok(0) };
        let mut sql = Composed::new("");
        let place = sql.value(Value::Texts(ids));
        let among = E::DIALECT.among(&name(&key.name), &key.sql_type, &place);
        let returning = returning(rows, E::DIALECT);
        sql.sql = format!("delete from {} where {among} returning {returning}", name(&rows.table));
        note_all(sql.rows(tx, "remove rows").await?, rows, had)
    }

    /// Whether any child is left.
    async fn has_children<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        child: &FittedRows,
        parents: &[String],
    ) -> Result<bool, StepFault> {
        let mut sql = Composed::new("");
        let of_parents = Self::of_parents::<E>(&mut sql, child, parents);
        sql.sql = format!("select 1 as there from {} where {of_parents} limit 1", name(&child.table));
        Ok(!sql.rows(tx, "look for rows that went with others").await?.is_empty())
    }

    /// Removes or marks the rows themselves. All or none.
    async fn rows<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        ids: &[String],
        had: &mut Had<'a>,
    ) -> Result<(), StepFault> {
        let root = &self.0.deletion.rows;
        let gone = match &self.0.deletion.description.rows {
            RowsEnd::Remove => self.of_list::<E>(tx, root, (root.key.as_ref(), ids), had).await?,
            RowsEnd::Mark { mark, at, touched } => {
                let Some(key) = &root.key else { return refuse() };
                let mut sql = Composed::new("");
                let place = sql.value(Value::Texts(ids));
                let among = E::DIALECT.among(&name(&key.name), &key.sql_type, &place);
                let mut set = format!("{} = true", name(mark));
                for column in at.iter().chain(touched) {
                    let now = sql.value(self.0.now);
                    set += &format!(", {} = {}", name(column), E::DIALECT.moment(&now));
                }
                sql.sql = format!(
                    "update {} set {set} where {among} and {} is not true returning {}",
                    name(&root.table),
                    name(mark),
                    returning(root, E::DIALECT)
                );
                note_all(sql.rows(tx, "mark rows as deleted").await?, root, had)?
            }
        };
        if gone as usize == ids.len() { Ok(()) } else { refuse() }
    }

    /// Whether any of these rows is there, or is not marked.
    async fn are_there<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        ids: &[String],
    ) -> Result<bool, StepFault> {
        let root = &self.0.deletion.rows;
        let Some(key) = &root.key else { return Ok(false) };
        let mut sql = Composed::new("");
        let place = sql.value(Value::Texts(ids));
        let among = E::DIALECT.among(&name(&key.name), &key.sql_type, &place);
        let live = match &self.0.deletion.description.rows {
            RowsEnd::Remove => String::new(),
            RowsEnd::Mark { mark, .. } => format!(" and {} is not true", name(mark)),
        };
        sql.sql = format!("select 1 as there from {} where {among}{live} limit 1", name(&root.table));
        Ok(!sql.rows(tx, "look at the rows of a batch").await?.is_empty())
    }
}
