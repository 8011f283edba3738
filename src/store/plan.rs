//! What a deletion would do if it were requested now, and its expected duration.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::blob::BlobTarget;
use crate::job::background::LeftAlone;

/// A preview of a deletion. It is valid at the moment of the query, and only if the database refuses no row,
/// which cannot be known without trying.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletionPlan {
    /// Receipts that would be marked as deleted.
    pub receipts: u64,
    /// Attachments whose rows would be dropped.
    pub attachments: u64,
    /// Objects that would be deleted; an attachment without a key has none.
    pub objects: u64,
    /// Their size in bytes, as far as the rows have it.
    pub bytes: u64,
    /// Attachments of those receipts that would stay, counted by the first reason.
    pub kept: Vec<(Kept, u64)>,
    /// The store of the objects.
    pub target: BlobTarget,
    /// Receipts per second of the tenant's last completed deletion, pauses included.
    pub last_rate: Option<f64>,
    /// What the tenant's newest deletion leaves alone; a new request would include it.
    pub left_alone: Option<LeftAlone>,
}

/// Why an attachment would stay, in the order in which reasons are checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// It belongs to another business.
    OtherBusiness,
    /// It has another purpose than a receipt's source or preview.
    ForeignPurpose,
    /// A live receipt that stays points to it.
    LiveReceipt,
    /// Another attachment has the same storage path.
    SharedPath,
    /// A table that we do not know refers to it, as `table.column`.
    Reference(String),
}

impl Kept {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherBusiness => "other_business",
            Self::ForeignPurpose => "foreign_purpose",
            Self::LiveReceipt => "live_receipt",
            Self::SharedPath => "shared_path",
            Self::Reference(_) => "unknown_reference",
        }
    }

    /// The reason as text for users.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::OtherBusiness => "belongs to another business".to_owned(),
            Self::ForeignPurpose => "has another purpose".to_owned(),
            Self::LiveReceipt => "shared with a live receipt of another tenant".to_owned(),
            Self::SharedPath => "shares its storage path".to_owned(),
            Self::Reference(column) => format!("{column} refers to it"),
        }
    }
}

/// The expected duration of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The number of batches.
    pub batches: u64,
    /// The duration in seconds.
    pub seconds: f64,
    /// The source of the figure: `last_rate`, or `throttle`, which gives a lower bound.
    pub basis: &'static str,
}

impl DeletionPlan {
    /// The plan and its duration as JSON.
    #[must_use]
    pub fn to_json(&self, estimate: &Estimate) -> Value {
        let kept = self.kept.iter().map(|(reason, count)| {
            let reference = match reason {
                Kept::Reference(column) => Some(column),
                _ => None,
            };
            json!({ "reason": reason.code(), "reference": reference, "count": count })
        });
        json!({
            "receipts": self.receipts,
            "attachments": self.attachments,
            "objects": self.objects,
            "bytes": self.bytes,
            "kept": kept.collect::<Value>(),
            "storage": self.target,
            "left_alone": self.left_alone,
            "estimate": estimate,
        })
    }

    /// The duration with batches of `batch` receipts and a pause of `throttle` between them.
    #[must_use]
    pub fn estimate(&self, batch: u32, throttle: Duration) -> Estimate {
        let batches = self.receipts.div_ceil(u64::from(batch.max(1)));
        let resting = throttle.as_secs_f64() * batches.saturating_sub(1) as f64;
        match self.last_rate.filter(|rate| *rate > 0.0) {
            Some(rate) => {
                let seconds = resting.max(self.receipts as f64 / rate);
                Estimate { batches, seconds, basis: "last_rate" }
            }
            None => Estimate { batches, seconds: resting, basis: "throttle" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(receipts: u64, last_rate: Option<f64>) -> DeletionPlan {
        let target = BlobTarget { driver: "local".into(), bucket: "b".into() };
        let (kept, left_alone) = (Vec::new(), None);
        DeletionPlan { receipts, attachments: 0, objects: 0, bytes: 0, kept, target, last_rate, left_alone }
    }

    #[test]
    fn the_last_rate_tells_the_time_but_never_less_than_the_rests() {
        let rest = Duration::from_millis(200);
        let at = |receipts, rate| plan(receipts, rate).estimate(50, rest);
        let expected = Estimate { batches: 20, seconds: 100.0, basis: "last_rate" };
        assert_eq!(at(1000, Some(10.0)), expected);
        assert!((at(1000, Some(1e9)).seconds - 3.8).abs() < 1e-9);
        assert_eq!(at(51, None), Estimate { batches: 2, seconds: 0.2, basis: "throttle" });
        assert_eq!(at(0, None), Estimate { batches: 0, seconds: 0.0, basis: "throttle" });
    }
}
