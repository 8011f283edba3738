//! The port for described deletions, on any SQL engine.

use std::sync::Arc;

use async_trait::async_trait;

use super::described_rows::Covered;
use super::described_schema::{DescribedSql, examine};
use super::{described_batch, described_state};
use crate::fault::Fault;
use crate::job::{DescribedDeletion, JobId};
use crate::store::{
    BeginDescribed, BegunDescribed, CoveredRows, DescribedDeletions, DescribedOrder, DescribedOutcome,
    DescribedRow, EndDescribed, ExaminedDeletion, FittedDeletion,
};

/// Described tables in one database.
pub(super) struct SqlDescribed<E>(pub(super) Arc<E>);

#[async_trait]
impl<E: DescribedSql> DescribedDeletions for SqlDescribed<E> {
    async fn examine(&self, all: &[DescribedDeletion]) -> Result<Vec<ExaminedDeletion>, Fault> {
        examine(&*self.0, all).await
    }

    async fn begin(&self, begin: &BeginDescribed) -> Result<BegunDescribed, Fault> {
        described_state::begin(&*self.0, begin).await
    }

    async fn count(&self, deletion: &FittedDeletion, row: &DescribedRow) -> Result<CoveredRows, Fault> {
        Covered { dialect: E::DIALECT, deletion, row }.count(&*self.0).await
    }

    async fn delete(&self, order: &DescribedOrder) -> Result<DescribedOutcome, Fault> {
        described_batch::delete(&*self.0, order).await
    }

    async fn beat(&self, id: i64, attempt: u32) -> Result<Option<DescribedRow>, Fault> {
        described_state::beat(&*self.0, id, attempt).await
    }

    async fn end(&self, id: i64, attempt: u32, end: &EndDescribed) -> Result<bool, Fault> {
        described_state::end(&*self.0, (id, attempt), end).await
    }

    async fn fail(&self, queue_job: &JobId, error: &str) -> Result<(), Fault> {
        described_state::fail(&*self.0, queue_job, error).await
    }

    async fn note(&self, id: i64, total: Option<i64>, kept: Option<i64>) -> Result<(), Fault> {
        described_state::note(&*self.0, id, total, kept).await
    }

    async fn first_set_aside(&self, id: i64) -> Result<Option<(String, String)>, Fault> {
        described_state::first_set_aside(&*self.0, id).await
    }
}
