//! `GET /api/receipts/delete_all/plan`: what a deletion would do, without doing it.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::http::Problem;
use crate::http::caller::Caller;
use crate::http::facade::Facade;

pub(super) async fn plan(facade: web::Data<Facade>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.principal.may_change()?;
    let planning = &facade.planning;
    let look = planning.receipts.plan(caller.business_id, &planning.target);
    let plan = facade.deletions.read(look).await?;
    let mut body = plan.to_json(&plan.estimate(planning.batch, planning.throttle));
    if let Some(body) = body.as_object_mut() {
        body.insert("success".to_owned(), json!(true));
    }
    Ok(HttpResponse::Ok().json(body))
}
