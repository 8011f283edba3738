//! Errors of `/api/v1`: problem details.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Problem;
use crate::operations::Refusal;

/// A problem in the format of RFC 9457.
#[derive(Debug)]
pub(super) struct Details(pub(super) Problem);

/// An error in the format of RFC 9457.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it describes what `Problem::to_details` writes")]
pub(super) struct ProblemDetails {
    /// The kind of problem.
    #[schema(example = "urn:tikkun:problem:job_not_found")]
    r#type: String,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What happened, and what to do.
    #[schema(example = "there is no job 27")]
    detail: String,
    /// A stable code for programs.
    #[schema(example = "job_not_found")]
    code: String,
}

impl Details {
    /// An error; `code` never changes once published.
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Problem::new(status, code, detail))
    }
}

impl From<Problem> for Details {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Refusal> for Details {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.into())
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Details {
    fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        self.0.to_details()
    }
}
