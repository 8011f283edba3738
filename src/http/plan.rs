//! `GET /api/receipts/delete_all/plan`: what a deletion would do, without doing it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::Problem;
use super::caller::Caller;
use super::facade::Facade;
use crate::blob::BlobTarget;
use crate::store::Receipts;

/// What a plan is made from.
pub struct Planning {
    /// The tables.
    pub receipts: Arc<dyn Receipts>,
    /// Where objects lie.
    pub target: BlobTarget,
    /// Receipts in one batch.
    pub batch: u32,
    /// The rest between batches.
    pub throttle: Duration,
}

pub(super) async fn plan(facade: web::Data<Facade>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.manages()?;
    let planning = &facade.planning;
    let look = planning.receipts.plan(caller.business_id, &planning.target);
    let plan = facade.read(look).await?;
    let mut body = plan.to_json(&plan.estimate(planning.batch, planning.throttle));
    if let Some(body) = body.as_object_mut() {
        body.insert("success".to_owned(), json!(true));
    }
    Ok(HttpResponse::Ok().json(body))
}
