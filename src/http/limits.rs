//! The limits of every request: the secret, compared in constant time; the size of the body; the time.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, ResponseError as _, web};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;

use super::base_path::BasePath;
use super::{Guesses, Problem};

/// The header that carries the secret.
pub(super) const SECRET_HEADER: &str = "X-Internal-Secret";

/// The paths whose errors are problem details.
const V1: &str = "/api/v1/";

/// The limits of every request.
#[derive(Clone)]
pub(super) struct Limits {
    /// `None`: every request to `/api` is refused.
    pub secret: Option<Arc<SecretString>>,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// The time limit of a request.
    pub timeout: Duration,
    /// Wrong secrets of the last minute.
    pub guesses: Arc<Guesses>,
    /// The path of the page behind a proxy.
    pub base_path: BasePath,
}

impl Limits {
    /// Checks the secret of a request. A request without a secret does not count as a guess.
    ///
    /// # Errors
    /// If it is missing or wrong, without saying which, or if the client has sent too many wrong ones.
    pub(super) fn check(&self, request: &HttpRequest) -> Result<(), Problem> {
        let given = request.headers().get(SECRET_HEADER).ok_or_else(Problem::unauthorized)?;
        if self.guesses.judge(request, || self.knows(Some(given)))? {
            return Ok(());
        }
        let (peer, path) = (self.guesses.peer(request), request.path());
        tracing::warn!(target: "tikkun::audit", peer = peer.map(tracing::field::display), path, "a wrong secret was refused");
        Err(Problem::unauthorized())
    }

    /// Compares in a time that does not depend on the position of a difference. The length may leak.
    pub(super) fn knows(&self, given: Option<&header::HeaderValue>) -> bool {
        match (&self.secret, given) {
            (Some(secret), Some(given)) => {
                bool::from(secret.expose_secret().as_bytes().ct_eq(given.as_bytes()))
            }
            _ => false,
        }
    }

    fn too_large(&self, request: &ServiceRequest) -> bool {
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        length.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > self.body_limit as u64)
    }
}

/// Lets only requests with the secret pass.
pub(super) async fn with_secret(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let checked = match request.app_data::<web::Data<Limits>>() {
        Some(limits) => limits.check(request.request()),
        None => Err(Problem::unauthorized()),
    };
    match checked {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Err(problem) => Ok(request.into_response(problem.error_response())),
    }
}

/// Applies the limits to every request, and brings every error into our form.
pub(super) async fn bounded(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(limits) = request.app_data::<web::Data<Limits>>().cloned() else {
        return Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).into());
    };
    if let Some(elsewhere) = limits.base_path.take_off(&mut request) {
        return Ok(request.into_response(elsewhere));
    }
    if limits.too_large(&request) {
        let message = format!("the request's body is larger than {} bytes", limits.body_limit);
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message);
        let answer = shaped(request.request(), &problem);
        return Ok(request.into_response(answer));
    }
    // No clone of the request may be kept: the router needs the only reference.
    let details = request.path().starts_with(V1);
    match tokio::time::timeout(limits.timeout, next.call(request)).await {
        Ok(answer) => Ok(in_our_form(answer?.map_into_boxed_body())),
        Err(_) => {
            let waited = humantime::format_duration(limits.timeout);
            let message = format!("no answer within {waited}; it may still have been carried out");
            let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message);
            let answer = if details { problem.to_details() } else { problem.error_response() };
            Err(InternalError::from_response(problem, answer).into())
        }
    }
}

/// Replaces errors of the framework, which are not JSON.
fn in_our_form(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = answer.status();
    let ours = |kind: &header::HeaderValue| kind == "application/json" || kind == "application/problem+json";
    let json = answer.headers().get(header::CONTENT_TYPE).is_some_and(ours);
    if json || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let (request, old) = answer.into_parts();
    let mut new = shaped(&request, &Problem::of_status(status));
    for (name, value) in old.headers().iter().filter(|(name, _)| *name == header::ALLOW) {
        new.headers_mut().append(name.clone(), value.clone());
    }
    ServiceResponse::new(request, new)
}

/// The error in the form that belongs to the path.
fn shaped(request: &HttpRequest, problem: &Problem) -> HttpResponse {
    if request.path().starts_with(V1) { problem.to_details() } else { problem.error_response() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(secret: Option<&str>) -> Limits {
        let secret = secret.map(|text| Arc::new(SecretString::from(text)));
        let (guesses, base_path) = (Arc::default(), BasePath::default());
        Limits { secret, body_limit: 10, timeout: Duration::from_secs(1), guesses, base_path }
    }

    fn given(text: &str) -> Option<header::HeaderValue> {
        Some(header::HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn only_the_very_secret_opens() {
        assert!(limits(Some("open")).knows(given("open").as_ref()));
        for wrong in ["", "ope", "open ", "opeN"] {
            assert!(!limits(Some("open")).knows(given(wrong).as_ref()), "{wrong:?}");
        }
        assert!(!limits(Some("open")).knows(None));
    }

    #[test]
    fn without_a_secret_nobody_comes_in() {
        assert!(!limits(None).knows(given("").as_ref()));
        assert!(!limits(None).knows(None));
    }
}
