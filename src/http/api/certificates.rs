//! `/api/v1/deletions/{id}/certificate`: the certificate of a deletion.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::ApiUser;
use super::details::{Details, ProblemDetails};
use crate::certificate::Certificate;
use crate::http::facade::{Facade, job_id};

/// A certificate, in canonical JSON (RFC 8785): `tikkun certificate verify` takes the response as it is.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it describes what `Sealed::line` writes")]
pub(super) struct SealedCertificate {
    /// What it says.
    certificate: Certificate,
    /// The SHA-256 of its canonical JSON.
    hash: String,
    /// The Ed25519 signature of its canonical JSON; null if it is unsigned.
    signature: Option<String>,
}

/// The newest certificate of a deletion that has ended
#[utoipa::path(get, path = "/api/v1/deletions/{id}/certificate", tag = "deletions", params(("id" = i64, Path)),
    responses((status = 200, body = SealedCertificate), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 404, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn show(
    facade: web::Data<Facade>,
    user: ApiUser,
    id: web::Path<String>,
) -> Result<HttpResponse, Details> {
    let job = facade.deletions.find(&user.principal, job_id(&id)?).await?;
    let found = facade.deletions.read(facade.certificates.newest_of(job.id)).await?;
    let Some(sealed) = found else {
        let text = format!(
            "deletion {} is {}; it has a certificate shortly after it has ended, unless that was before certificates were issued",
            job.id, job.status
        );
        return Err(Details::new(StatusCode::NOT_FOUND, "no_certificate", text));
    };
    Ok(HttpResponse::Ok().content_type("application/json").body(sealed.line()))
}
