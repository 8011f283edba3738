//! `/api/v1/config`: what is in force, and where each value came from. Secrets were masked when it was read.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::details::ProblemDetails;
use crate::config::Entry;

/// The configuration that is shown.
pub(in crate::http) struct Configuration(pub(in crate::http) Vec<Entry>);

/// Every key in force.
#[derive(Serialize, ToSchema)]
pub(super) struct ConfigurationView {
    /// In the order of the manual.
    entries: Vec<ConfigurationEntry>,
}

/// One key in force.
#[derive(Serialize, ToSchema)]
pub(super) struct ConfigurationEntry {
    /// Section and key.
    #[schema(example = "worker.slots")]
    key: &'static str,
    /// Its value; passwords are masked, secrets are `***`.
    #[schema(example = "4")]
    value: String,
    /// Where it came from.
    #[schema(example = "default")]
    origin: String,
}

/// Every setting in force, and where it came from; secrets are masked
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
