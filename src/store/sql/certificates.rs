//! The port for certificates, on any SQL engine.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;

use super::engine::Connection as _;
use super::status_sql::{ONE, StatusSql};
use crate::certificate::{ChainHead, DeletionFacts, Issuer, Removed, Sealed};
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::BackgroundJobId;
use crate::job::background::DELETE_RECEIPTS_ALL;
use crate::store::Certificates;
use crate::store::row::{self, Cells};

/// Deletions that have ended without a certificate, or that have a provisional one and are owed nothing any more, by an
/// index that contains only such and those under way.
const DUE: &str = "
    select n.background_job_id as id
    from tikkun_background_jobs n join background_jobs j on j.id = n.background_job_id
    where n.certificate is not null and j.job_type = $1 and j.status in ('completed', 'failed', 'cancelled')
      and (n.certificate = 'due' or not exists (
          select 1 from tikkun_cleanup_outbox o where o.background_job_id = n.background_job_id))
    order by n.background_job_id limit $2";

/// What is known beside the row, as committed once the row is locked.
const FACTS: &str = "
    select n.certificate, n.receipts_counted, n.attachments_removed, n.attachments_referenced, n.objects_condemned,
           n.objects_needed,
           (select count(*) from tikkun_cleanup_outbox o where o.background_job_id = n.background_job_id) as owed,
           (select count(*) from tikkun_cleanup_outbox o
            where o.background_job_id = n.background_job_id and o.parked_at is not null) as parked
    from tikkun_background_jobs n where n.background_job_id = $1 and n.certificate is not null";

/// The end of the chain.
const HEAD: &str = "select sequence, hash from tikkun_certificates order by sequence desc limit 1";

/// Adds a certificate. The primary key holds the order: of two processes that add one to the same end, the second waits
/// for the first and adds nothing.
const ADD: &str = "
    insert into tikkun_certificates (sequence, background_job_id, certificate, hash, signature)
    values ($1, $2, $3, $4, $5) on conflict (sequence) do nothing";

/// Notes what is still to come, in the transaction of the certificate: each is issued once.
const NOTE: &str = "update tikkun_background_jobs set certificate = $2 where background_job_id = $1";

const NEWEST_OF: &str = "
    select certificate, hash, signature from tikkun_certificates
    where background_job_id = $1 order by sequence desc limit 1";

const CHAIN: &str = "
    select certificate, hash, signature from tikkun_certificates where sequence > $1 order by sequence limit $2";

/// The note of a deletion whose certificate was issued while storage owed objects.
const PROVISIONAL: &str = "provisional";

/// Certificates in one database.
pub(super) struct SqlCertificates<E>(pub(super) Arc<E>);

#[async_trait]
impl<E: StatusSql> Certificates for SqlCertificates<E> {
    async fn due(&self, max: u32) -> Result<Vec<BackgroundJobId>, Fault> {
        let values = [DELETE_RECEIPTS_ALL.into(), max.into()];
        let found = self.0.read_rows(DUE, &values, "look for certificates that are due").await?;
        found.iter().map(|row| row.needed("id").map(BackgroundJobId)).collect()
    }

    async fn issue(&self, id: BackgroundJobId, issuer: &Issuer) -> Result<Option<Sealed>, Fault> {
        let what = format!("issue the certificate of background job {id}");
        let mut tx = self.0.writing(&what).await?;
        let Some(facts) = facts::<E>(&mut tx, id, &what).await? else { return Ok(None) };
        let head = tx.first(HEAD, &[], &what).await?.as_ref().map(head).transpose()?.unwrap_or_default();
        let issued = issuer.issue(&head, &facts);
        let sealed =
            issued.map_err(|error| Fault::new(FaultKind::Permanent, what.as_str()).because(error))?;
        let values = [
            i64::try_from(head.length).unwrap_or(i64::MAX).saturating_add(1).into(),
            id.0.into(),
            sealed.text.as_str().into(),
            sealed.hash.as_str().into(),
            sealed.signature.as_deref().into(),
        ];
        if tx.run(ADD, &values, &what).await? == 0 {
            return Ok(None);
        }
        tx.run(NOTE, &[id.0.into(), (facts.owed > 0).then_some(PROVISIONAL).into()], &what).await?;
        failpoint::reach("certificate.before_commit");
        E::commit(tx, &what).await?;
        Ok(Some(sealed))
    }

    async fn newest_of(&self, id: BackgroundJobId) -> Result<Option<Sealed>, Fault> {
        let what = format!("read the certificate of background job {id}");
        let found = self.0.read_rows(NEWEST_OF, &[id.0.into()], &what).await?;
        found.first().map(sealed).transpose()
    }

    async fn chain(&self, after: u64, max: u32) -> Result<Vec<Sealed>, Fault> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let found = self.0.read_rows(CHAIN, &[after.into(), max.into()], "read the certificates").await?;
        found.iter().map(sealed).collect()
    }
}

/// What is known of a deletion, with its row locked; `None` if its certificate is not due.
async fn facts<E: StatusSql>(
    tx: &mut E::Connection,
    id: BackgroundJobId,
    what: &str,
) -> Result<Option<DeletionFacts>, Fault> {
    if let Some(lock) = E::LOCK {
        tx.run(lock, &[id.0.into()], what).await?;
    }
    let Some(job) = tx.first(ONE, &[id.0.into()], what).await?.as_ref().map(row::job).transpose()? else {
        return Ok(None);
    };
    let Some(found) = tx.first(FACTS, &[id.0.into()], what).await? else { return Ok(None) };
    let owed = found.needed("owed")?;
    let is_noted = found.text("certificate")?.as_deref() == Some(PROVISIONAL);
    if job.status.is_active() || (is_noted && owed > 0) {
        return Ok(None);
    }
    let now = match E::NOW {
        Some(sql) => row::now(&tx.one(sql, &[], what).await?)?,
        None => Utc::now(),
    };
    let removed = Removed {
        attachments: found.needed("attachments_removed")?,
        objects: found.needed("objects_condemned")?,
        referenced: found.needed("attachments_referenced")?,
        needed_again: found.needed("objects_needed")?,
    };
    let has_counted_all = found.needed("receipts_counted")? == job.progress.processed;
    let (removed, parked) = (has_counted_all.then_some(removed), found.needed("parked")?);
    Ok(Some(DeletionFacts { job, removed, owed, parked, now }))
}

fn head(row: &impl Cells) -> Result<ChainHead, Fault> {
    let length = row.needed("sequence")?.unsigned_abs();
    Ok(ChainHead { length, hash: row.text("hash")?.unwrap_or_default() })
}

fn sealed<R: Cells>(row: &R) -> Result<Sealed, Fault> {
    Ok(Sealed {
        text: row.text("certificate")?.unwrap_or_default(),
        hash: row.text("hash")?.unwrap_or_default(),
        signature: row.text("signature")?,
    })
}
