//! Reading a row of the clean-up outbox, whatever the database.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::outbox::OutboxRow;
use super::row::{self, Cells};
use crate::blob::BlobTarget;
use crate::fault::{Fault, FaultKind};
use crate::job::{BackgroundJobId, BusinessId};

/// The row as values.
pub(super) fn outbox_row(found: &impl Cells) -> Result<OutboxRow, Fault> {
    let text = |column| found.text(column).map(Option::unwrap_or_default);
    let at = |column| {
        found
            .time(column)?
            .ok_or_else(|| Fault::new(FaultKind::Permanent, format!("a row of the outbox has no {column}")))
    };
    Ok(OutboxRow {
        id: found.needed("id")?,
        job: BackgroundJobId(found.needed("background_job_id")?),
        business_id: BusinessId(found.needed("business_id")?),
        target: BlobTarget { driver: text("driver")?, bucket: text("bucket")? },
        key: text("key")?,
        bytes: found.number("bytes")?,
        condemned_at: at("condemned_at")?,
        attempts: row::count(found, "attempts")?,
        next_try_at: at("next_try_at")?,
        parked_at: found.time("parked_at")?,
        last_error: found.text("last_error")?,
    })
}

/// A delay too long for a calendar becomes ten years, which sorts behind every other.
pub(super) fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let decade = chrono::Duration::days(3650);
    now + chrono::Duration::from_std(by).map_or(decade, |by| by.min(decade))
}
