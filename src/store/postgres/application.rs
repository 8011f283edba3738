//! The tables of the web application, with the columns that our statements use.

use sqlx::{Postgres, Transaction};

use super::fault::During;
use super::statement::scalar;
use crate::fault::Fault;

/// The application's tables with the columns that our statements name.
pub(super) const NEEDED: [(&str, &[&str]); 3] = [
    (
        "background_jobs",
        &[
            "id",
            "business_id",
            "requested_by_user_id",
            "job_type",
            "status",
            "total",
            "processed",
            "succeeded",
            "failed_count",
            "last_error",
            "cursor",
            "created_at",
            "updated_at",
            "started_at",
            "finished_at",
            "heartbeat_at",
        ],
    ),
    (
        "receipts",
        &[
            "id",
            "business_id",
            "attachment_id",
            "preview_attachment_id",
            "is_deleted",
            "deleted_at",
            "created_at",
            "updated_at",
        ],
    ),
    ("attachments", &["id", "business_id", "purpose", "storage_path", "file_size"]),
];

/// The application's tables that exist.
const TABLES: &str = "
    select t.name from unnest($1::text[]) with ordinality as t (name, at)
    where to_regclass(t.name) is not null order by t.at";

/// Lists the application's tables that exist.
pub(super) async fn present(tx: &mut Transaction<'_, Postgres>, what: &str) -> Result<Vec<String>, Fault> {
    scalar(TABLES).bind(names()).fetch_all(&mut **tx).await.during(what)
}

/// The names of the tables.
pub(super) fn names() -> Vec<&'static str> {
    NEEDED.iter().map(|(table, _)| *table).collect()
}
