//! What a certificate says.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The form of the record; another one has another name.
pub const FORMAT: &str = "tikkun.certificate.1";

/// The record of one deletion that has ended. Ids are texts, since not every reader of JSON keeps large numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// [`FORMAT`].
    pub format: String,
    /// Its place in the chain, from 1.
    pub sequence: u64,
    /// The hash of the certificate before it, zeros for the first.
    pub previous: String,
    /// The public key that signs it; `None`: it is unsigned.
    pub key: Option<String>,
    /// When it was issued.
    #[schema(value_type = String)]
    pub issued_at: DateTime<Utc>,
    /// The version of Tikkun that issued it.
    pub version: String,
    /// Whether storage owes nothing of it any more; otherwise it is provisional.
    pub r#final: bool,
    /// What was asked, and how it ended.
    pub deletion: CertifiedDeletion,
    /// The rows that are gone, by table.
    pub tables: Vec<CertifiedTable>,
    /// The objects in storage.
    pub objects: ObjectCounts,
    /// The rows that stay, and why.
    pub kept: Vec<KeptRows>,
    /// The receipts that the database refused to change.
    pub set_aside: i64,
    /// Whether counts are missing, because a program did a part of the deletion that does not count: an earlier version,
    /// or the application's own job.
    pub counts_missing: bool,
}

/// What was asked, by whom and when, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertifiedDeletion {
    /// The id of the row in `background_jobs`.
    pub id: String,
    /// Its type.
    pub r#type: String,
    /// The id of the tenant.
    pub tenant: String,
    /// The id of the user who asked for it, if known.
    pub requester: Option<String>,
    /// `completed`, `failed` or `cancelled`.
    pub outcome: String,
    /// When it was asked for.
    #[schema(value_type = Option<String>)]
    pub requested_at: Option<DateTime<Utc>>,
    /// When its first attempt began.
    #[schema(value_type = Option<String>)]
    pub first_moment: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(value_type = Option<String>)]
    pub last_moment: Option<DateTime<Utc>>,
    /// The number of attempts.
    pub attempts: u32,
}

/// The rows of one table that are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertifiedTable {
    /// The table.
    pub table: String,
    /// The SHA-256 of the canonical JSON of the condition that chose them.
    pub condition: String,
    /// How many.
    pub rows: Option<i64>,
}

/// The objects of a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObjectCounts {
    /// Deleted from storage.
    pub deleted: Option<i64>,
    /// Still to be deleted, those included that a person has parked.
    pub owed: i64,
    /// Of those owed, the ones that a person has parked.
    pub parked: i64,
    /// Left alone, because a row of attachments had their place in storage again.
    pub needed_again: Option<i64>,
}

/// Rows of one table that stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptRows {
    /// The table.
    pub table: String,
    /// How many.
    pub rows: i64,
    /// Why.
    pub why: WhyKept,
}

/// Why rows stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyKept {
    /// They are, or may be, newer than the request.
    Newer,
    /// A table that Tikkun does not know refers to them.
    Referenced,
    /// The database let nobody delete or check them.
    Refused,
}
