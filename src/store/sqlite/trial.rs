//! The port for trial rows on SQLite: one statement for any number of rows.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::connection::Database;
use super::fault::During;
use super::list;
use crate::fault::Fault;
use crate::store::sql::engine::{Connection as _, Engine as _, Value};
use crate::store::{ReceiptCount, TrialAttachment, TrialData, TrialReceipt};

/// Inserts all rows of the list or none.
const INSERT_ATTACHMENTS: &str = "
    insert into attachments
        (id, business_id, filename_original, mime_type, file_size, storage_path, purpose, origin_module, created_at)
    select value ->> 'id', value ->> 'business_id', 'trial', 'application/octet-stream', value ->> 'file_size',
           value ->> 'storage_path', value ->> 'purpose', value ->> 'label', ?2
    from json_each(?1)";

/// Inserts rows whose attachments exist. The transaction is the only writer, so they exist until its commit.
const INSERT_RECEIPTS: &str = "
    insert into receipts
        (id, business_id, source, vendor_name, amount, currency, status, attachment_id, preview_attachment_id,
         received_at, created_at)
    select r.value ->> 'id', r.value ->> 'business_id', r.value ->> 'label', 'Trial Ltd', 12.34, 'ILS', 'new',
           r.value ->> 'attachment_id', r.value ->> 'preview_attachment_id', ?2, ?2
    from json_each(?1) r
    where (r.value ->> 'attachment_id' is null
           or exists (select 1 from attachments a where a.id = r.value ->> 'attachment_id'))
      and (r.value ->> 'preview_attachment_id' is null
           or exists (select 1 from attachments a where a.id = r.value ->> 'preview_attachment_id'))";

/// Counts in one pass over the table; an attachment counts only if it exists.
const COUNT_RECEIPTS: &str = "
    select coalesce(r.source, ''), sum(not coalesce(r.is_deleted, 0)),
           sum(coalesce(r.is_deleted, 0) and r.deleted_at is not null),
           sum(case when coalesce(r.is_deleted, 0) then 0 else (a.id is not null) + (p.id is not null) end)
    from receipts r
    left join attachments a on a.id = r.attachment_id
    left join attachments p on p.id = r.preview_attachment_id
    group by 1";

/// Counts in one pass over the table.
const COUNT_ATTACHMENTS: &str = "select coalesce(origin_module, ''), count(*) from attachments group by 1";

/// A page of keys, read from their index alone.
const KEYS: &str = "
    select distinct storage_path from attachments
    where storage_path > ?1 order by storage_path limit ?2";

/// Trial rows in one file.
pub(super) struct SqliteTrial(pub(super) Database);

impl SqliteTrial {
    async fn insert(&self, statement: &'static str, rows: String, what: &str) -> Result<u64, Fault> {
        let mut tx = self.0.writing(what).await?;
        let inserted = tx.run(statement, &[rows.as_str().into(), Value::Now], what).await?;
        Database::commit(tx, what).await?;
        Ok(inserted)
    }
}

#[async_trait]
impl TrialData for SqliteTrial {
    async fn insert_attachments(&self, rows: &[TrialAttachment]) -> Result<(), Fault> {
        self.insert(INSERT_ATTACHMENTS, list::json(rows)?, "insert trial attachments").await.map(|_| ())
    }

    async fn insert_receipts(&self, rows: &[TrialReceipt]) -> Result<u64, Fault> {
        self.insert(INSERT_RECEIPTS, list::json(rows)?, "insert trial receipts").await
    }

    async fn count_receipts(&self) -> Result<BTreeMap<String, ReceiptCount>, Fault> {
        let rows: Vec<(String, i64, i64, i64)> =
            sqlx::query_as(COUNT_RECEIPTS).fetch_all(self.0.read()).await.during("count trial receipts")?;
        let count = |(label, live, deleted, pointed): (String, i64, i64, i64)| {
            let [live, deleted, pointed] = [live, deleted, pointed].map(i64::unsigned_abs);
            (label, ReceiptCount { live, deleted, pointed })
        };
        Ok(rows.into_iter().map(count).collect())
    }

    async fn count_attachments(&self) -> Result<BTreeMap<String, u64>, Fault> {
        let rows: Vec<(String, i64)> = sqlx::query_as(COUNT_ATTACHMENTS)
            .fetch_all(self.0.read())
            .await
            .during("count trial attachments")?;
        Ok(rows.into_iter().map(|(label, count)| (label, count.unsigned_abs())).collect())
    }

    async fn keys(&self, after: &str, max: u32) -> Result<Vec<String>, Fault> {
        sqlx::query_scalar(KEYS)
            .bind(after)
            .bind(max)
            .fetch_all(self.0.read())
            .await
            .during("list keys of trial attachments")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::open_trial;

    fn receipt(id: i64, attachment: Option<i64>) -> TrialReceipt {
        TrialReceipt {
            id: Some(id),
            business_id: 7,
            attachment_id: attachment,
            preview_attachment_id: None,
            label: "asked",
        }
    }

    #[tokio::test]
    async fn receipts_are_inserted_only_while_their_attachments_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let trial = open_trial(&folder.path().join("t.db")).await.unwrap();
        let attachment = TrialAttachment {
            id: 1,
            business_id: 7,
            purpose: "receipt_source",
            storage_path: "7/receipt_source/2025/01/1.pdf".into(),
            file_size: 3,
            label: "plain",
        };
        trial.insert_attachments(&[attachment]).await.unwrap();
        let rows = [receipt(1, Some(1)), receipt(2, Some(2)), receipt(3, None)];
        assert_eq!(trial.insert_receipts(&rows).await.unwrap(), 2);
        let counted = trial.count_receipts().await.unwrap();
        assert_eq!(counted.get("asked"), Some(&ReceiptCount { live: 2, deleted: 0, pointed: 1 }));
        assert_eq!(trial.count_attachments().await.unwrap().get("plain"), Some(&1));
        assert_eq!(trial.keys("", 9).await.unwrap(), ["7/receipt_source/2025/01/1.pdf"]);
        assert!(trial.keys("8", 9).await.unwrap().is_empty());
    }
}
