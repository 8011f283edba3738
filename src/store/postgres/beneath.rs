//! Tables that have more rows than `receipts` or `attachments` shows, and the parts of queries that look for what needs an
//! attachment there: other documents that refer to it, and other files of its key.

use sqlx::{AssertSqlSafe, PgConnection};

use super::beneath_sql::WIDER;
use super::fault::During;
use super::statement::{Tx, query, scalar, tuples};
use crate::fault::Fault;
use crate::store::deletion::StepFault;
use crate::store::keep_rules::text;

/// The action named in errors.
const LOOK: &str = "look beneath receipts and attachments";
/// The reason why attachments cannot be judged.
pub(super) const UNSEEN: &str = "receipts or attachments is a part of a wider table, whose other rows may need them and cannot be looked at; \
    `tikkun doctor` names it";
/// The reason why an attachment stays whose object is needed after its row is gone from view.
const NEEDED: &str = "a row in the wider table of which receipts or attachments is a part still needs it or its object, as where to \
    delete it only hides it; `tikkun doctor` names that table";

/// A table that may have more rows than are shown.
struct Wider {
    /// Than receipts show, not attachments.
    of_receipts: bool,
    /// As SQL writes it.
    table: String,
    /// As people do.
    shown: String,
    /// Whether a view shows only a part of it.
    viewed: bool,
    /// Whether it has the columns that may need an attachment.
    fits: bool,
    /// Whether we see and may lock all its rows.
    open: bool,
}

/// The row of such a table.
type Listed = (bool, String, String, bool, bool, bool);

impl From<Listed> for Wider {
    fn from((of_receipts, table, shown, viewed, fits, open): Listed) -> Self {
        Self { of_receipts, table, shown, viewed, fits, open }
    }
}

/// Those tables; mostly there are none.
#[derive(Default)]
pub(super) struct Beneath {
    /// Those that have what receipts show, and more.
    documents: Vec<Wider>,
    /// Those that have what attachments show, and more.
    files: Vec<Wider>,
    /// One whose rows may need any attachment, and that cannot be looked into.
    pub(super) unseen: Option<String>,
}

impl Beneath {
    /// Lists them.
    pub(super) async fn look(tx: &mut PgConnection) -> Result<Self, Fault> {
        let listed: Vec<Listed> = tuples(WIDER).fetch_all(tx).await.during(LOOK)?;
        Ok(Self::of(listed.into_iter().map(Wider::from).collect()))
    }

    fn of(tables: Vec<Wider>) -> Self {
        let (documents, files): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.of_receipts);
        let unseen = unseen(&documents).or_else(|| unseen(&files));
        let seen = |tables: Vec<Wider>| tables.into_iter().filter(|table| table.fits && table.open).collect();
        Self { documents: seen(documents), files: seen(files), unseen }
    }

    /// What needs the attachment `a`, as branches of a case: each row that is shown is one of the wider table, so that it has
    /// others if it has more of them. `receipts` has all receipts that point to `a`.
    pub(super) fn kept(&self, receipts: &str) -> String {
        let pointing = self.documents.iter().flat_map(|Wider { table, shown, .. }| {
            ["attachment_id", "preview_attachment_id"].map(|column| {
                let live = format!("w where w.{column} = a.id and w.is_deleted is not true");
                let name = text(&format!("{shown}.{column}"));
                format!(
                    "when (select count(*) from {table} {live}) <> (select count(*) from {receipts} {live})
             then {name} "
                )
            })
        });
        let sharing = self.files.iter().map(|Wider { table, shown, .. }| {
            let name = text(&format!("{shown}.storage_path"));
            format!(
                "when a.storage_path <> '' and (select count(*) from {table} o where o.storage_path = a.storage_path)
                    <> (select count(*) from attachments o where o.storage_path = a.storage_path)
             then {name} "
            )
        });
        pointing.chain(sharing).collect()
    }

    /// Those of the attachments `$2` to which deleted rows point, which may be revived, as an array.
    pub(super) fn revivable(&self) -> String {
        let pointing: Vec<String> = self
            .documents
            .iter()
            .flat_map(|Wider { table, .. }| {
                ["attachment_id", "preview_attachment_id"].map(|column| {
                    format!(
                        "select {column}::bigint as id from {table}
                 where {column} = any((select $2::bigint[])::bigint[]) and is_deleted is true"
                    )
                })
            })
            .collect();
        match pointing.as_slice() {
            [] => "array[]::bigint[]".to_owned(),
            some => format!("array({})", some.join("\n                 union ")),
        }
    }

    /// Locks deleted rows that point to these attachments, so that they cannot be revived before our commit.
    pub(super) async fn lock_dead(&self, tx: &mut Tx, attachments: &[i64]) -> Result<(), Fault> {
        for Wider { table, .. } in &self.documents {
            let sql = format!(
                "select 1 from {table} t where {} and is_deleted is true order by t.tableoid, t.ctid for no key update",
                points_to("$1")
            );
            query(AssertSqlSafe(sql)).bind(attachments).execute(&mut **tx).await.during(LOOK)?;
        }
        Ok(())
    }

    /// Fails if, after the change, an attachment that went is still there, a row has its key, or a live one points to it.
    pub(super) async fn let_go(
        &self,
        tx: &mut Tx,
        keys: &[&str],
        attachments: &[i64],
    ) -> Result<(), StepFault> {
        let pointing = self.documents.iter().map(|Wider { table, .. }| {
            format!("exists (select 1 from {table} where {} and is_deleted is not true)", points_to("$1"))
        });
        let having = self.files.iter().map(|Wider { table, .. }| {
            format!(
                "exists (select 1 from {table} where id = any((select $1::bigint[])::bigint[]))
        or exists (select 1 from {table} where storage_path = any((select $2::text[])::text[]))"
            )
        });
        let needed: Vec<String> = pointing.chain(having).collect();
        if needed.is_empty() || attachments.is_empty() {
            return Ok(());
        }
        let sql = format!("select {} and $1::bigint[] is not null and $2::text[] is not null", any(&needed));
        let look = scalar(AssertSqlSafe(sql)).bind(attachments).bind(keys);
        let needed: bool = look.fetch_one(&mut **tx).await.during(LOOK)?;
        if needed { Err(StepFault::Refused(NEEDED.to_owned())) } else { Ok(()) }
    }
}

/// The condition that a row points to one of the attachments in `ids`, by either column.
fn points_to(ids: &str) -> String {
    let of = format!("any((select {ids}::bigint[])::bigint[])");
    format!("(attachment_id = {of} or preview_attachment_id = {of})")
}

fn any(conditions: &[String]) -> String {
    format!("({})", conditions.join("\n        or "))
}

/// One that is not open to us. Of what a view shows, one must have the columns: else they have other names there.
fn unseen(tables: &[Wider]) -> Option<String> {
    let fits = tables.iter().any(|table| table.fits);
    let unseen = |table: &&Wider| if table.fits { !table.open } else { table.viewed && !fits };
    tables.iter().find(unseen).map(|table| table.shown.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wider(of_receipts: bool, shown: &str, (viewed, fits, open): (bool, bool, bool)) -> Wider {
        Wider { of_receipts, table: format!("app.{shown}"), shown: shown.into(), viewed, fits, open }
    }

    #[test]
    fn tables_without_the_columns_are_unseen_only_where_none_beneath_a_view_has_them() {
        let of = |tables: Vec<Wider>| Beneath::of(tables).unseen;
        let documents = || wider(true, "documents", (true, true, true));
        assert_eq!(of(vec![]), None);
        assert_eq!(of(vec![wider(true, "tenants", (true, false, false)), documents()]), None);
        assert_eq!(of(vec![wider(true, "audited", (false, false, false))]), None, "it inherits from it");
        assert_eq!(
            of(vec![documents(), wider(false, "objects", (true, false, true))]).as_deref(),
            Some("objects")
        );
        assert_eq!(of(vec![wider(true, "secret", (false, true, false))]).as_deref(), Some("secret"));
    }
}
