//! The port for trial rows: what a demonstration puts into the tables, and how it counts afterwards.
//!
//! It shares no statement with the deletion, so that its counts can contradict it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;

use crate::fault::Fault;

/// A row of `attachments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialAttachment {
    /// Its id, new in the table.
    pub id: i64,
    /// The tenant.
    pub business_id: i64,
    /// For example `receipt_source`.
    pub purpose: &'static str,
    /// The object's key.
    pub storage_path: String,
    /// The object's size in bytes.
    pub file_size: i64,
    /// Why the row is there; goes into `origin_module`.
    pub label: &'static str,
}

/// A row of `receipts` that is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialReceipt {
    /// Its id; none: the next one.
    pub id: Option<i64>,
    /// The tenant.
    pub business_id: i64,
    /// What it points to.
    pub attachment_id: Option<i64>,
    /// What else it points to.
    pub preview_attachment_id: Option<i64>,
    /// Why the row is there; goes into `source`.
    pub label: &'static str,
}

/// Receipts of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptCount {
    /// Not deleted.
    pub live: u64,
    /// Marked as deleted, with the time of it.
    pub deleted: u64,
    /// Attachments that live ones point to and that are there.
    pub pointed: u64,
}

/// The port.
#[async_trait]
pub trait TrialData: Send + Sync {
    /// Inserts all or none.
    async fn insert_attachments(&self, rows: &[TrialAttachment]) -> Result<(), Fault>;

    /// Inserts, in one transaction, each receipt whose attachments are still there; says how many.
    async fn insert_receipts(&self, rows: &[TrialReceipt]) -> Result<u64, Fault>;

    /// Receipts by label.
    async fn count_receipts(&self) -> Result<BTreeMap<String, ReceiptCount>, Fault>;

    /// Attachments by label.
    async fn count_attachments(&self) -> Result<BTreeMap<String, u64>, Fault>;

    /// Keys of attachments, each once, in order, at most `max`, behind the key `after`.
    async fn keys(&self, after: &str, max: u32) -> Result<Vec<String>, Fault>;
}
