//! `/api/v1/session`: exchanges a secret for a sealed session cookie.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Access;
use super::auth::Auth;
use super::details::{Details, ProblemDetails};
use super::session::{COOKIE, Session};

/// The credentials for a sign-in.
#[derive(Deserialize, ToSchema)]
pub(super) struct SignIn {
    /// The secret for operators or viewers; if none is set for operators, the internal secret.
    #[schema(example = "the value of TIKKUN_HTTP__VIEWER_SECRET")]
    secret: String,
    /// The user's name, for the audit.
    #[schema(example = "Dana")]
    #[serde(default)]
    name: String,
}

/// The state of the session.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionState {
    /// Whether the cookie is valid.
    signed_in: bool,
    /// The user's name.
    name: Option<String>,
    /// The token that every change must send in `X-CSRF-Token`.
    csrf_token: Option<String>,
    /// `viewer` or `operator`.
    role: Option<Access>,
    /// Whether changes are refused.
    read_only: bool,
}

impl SessionState {
    fn of(session: Option<Session>, auth: &Auth) -> Self {
        let (signed_in, role) = (session.is_some(), session.as_ref().map(|session| session.access));
        let read_only = auth.rules.read_only || role == Some(Access::Viewer);
        let (name, csrf_token) = session.map(|session| (session.name, session.csrf)).unzip();
        Self { signed_in, name, csrf_token, role, read_only }
    }
}

/// Whether this browser is signed in
#[utoipa::path(get, path = "/api/v1/session", tag = "session", security(()),
    responses((status = 200, body = SessionState), (status = 503, body = ProblemDetails)))]
pub(super) async fn show(auth: web::Data<Auth>, request: HttpRequest) -> Result<HttpResponse, Details> {
    let session = auth.session(&request).await?;
    Ok(HttpResponse::Ok().json(SessionState::of(session, &auth)))
}

/// Sign in; the response sets the session cookie, and the secret is not stored
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn, security(()),
    responses((status = 200, body = SessionState), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 429, body = ProblemDetails)))]
pub(super) async fn sign_in(
    auth: web::Data<Auth>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Details> {
    let wanted: SignIn = serde_json::from_slice(&body).map_err(|error| {
        Details::new(StatusCode::BAD_REQUEST, "bad_request", format!("the body cannot be read: {error}"))
    })?;
    let access = auth.signs_in(&request, &wanted.secret)?;
    let time = auth.rules.session_time;
    let begun = access.and_then(|access| Session::begin(&auth.sealers, (access, &wanted.name), time));
    let peer = auth.peer(&request);
    let Some((cookie, session)) = begun else {
        tracing::warn!(target: "tikkun::audit", peer = peer.map(tracing::field::display), "a sign-in was refused");
        return Err(Details::new(StatusCode::UNAUTHORIZED, "unauthorized", "this is not the secret"));
    };
    tracing::info!(target: "tikkun::audit", who = session.name, role = ?session.access, peer = peer.map(tracing::field::display), "signed in");
    let cookie = cookie_of(&auth, &request, (&cookie, time));
    Ok(HttpResponse::Ok().insert_header(cookie).json(SessionState::of(Some(session), &auth)))
}

/// Sign out; copies of the cookie become invalid, too, in every process
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", security(()),
    responses((status = 200, body = SessionState), (status = 503, body = ProblemDetails)))]
pub(super) async fn sign_out(auth: web::Data<Auth>, request: HttpRequest) -> Result<HttpResponse, Details> {
    let cookie = cookie_of(&auth, &request, ("", Duration::ZERO));
    // Without the token another site could sign users out; that does no harm, and SameSite prevents it.
    if let Some(session) = auth.sealed_session(&request) {
        let peer = auth.peer(&request);
        tracing::info!(target: "tikkun::audit", who = session.name, peer = peer.map(tracing::field::display), "signed out");
        if let Err(refused) = auth.sign_out(&session).await {
            // The browser deletes the cookie in any case.
            let mut answer = refused.error_response();
            if let Ok(value) = header::HeaderValue::try_from(cookie.1) {
                answer.headers_mut().insert(cookie.0, value);
            }
            return Ok(answer);
        }
    }
    Ok(HttpResponse::Ok().insert_header(cookie).json(SessionState::of(None, &auth)))
}

/// Scripts cannot read the cookie, other sites cannot send it, and if the page was served by TLS it is sent
/// by TLS only. Its value needs no quoting: digits, dots and URL-safe base64.
fn cookie_of(
    auth: &Auth,
    request: &HttpRequest,
    (text, age): (&str, Duration),
) -> (header::HeaderName, String) {
    let (path, age) = (auth.rules.base_path.of_cookie(), age.as_secs());
    let secure = if request.connection_info().scheme() == "https" { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={text}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    (header::SET_COOKIE, cookie)
}
