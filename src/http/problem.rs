//! Error responses: a status, a stable code and a helpful sentence.

use std::fmt;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::json;

use crate::fault::{Fault, FaultKind};
use crate::operations::Refusal;

/// An error response.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

impl Problem {
    /// An error; `code` never changes once published.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// Adds a `Retry-After` header.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The caller did not authenticate. The response does not say why.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "unauthorized")
    }

    /// A back end does not answer or refuses. The cause is logged, and not sent.
    #[must_use]
    pub fn unavailable(what: &'static str, fault: &Fault) -> Self {
        tracing::warn!(error = fault.chain(), "{what} does not serve a request");
        let how =
            if fault.kind() == FaultKind::Unavailable { "is out of reach" } else { "answers and refuses" };
        let message = format!("the {what} {how}; a change may not have happened, try again in a moment");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).retry_after(Duration::from_secs(5))
    }

    /// The response in the format of RFC 9457, for `/api/v1`.
    #[must_use]
    pub fn to_details(&self) -> HttpResponse {
        let mut answer = self.builder();
        answer.content_type("application/problem+json").body(
            json!({
                "type": format!("urn:tikkun:problem:{}", self.code),
                "title": self.status.canonical_reason().unwrap_or("Error"),
                "status": self.status.as_u16(),
                "detail": self.message,
                "code": self.code,
            })
            .to_string(),
        )
    }

    fn builder(&self) -> HttpResponseBuilder {
        let mut answer = HttpResponse::build(self.status);
        if let Some(wait) = self.retry_after {
            answer.insert_header((header::RETRY_AFTER, wait.as_secs_f64().ceil().to_string()));
        }
        answer
    }

    /// The replacement for an error of the web framework.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => ("not_found", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method_not_allowed", "this address does not take this method")
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the request's body is too large"),
            StatusCode::REQUEST_TIMEOUT => ("request_timeout", "the request came too slowly"),
            status if status.is_client_error() => ("bad_request", "the request cannot be read"),
            _ => ("internal", "something went wrong here; the log says what"),
        };
        Self::new(status, code, message)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Unavailable { what, fault } => return Self::unavailable(what, fault),
            Refusal::Forbidden { .. } | Refusal::ReadOnly(_) => StatusCode::FORBIDDEN,
            Refusal::NoDeletion { .. } | Refusal::NoJob(_) | Refusal::NoQueue { .. } => StatusCode::NOT_FOUND,
            Refusal::JobIs { .. }
            | Refusal::Carries { .. }
            | Refusal::Duplicate { .. }
            | Refusal::NotHeard(_) => StatusCode::CONFLICT,
            Refusal::DeletionIs { .. } => StatusCode::BAD_REQUEST,
            Refusal::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
        };
        let problem = Self::new(status, refusal.code(), refusal.to_string());
        match refusal {
            Refusal::TooOften { wait } => problem.retry_after(wait),
            _ => problem,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.builder().json(json!({ "success": false, "code": self.code, "message": self.message }))
    }
}
