//! The routes of the receipts facade.

use actix_web::web;

use super::{deletions, plan, retry};

/// Adds the routes below `/api/receipts`.
pub(in crate::http) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/receipts/delete_all").route(web::post().to(deletions::delete_all)))
        .service(web::resource("/receipts/delete_all/plan").route(web::get().to(plan::plan)))
        .service(web::resource("/receipts/jobs/{id}").route(web::get().to(deletions::show)))
        .service(web::resource("/receipts/delete-job/status").route(web::get().to(deletions::status)))
        .service(web::resource("/receipts/jobs/{id}/cancel").route(web::post().to(deletions::cancel)))
        .service(web::resource("/receipts/jobs/{id}/pause").route(web::post().to(deletions::pause)))
        .service(web::resource("/receipts/jobs/{id}/resume").route(web::post().to(deletions::resume)))
        .service(web::resource("/receipts/jobs/{id}/failed_rows").route(web::get().to(retry::failed_rows)))
        .service(web::resource("/receipts/jobs/{id}/retry").route(web::post().to(retry::retry)))
        .service(
            web::resource("/receipts/jobs/{id}/retry_failed_rows")
                .route(web::post().to(retry::retry_failed_rows)),
        );
}
