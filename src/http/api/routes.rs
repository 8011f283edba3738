//! The routes of `/api/v1`.

use actix_web::middleware::from_fn;
use actix_web::web;

use super::auth::{enter, headers};
use super::{
    bulk, certificates, configuration, deletions, events, job, job_log, jobs, openapi, overview, queues,
    sign_in, tenants,
};

/// Adds the routes; must come before `/api`.
pub(in crate::http) fn routes(config: &mut web::ServiceConfig) {
    let session = web::resource("/api/v1/session")
        .wrap(headers())
        .route(web::get().to(sign_in::show))
        .route(web::post().to(sign_in::sign_in))
        .route(web::delete().to(sign_in::sign_out));
    let v1 = web::scope("/api/v1")
        .wrap(from_fn(enter))
        .wrap(headers())
        .service(web::resource("/overview").route(web::get().to(overview::overview)))
        .service(web::resource("/tree").route(web::get().to(overview::tree)))
        .service(web::resource("/python").route(web::get().to(overview::python)))
        .service(web::resource("/events").route(web::get().to(events::events)))
        .service(web::resource("/config").route(web::get().to(configuration::config)))
        .service(web::resource("/openapi.json").route(web::get().to(openapi::openapi)))
        .service(web::resource("/queues/{name}/pause").route(web::post().to(queues::pause)))
        .service(web::resource("/queues/{name}/resume").route(web::post().to(queues::resume)))
        .service(web::resource("/jobs").route(web::get().to(jobs::list)))
        .service(web::resource("/jobs/bulk").route(web::post().to(bulk::bulk)))
        .service(web::resource("/jobs/{id}").route(web::get().to(job::show)))
        .service(web::resource("/jobs/{id}/cancel").route(web::post().to(jobs::cancel)))
        .service(web::resource("/jobs/{id}/log").route(web::get().to(job_log::log)))
        .service(web::resource("/jobs/{id}/stop").route(web::post().to(job::stop)))
        .service(web::resource("/jobs/{id}/retry").route(web::post().to(jobs::retry)))
        .service(web::resource("/deletions").route(web::get().to(deletions::list)))
        .service(web::resource("/deletions/{id}").route(web::get().to(deletions::show)))
        .service(web::resource("/deletions/{id}/certificate").route(web::get().to(certificates::show)))
        .service(web::resource("/deletions/{id}/{action}").route(web::post().to(deletions::act)))
        .service(
            web::resource("/tenants/{id}/deletion")
                .route(web::get().to(tenants::show))
                .route(web::post().to(tenants::request)),
        )
        .service(web::resource("/tenants/{id}/deletion/plan").route(web::get().to(tenants::plan)));
    config.service(session).service(v1);
}
