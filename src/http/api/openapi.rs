//! `/api/v1/openapi.json`: this API, described by the code that serves it.

use actix_web::HttpResponse;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::session::COOKIE;
use super::{bulk, configuration, deletions, events, jobs, overview, queues, session, tenants};
use crate::http::gate::SECRET_HEADER;

/// The description.
#[derive(OpenApi)]
#[openapi(
    info(title = "Tikkun", description = "What the page does, for programs. Changes may carry an Idempotency-Key; with the cookie they must carry X-CSRF-Token."),
    paths(
        session::show, session::sign_in, session::sign_out, overview::overview, overview::tree, events::events,
        configuration::config, queues::pause, queues::resume, jobs::list, jobs::show, jobs::cancel, jobs::retry,
        bulk::bulk, deletions::list, deletions::show, deletions::act, tenants::show, tenants::plan, tenants::request,
        openapi,
    ),
    security(("secret" = []), ("session" = [])),
    modifiers(&Doors),
)]
pub(super) struct Description;

/// The two ways in.
struct Doors;

impl Modify for Doors {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let secret = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(SECRET_HEADER)));
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE)));
        components.add_security_scheme("secret", secret);
        components.add_security_scheme("session", cookie);
    }
}

/// This description
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "board", responses((status = 200, body = serde_json::Value)))]
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(Description::openapi())
}
