//! The caller, as the application's front end names it in headers. Only requests with the secret get here.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest};

use super::Problem;
use crate::job::{BusinessId, TraceContext};
use crate::operations::{Principal, Scope};

/// The tenant and the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub business_id: BusinessId,
    pub principal: Principal,
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(request))
    }
}

fn read(request: &HttpRequest) -> Result<Caller, Problem> {
    let business_id = number(request, "X-Business-Id")?.ok_or_else(|| {
        let message = "the header X-Business-Id is missing or given twice; expected the tenant's id";
        Problem::new(StatusCode::BAD_REQUEST, "bad_tenant", message)
    })?;
    let (business_id, user_id) = (BusinessId(business_id), number(request, "X-User-Id")?);
    let role = text(request, "X-User-Role").unwrap_or_default().to_owned();
    let name = user_id.map_or_else(|| format!("role {role}"), |id| format!("user {id}"));
    let scope = Scope::Tenant { id: business_id, role };
    let principal = Principal { name, user_id, scope, trace: trace(request) };
    Ok(Caller { business_id, principal })
}

/// The trace context of a request in the W3C headers; `None` if it is missing or cannot be parsed.
pub(super) fn trace(request: &HttpRequest) -> Option<TraceContext> {
    let parent = text(request, "traceparent")?;
    let states: Vec<_> =
        request.headers().get_all("tracestate").filter_map(|value| value.to_str().ok()).collect();
    let state = (!states.is_empty()).then(|| states.join(","));
    TraceContext::parse(parent, state.as_deref())
        .inspect_err(|bad| tracing::debug!(%bad, "the trace of a request is ignored"))
        .ok()
}

/// The user id, for calls without a tenant.
pub(super) fn person(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    number(request, "X-User-Id")
}

/// The text of a header; `None` if it is missing, empty or given twice, because then it is ambiguous.
fn text<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let mut given = request.headers().get_all(name);
    let (only, more) = (given.next()?, given.next());
    only.to_str().ok().map(str::trim).filter(|text| !text.is_empty() && more.is_none())
}

fn number(request: &HttpRequest, name: &str) -> Result<Option<i64>, Problem> {
    let Some(text) = text(request, name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let message = format!("the header {name} is `{text}`; expected a whole number");
        Problem::new(StatusCode::BAD_REQUEST, "bad_tenant", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn caller(headers: &[(&'static str, &'static str)]) -> Result<Caller, Problem> {
        let request =
            headers.iter().fold(TestRequest::default(), |request, header| request.insert_header(*header));
        read(&request.to_http_request())
    }

    #[test]
    fn tenant_and_person_come_from_headers() {
        let caller =
            caller(&[("X-Business-Id", "789"), ("X-User-Id", "5"), ("X-User-Role", "owner")]).unwrap();
        assert_eq!((caller.business_id, caller.principal.user_id), (BusinessId(789), Some(5)));
        assert!(caller.principal.may_change().is_ok());
    }

    #[test]
    fn a_member_does_not_manage() {
        let member = caller(&[("X-Business-Id", "789"), ("X-User-Role", "member")]).unwrap();
        assert!(member.principal.may_change().unwrap_err().to_string().contains("`member`"));
        assert!(caller(&[("X-Business-Id", "789")]).unwrap().principal.may_change().is_err());
    }

    #[test]
    fn a_tenant_that_is_no_number_is_named() {
        let error = caller(&[("X-Business-Id", "7x")]).unwrap_err().to_string();
        assert!(error.contains("X-Business-Id") && error.contains("`7x`"), "{error}");
        assert!(caller(&[]).is_err());
    }

    #[test]
    fn two_tenants_are_none() {
        let request = TestRequest::default().append_header(("X-Business-Id", "7"));
        let request = request.append_header(("X-Business-Id", "8")).to_http_request();
        assert!(read(&request).is_err());
    }
}
