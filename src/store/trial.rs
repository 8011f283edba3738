//! The port for trial rows: the test data of a demonstration, and the counts afterwards.
//!
//! It shares no statement with the deletion, so that its counts are an independent check.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;

use crate::fault::Fault;

/// A row of `attachments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialAttachment {
    /// Its id, not yet used in the table.
    pub id: i64,
    /// The tenant.
    pub business_id: i64,
    /// For example `receipt_source`.
    pub purpose: &'static str,
    /// The object's key.
    pub storage_path: String,
    /// The object's size in bytes.
    pub file_size: i64,
    /// The purpose of the row; written to `origin_module`.
    pub label: &'static str,
}

/// A row of `receipts` that is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialReceipt {
    /// Its id; `None`: the next free one.
    pub id: Option<i64>,
    /// The tenant.
    pub business_id: i64,
    /// The attachment that it points to.
    pub attachment_id: Option<i64>,
    /// The preview attachment that it points to.
    pub preview_attachment_id: Option<i64>,
    /// The purpose of the row; written to `source`.
    pub label: &'static str,
}

/// Receipts of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptCount {
    /// Not deleted.
    pub live: u64,
    /// Marked as deleted, with a time of deletion.
    pub deleted: u64,
    /// Existing attachments that live receipts point to.
    pub pointed: u64,
}

/// The port for trial rows.
#[async_trait]
pub trait TrialData: Send + Sync {
    /// Inserts all or none.
    async fn insert_attachments(&self, rows: &[TrialAttachment]) -> Result<(), Fault>;

    /// Inserts, in one transaction, each receipt whose attachments still exist; returns how many.
    async fn insert_receipts(&self, rows: &[TrialReceipt]) -> Result<u64, Fault>;

    /// Counts of receipts by label.
    async fn count_receipts(&self) -> Result<BTreeMap<String, ReceiptCount>, Fault>;

    /// Counts of attachments by label.
    async fn count_attachments(&self) -> Result<BTreeMap<String, u64>, Fault>;

    /// Distinct keys of attachments after the key `after`, in order, at most `max`.
    async fn keys(&self, after: &str, max: u32) -> Result<Vec<String>, Fault>;
}
