//! Who asks, as the application's own front says in headers. Believed only behind the gate.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest};

use super::Problem;
use super::facade::Wisher;
use crate::job::{BusinessId, TraceContext};

/// Roles that may delete everything and stop it again.
const MANAGERS: [&str; 3] = ["owner", "admin", "system_admin"];

/// The tenant and the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub business_id: BusinessId,
    pub user_id: Option<i64>,
    role: String,
    /// The trace that the request belongs to.
    trace: Option<TraceContext>,
}

impl Caller {
    /// Whether the person may change things.
    pub(super) fn manages(&self) -> Result<(), Problem> {
        if MANAGERS.contains(&self.role.as_str()) {
            return Ok(());
        }
        let message =
            format!("role `{}` may not do this; expected one of {}", self.role, MANAGERS.join(", "));
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message))
    }

    /// The person and the tenant, for the record.
    pub(super) fn wisher(&self) -> Wisher {
        let name = self.user_id.map_or_else(|| format!("role {}", self.role), |id| format!("user {id}"));
        Wisher { business_id: self.business_id, user_id: self.user_id, name, trace: self.trace.clone() }
    }
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
    let user_id = number(request, "X-User-Id")?;
    let role = text(request, "X-User-Role").unwrap_or_default().to_owned();
    Ok(Caller { business_id: BusinessId(business_id), user_id, role, trace: trace(request) })
}

/// The trace that a request names in W3C's headers; one that cannot be read is as good as none.
pub(super) fn trace(request: &HttpRequest) -> Option<TraceContext> {
    let parent = text(request, "traceparent")?;
    let states: Vec<_> =
        request.headers().get_all("tracestate").filter_map(|value| value.to_str().ok()).collect();
    let state = (!states.is_empty()).then(|| states.join(","));
    TraceContext::parse(parent, state.as_deref())
        .inspect_err(|bad| tracing::debug!(%bad, "the trace of a request is ignored"))
        .ok()
}

/// The person alone, where no tenant matters.
pub(super) fn person(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    number(request, "X-User-Id")
}

/// The header's text. Given twice, nobody can say which one the front meant: then it is as good as none.
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
        assert_eq!((caller.business_id, caller.user_id), (BusinessId(789), Some(5)));
        assert!(caller.manages().is_ok());
    }

    #[test]
    fn a_member_does_not_manage() {
        let member = caller(&[("X-Business-Id", "789"), ("X-User-Role", "member")]).unwrap();
        assert!(member.manages().unwrap_err().to_string().contains("`member`"));
        assert!(caller(&[("X-Business-Id", "789")]).unwrap().manages().is_err());
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
