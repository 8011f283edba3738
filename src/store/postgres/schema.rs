//! Checks required tables and columns and recommended indexes, and reports everything missing at once.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection};

use super::application::{self, NEEDED, names};
use super::fault::During;
use super::migrations;
use super::statement::{scalar, tuples};
use crate::fault::{Fault, FaultKind};
use crate::store::Schema;

/// The columns of tables on the search path; a missing table has none.
const COLUMNS: &str = "
    select t.name, a.attname::text
    from unnest($1::text[]) as t (name)
    join pg_attribute a on a.attrelid = to_regclass(t.name) and a.attnum > 0 and not a.attisdropped";

/// Columns that we read or write as texts and that are none, with their types.
const NO_TEXTS: &str = "
    select t.name || '.' || a.attname::text, format_type(a.atttypid, null)
    from unnest($1::text[], $2::text[]) as t (name, of_text)
    join pg_attribute a on a.attrelid = to_regclass(t.name) and a.attname = t.of_text and not a.attisdropped
    join pg_type y on y.oid = a.atttypid
    where y.typcategory <> 'S'";

/// Columns whose values are texts.
const TEXTS: [(&str, &str); 5] = [
    ("background_jobs", "job_type"),
    ("background_jobs", "status"),
    ("background_jobs", "last_error"),
    ("background_jobs", "cursor"),
    ("attachments", "storage_path"),
];

/// Valid indexes of tables: columns in their order, whether unique, the condition.
const INDEXES: &str = "
    select t.name, i.indisunique, coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
           array(select coalesce(a.attname::text, '')
                 from unnest(i.indkey::smallint[]) with ordinality as k (attnum, at)
                 left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                 order by k.at)
    from unnest($1::text[]) as t (name)
    join pg_index i on i.indrelid = to_regclass(t.name) and i.indisvalid";

/// Columns of receipts with their own foreign key to attachments.
const HELD: &str = "
    select a.attname::text
    from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)
    where c.contype = 'f' and c.conrelid = to_regclass('receipts') and c.confrelid = to_regclass('attachments')";

/// An index that our statements or the foreign keys need to be fast.
struct Wanted {
    table: &'static str,
    columns: &'static [&'static str],
    unique: bool,
    /// Its condition, if it has one, must contain one of these words.
    condition: &'static [&'static str],
    made_by: &'static str,
    else_: &'static str,
}

const WANTED: [Wanted; 5] = [
    Wanted {
        table: "receipts",
        columns: &["business_id", "id"],
        unique: false,
        condition: &["is_deleted IS NOT TRUE"],
        made_by: "create index concurrently idx_receipts_live on receipts (business_id, id) where is_deleted is not true",
        else_: "each batch has to look for its receipts",
    },
    Wanted {
        table: "receipts",
        columns: &["attachment_id"],
        unique: false,
        condition: &["attachment_id IS NOT NULL"],
        made_by: "create index concurrently idx_receipts_attachment on receipts (attachment_id)",
        else_: "each attachment that goes reads all receipts",
    },
    Wanted {
        table: "receipts",
        columns: &["preview_attachment_id"],
        unique: false,
        condition: &["preview_attachment_id IS NOT NULL"],
        made_by: "create index concurrently idx_receipts_preview_attachment on receipts (preview_attachment_id)",
        else_: "each attachment that goes reads all receipts",
    },
    Wanted {
        table: "attachments",
        columns: &["storage_path"],
        unique: false,
        condition: &["storage_path IS NOT NULL"],
        made_by: "create index concurrently idx_attachments_storage_path on attachments (storage_path)",
        else_: "each attachment that goes reads all attachments",
    },
    Wanted {
        table: "background_jobs",
        columns: &["business_id", "job_type"],
        unique: true,
        condition: &["status"],
        made_by: "create unique index concurrently idx_background_jobs_unique_active on background_jobs \
                  (business_id, job_type) where status in ('queued', 'running', 'paused')",
        else_: "two requests at once can make two deletions of one business",
    },
];

/// An existing index.
struct Found {
    table: String,
    unique: bool,
    condition: String,
    columns: Vec<String>,
}

impl Wanted {
    fn is(&self, found: &Found) -> bool {
        let leads = found
            .columns
            .iter()
            .map(String::as_str)
            .take(self.columns.len())
            .eq(self.columns.iter().copied());
        let fits = if self.unique {
            found.unique && found.columns.len() == self.columns.len()
        } else {
            found.condition.is_empty()
        };
        let conditioned = self.condition.iter().any(|word| found.condition.contains(word));
        found.table == self.table && leads && (fits || (!self.unique && conditioned))
    }
}

/// Migrates our tables or checks them, as `schema` says, and reports what is missing of the application's.
pub(super) async fn look_after(
    connection: &mut PgConnection,
    place: &str,
    schema: Schema,
) -> Result<(), Fault> {
    let mut missing = missing(connection, place).await?;
    if missing.is_empty() || schema == Schema::MigrateOrWarn {
        match schema {
            Schema::Migrate | Schema::MigrateOrWarn => {
                migrations::bring_up_to_date(connection, place).await?;
            }
            Schema::Require | Schema::Warn => missing.extend(outdated(connection, place).await?),
        }
    }
    if missing.is_empty() {
        return tell_slow_ways(connection, place).await;
    }
    let text = format!(
        "the database {place} lacks {}: is this the database that was meant? The application's tables are never \
         made here, and ours by `tikkun migrate`",
        missing.join(", ")
    );
    match schema {
        Schema::Migrate | Schema::Require => Err(Fault::new(FaultKind::Permanent, text)),
        Schema::Warn | Schema::MigrateOrWarn => {
            tracing::warn!("{text}");
            Ok(())
        }
    }
}

/// Tables and columns of the application that are not there, or not as text.
async fn missing(connection: &mut PgConnection, place: &str) -> Result<Vec<String>, Fault> {
    let what = format!("look at the tables of {place}");
    let mut tx = connection.begin().await.during(&what)?;
    let tables = application::present(&mut tx, &what).await?;
    let columns: Vec<(String, String)> =
        tuples(COLUMNS).bind(names()).fetch_all(&mut *tx).await.during(&what)?;
    let (of, texts): (Vec<&str>, Vec<&str>) = TEXTS.into_iter().unzip();
    let others: Vec<(String, String)> =
        tuples(NO_TEXTS).bind(of).bind(texts).fetch_all(&mut *tx).await.during(&what)?;
    tx.commit().await.during(&what)?;
    let columns: BTreeSet<(String, String)> = columns.into_iter().collect();
    let mut missing = Vec::new();
    for (table, needed) in NEEDED {
        if !tables.iter().any(|there| there == table) {
            missing.push(format!("the table {table}"));
            continue;
        }
        let gone =
            needed.iter().filter(|column| !columns.contains(&(table.to_owned(), (**column).to_owned())));
        missing.extend(gone.map(|column| format!("the column {table}.{column}")));
    }
    missing
        .extend(others.iter().map(|(column, other)| format!("the column {column} as text (it is {other})")));
    Ok(missing)
}

/// Describes what is missing of our own tables.
async fn outdated(connection: &mut PgConnection, place: &str) -> Result<Option<String>, Fault> {
    let pending = migrations::pending(connection, place).await?;
    let versions: Vec<String> = pending.iter().map(i64::to_string).collect();
    Ok((!versions.is_empty()).then(|| format!("version {} of the tables of Tikkun", versions.join(" and "))))
}

/// Warns of each missing index and foreign key without which everything works, but slower or less safely.
async fn tell_slow_ways(connection: &mut PgConnection, place: &str) -> Result<(), Fault> {
    let what = format!("look at the indexes of {place}");
    let mut tx = connection.begin().await.during(&what)?;
    let rows: Vec<(String, bool, String, Vec<String>)> =
        tuples(INDEXES).bind(names()).fetch_all(&mut *tx).await.during(&what)?;
    let held: Vec<String> = scalar(HELD).fetch_all(&mut *tx).await.during(&what)?;
    tx.commit().await.during(&what)?;
    let found: Vec<Found> = rows
        .into_iter()
        .map(|(table, unique, condition, columns)| Found { table, unique, condition, columns })
        .collect();
    for wanted in WANTED.iter().filter(|wanted| !found.iter().any(|found| wanted.is(found))) {
        tracing::warn!(
            "an index on {} ({}) is missing, so that {}; make it with: {};",
            wanted.table,
            wanted.columns.join(", "),
            wanted.else_,
            wanted.made_by
        );
    }
    for column in
        ["attachment_id", "preview_attachment_id"].iter().filter(|one| !held.iter().any(|it| it == *one))
    {
        tracing::warn!(
            "receipts.{column} has no foreign key onto attachments, so that a receipt that is linked to an \
             attachment in the very moment of its deletion cannot be seen; make it with: alter table receipts \
             add foreign key ({column}) references attachments (id) on delete set null;"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(columns: &[&str], unique: bool, condition: &str) -> Found {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Found { table: "receipts".into(), unique, condition: condition.into(), columns }
    }

    #[test]
    fn an_index_counts_only_when_our_statements_can_use_it() {
        let [live, attachment, ..] = &WANTED;
        assert!(live.is(&index(&["business_id", "id"], false, "")));
        assert!(live.is(&index(&["business_id", "id", "status"], false, "(is_deleted IS NOT TRUE)")));
        assert!(!live.is(&index(&["business_id", "created_at"], false, "")));
        assert!(!live.is(&index(&["business_id", "id"], false, "(status = 'new'::text)")));
        assert!(attachment.is(&index(&["attachment_id"], false, "(attachment_id IS NOT NULL)")));
        assert!(!attachment.is(&index(&["id", "attachment_id"], false, "")));
        assert!(!attachment.is(&index(&["attachment_id"], false, "(NOT is_deleted)")));
        let unique = Wanted { table: "receipts", ..WANTED[4] };
        assert!(unique.is(&index(&["business_id", "job_type"], true, "(status = ANY (…))")));
        assert!(!unique.is(&index(&["business_id", "job_type"], false, "")));
        assert!(!unique.is(&index(&["business_id", "job_type", "status"], true, "")));
    }
}
