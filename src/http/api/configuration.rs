//! `/api/v1/config`: the effective settings with their origin. Secrets were masked when they were loaded.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::details::ProblemDetails;
use crate::config::Entry;

/// The effective settings.
pub(in crate::http) struct Configuration(pub(in crate::http) Vec<Entry>);

/// The effective settings.
#[derive(Serialize, ToSchema)]
pub(super) struct ConfigurationView {
    /// In the order of the reference of settings.
    entries: Vec<ConfigurationEntry>,
}

/// One effective setting.
#[derive(Serialize, ToSchema)]
pub(super) struct ConfigurationEntry {
    /// Section and key.
    #[schema(example = "worker.slots")]
    key: &'static str,
    /// Its value; passwords are masked, secrets are `***`.
    #[schema(example = "4")]
    value: String,
    /// Its origin.
    #[schema(example = "default")]
    origin: String,
}

/// The effective settings with their origin; secrets are masked
#[utoipa::path(get, path = "/api/v1/config", tag = "board",
    responses((status = 200, body = ConfigurationView), (status = 401, body = ProblemDetails)))]
pub(super) async fn config(configuration: web::Data<Configuration>) -> HttpResponse {
    let view = |entry: &Entry| ConfigurationEntry {
        key: entry.key,
        value: entry.value.clone(),
        origin: entry.origin.to_string(),
    };
    HttpResponse::Ok().json(ConfigurationView { entries: configuration.0.iter().map(view).collect() })
}
