//! `/api/v1/openapi.json`: the OpenAPI description of this API, derived from its code.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::details::ProblemDetails;
use super::session::COOKIE;
use super::{
    bulk, certificates, configuration, deletions, events, job, job_log, jobs, overview, queues, sign_in,
    tenants,
};
use crate::http::limits::SECRET_HEADER;

/// The OpenAPI description.
#[derive(OpenApi)]
#[openapi(
    info(title = "Tikkun", description = "What the page does, for programs. Changes may carry an Idempotency-Key; with the cookie they must carry X-CSRF-Token."),
    paths(
        sign_in::show, sign_in::sign_in, sign_in::sign_out, overview::overview, overview::tree, overview::python, events::events,
        configuration::config, queues::pause, queues::resume, jobs::list, job::show, jobs::cancel, jobs::retry,
        job::stop, job_log::log, bulk::bulk, deletions::list, deletions::show, deletions::act, certificates::show, tenants::show, tenants::plan, tenants::request,
        openapi,
    ),
    security(("secret" = []), ("session" = [])),
    modifiers(&Doors),
)]
pub(super) struct Description;

/// The reference to the schema of problems.
const PROBLEM: &str = "#/components/schemas/ProblemDetails";

/// Adds the two security schemes.
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

/// The final description, built once.
static WRITTEN: LazyLock<Value> = LazyLock::new(|| {
    let mut written = json!(Description::openapi());
    let paths = written.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if let Some(name) = operation.get_mut("operationId") {
                *name = json!(operation_name(method, path));
            }
            if let Some(answers) = operation.get_mut("responses").and_then(Value::as_object_mut) {
                complete(method, answers);
            }
        }
    }
    written
});

/// A unique operation id, from which programs generate function names: `post_jobs_id_cancel`.
fn operation_name(method: &str, path: &str) -> String {
    let parts = path.trim_start_matches("/api/v1").split(|c: char| !c.is_ascii_alphanumeric());
    [method].into_iter().chain(parts).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// Adds responses that all operations have in common, and sets the media type of problems.
fn complete(method: &str, answers: &mut Map<String, Value>) {
    let anywhere: &[(&str, &str)] = match method {
        "get" => &[("429", "too many wrong secrets"), ("504", "no answer in time")],
        _ => &[
            ("429", "too many wrong secrets"),
            ("409", "a change with this Idempotency-Key is under way"),
            ("413", "the body is too large"),
            ("422", "this Idempotency-Key was used for another change"),
            ("504", "no answer in time; it may still have been carried out"),
        ],
    };
    for (status, text) in anywhere {
        let problem = || json!({ "schema": { "$ref": PROBLEM } });
        answers
            .entry(*status)
            .or_insert_with(|| json!({ "description": text, "content": { "application/json": problem() } }));
    }
    for content in answers.values_mut().filter_map(|answer| answer.get_mut("content")?.as_object_mut()) {
        let is_problem = |body: &Value| body.pointer("/schema/$ref").is_some_and(|name| name == PROBLEM);
        if content.get("application/json").is_some_and(is_problem)
            && let Some(body) = content.remove("application/json")
        {
            content.insert("application/problem+json".to_owned(), body);
        }
    }
}

/// This OpenAPI description
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "board",
    responses((status = 200, body = Value), (status = 401, body = ProblemDetails)))]
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(&*WRITTEN)
}
