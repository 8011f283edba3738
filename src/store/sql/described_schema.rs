//! Reads the live schema for descriptions, and tries their expressions. Nothing is changed.

use async_trait::async_trait;

use super::engine::{Connection as _, Engine, Sql, Value};
use crate::fault::{Fault, FaultKind};
use crate::job::{DescribedDeletion, ObjectKey, RowsEnd};
use crate::store::ExaminedDeletion;
use crate::store::deletion::StepFault;
use crate::store::described::dialect::Dialect;
use crate::store::described::expression::Expression;
use crate::store::described::live::{ForeignKey, LiveColumn, LiveIndex, LiveSchema, LiveTable, OnDelete};
use crate::store::described::trials::{Trial, Tried, tables, trials};
use crate::store::described::{Known, Neighbours, examine as check};
use crate::store::row::Cells;

/// The table in which the receipts have their objects.
const ATTACHMENTS: &str = "attachments";
const STORAGE_PATH: &str = "storage_path";

const WHAT: &str = "look at the tables of the described deletions";

/// What an engine tells of its tables. Each statement has the names of tables as its one value.
#[async_trait]
pub trait DescribedSql: Engine {
    /// Its language.
    const DIALECT: Dialect;
    /// Tables: `name`, what else it is (`other`), whether row security `hides` rows, whether it has a `handle`.
    const TABLES: Sql;
    /// The name of the hidden column by which rows are found.
    const HANDLE: &'static str;
    /// Columns: `name` of the table, `column_name`, `column_type`, `is_never_null`.
    const COLUMNS: Sql;
    /// Indexes: `name` of the table, `columns` as JSON, `is_unique`, `is_primary`, `is_whole`.
    const INDEXES: Sql;
    /// Triggers and rules: `name` of the table, `what`.
    const TRIGGERS: Sql;
    /// Foreign keys into the tables: `from_table`, `from_sql`, `from_columns`, `to_table`, `to_columns`, `action`,
    /// `is_indexed`.
    const FOREIGN_KEYS: Sql;

    /// Begins the transaction of a batch.
    async fn batch(&self, what: &str) -> Result<Self::Writing, Fault>;
}

/// Checks all descriptions.
pub(super) async fn examine<E: DescribedSql>(
    engine: &E,
    all: &[DescribedDeletion],
) -> Result<Vec<ExaminedDeletion>, Fault> {
    let mut names = tables(all);
    names.push(ATTACHMENTS.to_owned());
    let mut tx = engine.reading(WHAT).await?;
    let live = read::<E>(&mut tx, &names).await?;
    E::end(tx, WHAT).await?;
    let trials = trials(all);
    let mut tried = Tried::new();
    for one in
        trials.iter().filter(|one| live.tables.get(&one.table).is_some_and(|table| table.other.is_none()))
    {
        let outcome = match Expression::parse(&one.text) {
            Ok(expression) if one.is_key && expression.has_moment() => {
                Err("has `:requested_at`, which is for `only`".to_owned())
            }
            Ok(expression) => try_out(engine, one, &expression).await?.map(|()| expression),
            Err(error) => Err(error),
        };
        tried.insert(one.place.clone(), outcome);
    }
    let mut neighbours = neighbours(all, &live, (&trials, &tried));
    let check_all = |neighbours: &Neighbours| -> Vec<ExaminedDeletion> {
        let known = Known { dialect: E::DIALECT, live: &live, tried: &tried, neighbours };
        all.iter().enumerate().map(|(number, one)| check(&known, number, one)).collect()
    };
    // What is marked counts as deleted, but a description that is out of use says nothing of that.
    for (one, examined) in all.iter().zip(check_all(&neighbours)) {
        if let (RowsEnd::Mark { mark, .. }, Some(_)) = (&one.rows, &examined.fitted) {
            neighbours.marks.insert(one.table.clone(), mark.clone());
        }
    }
    Ok(check_all(&neighbours))
}

/// Tries an expression in a query that reads nothing; the inner error says why it is none.
async fn try_out<E: DescribedSql>(
    engine: &E,
    trial: &Trial,
    expression: &Expression,
) -> Result<Result<(), String>, Fault> {
    let moment = E::DIALECT.moment("$1");
    let values = [Value::Time(Some(chrono::DateTime::UNIX_EPOCH))];
    let values = if expression.has_moment() { values.as_slice() } else { &[] };
    for sql in E::DIALECT.trial(&trial.table, &expression.text(&moment), trial.is_key) {
        // After an error a transaction is of no more use.
        let mut tx = engine.reading(WHAT).await?;
        let rows = match tx.composed(sql, values, &trial.text).await {
            Ok(rows) => rows,
            Err(StepFault::Fault(fault)) if fault.is_retryable() => return Err(fault),
            Err(StepFault::Fault(fault)) => return Ok(Err(fault.chain())),
            Err(StepFault::Refused(why)) => return Ok(Err(format!("{}: {why}", trial.text))),
        };
        E::end(tx, WHAT).await?;
        if let Some(row) = rows.first()
            && let Some(found) = row.text("found")?
            && !["text", "character varying"].contains(&found.as_str())
        {
            return Ok(Err(format!("{} is of {found}, expected text", trial.text)));
        }
    }
    Ok(Ok(()))
}

/// What each description knows of the others, but for marks. A place whose expression is none is left out.
fn neighbours(
    all: &[DescribedDeletion],
    live: &LiveSchema,
    (trials, tried): (&[Trial], &Tried),
) -> Neighbours {
    let mut found = Neighbours::default();
    for trial in trials.iter().filter(|trial| trial.is_key) {
        if let Some(Ok(expression)) = tried.get(&trial.place) {
            found.keys.push((trial.table.clone(), expression.text("")));
        }
    }
    let attachments = live.tables.get(ATTACHMENTS);
    if attachments.is_some_and(|table| table.other.is_none() && table.column(STORAGE_PATH).is_some()) {
        found.keys.push((ATTACHMENTS.to_owned(), format!("({STORAGE_PATH})")));
    }
    found.keys.sort();
    found.keys.dedup();
    for one in all {
        pointers(&one.table, &one.objects, live, &mut found.pointers);
        let mut open: Vec<_> = one.also.iter().collect();
        while let Some(child) = open.pop() {
            pointers(&child.table, &child.objects, live, &mut found.pointers);
            open.extend(&child.also);
        }
    }
    found
}

fn pointers(
    table: &str,
    objects: &[ObjectKey],
    live: &LiveSchema,
    found: &mut Vec<(String, String, String)>,
) {
    for object in objects {
        let ObjectKey::Pointed(rows) = object else { continue };
        let is_there =
            |from: &&String| live.tables.get(table).is_some_and(|live| live.column(from).is_some());
        let there = rows.from.iter().filter(is_there);
        found.extend(there.map(|from| (table.to_owned(), from.clone(), rows.table.clone())));
    }
}

/// Reads what the checks need of these tables.
async fn read<E: DescribedSql>(tx: &mut E::Connection, names: &[String]) -> Result<LiveSchema, Fault> {
    let values = [Value::Texts(names)];
    let mut live = LiveSchema::default();
    for row in tx.rows(E::TABLES, &values, WHAT).await? {
        let handle = row.flag("handle")?.then_some(E::HANDLE);
        let table = LiveTable {
            other: row.text("other")?,
            hides: row.flag("hides")?,
            handle,
            ..LiveTable::default()
        };
        live.tables.insert(text(&row, "name")?, table);
    }
    for row in tx.rows(E::COLUMNS, &values, WHAT).await? {
        let column = LiveColumn {
            name: text(&row, "column_name")?,
            sql_type: text(&row, "column_type")?,
            is_never_null: row.flag("is_never_null")?,
        };
        live.tables.entry(text(&row, "name")?).or_default().columns.push(column);
    }
    for row in tx.rows(E::INDEXES, &values, WHAT).await? {
        let index = LiveIndex {
            columns: list(&row, "columns")?,
            is_unique: row.flag("is_unique")?,
            is_primary: row.flag("is_primary")?,
            is_whole: row.flag("is_whole")?,
        };
        if let Some(table) = live.tables.get_mut(&text(&row, "name")?) {
            table.indexes.push(index);
        }
    }
    for row in tx.rows(E::TRIGGERS, &values, WHAT).await? {
        if let Some(table) = live.tables.get_mut(&text(&row, "name")?) {
            table.triggers.push(text(&row, "what")?);
        }
    }
    live.foreign_keys = foreign_keys::<E>(tx, names).await?;
    Ok(live)
}

/// The foreign keys into these tables.
pub(super) async fn foreign_keys<E: DescribedSql>(
    tx: &mut E::Connection,
    names: &[String],
) -> Result<Vec<ForeignKey>, Fault> {
    let rows = tx.rows(E::FOREIGN_KEYS, &[Value::Texts(names)], WHAT).await?;
    let key = |row: &_| {
        Ok(ForeignKey {
            table: text(row, "from_table")?,
            table_sql: text(row, "from_sql")?,
            columns: list(row, "from_columns")?,
            to_table: text(row, "to_table")?,
            to_columns: list(row, "to_columns")?,
            on_delete: on_delete(&text(row, "action")?),
            is_indexed: Cells::flag(row, "is_indexed")?,
        })
    };
    rows.iter().map(key).collect()
}

/// In the words of SQLite, or the letters of PostgreSQL.
fn on_delete(action: &str) -> OnDelete {
    match action {
        "c" | "cascade" => OnDelete::Cascade,
        "n" | "d" | "set null" | "set default" => OnDelete::Clear,
        _ => OnDelete::Refuse,
    }
}

fn text(row: &impl Cells, column: &str) -> Result<String, Fault> {
    Ok(row.text(column)?.unwrap_or_default())
}

fn list(row: &impl Cells, column: &str) -> Result<Vec<String>, Fault> {
    let json = text(row, column)?;
    serde_json::from_str(&json)
        .map_err(|error| Fault::new(FaultKind::Permanent, format!("{WHAT}: `{json}`")).because(error))
}
