//! `/api/v1/session`: signing in with the internal secret, once; from then on a sealed cookie speaks.

use std::time::{Duration, Instant};

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::details::{Details, ProblemDetails};
use super::entrance::Entrance;
use super::seal::Sealer;

/// The cookie's name.
pub(super) const COOKIE: &str = "tikkun_session";
/// The header that carries the token which goes with the cookie.
pub(super) const CSRF_HEADER: &str = "X-CSRF-Token";
/// Longest name that a person may give.
const NAME_CHARS: usize = 60;

/// A sign-in that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// What tells it from every other one.
    pub mark: String,
    /// Who, as they said themselves.
    pub name: String,
    /// Until when, in seconds since the epoch.
    pub until: i64,
    /// What every change must show besides.
    pub csrf: String,
}

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
pub(super) struct SignIn {
    /// The service's internal secret.
    #[schema(example = "the value of INTERNAL_SECRET")]
    secret: String,
    /// Who it is, for the record of changes.
    #[schema(example = "Dana")]
    #[serde(default)]
    name: String,
}

/// Whether somebody is signed in.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionState {
    /// Whether the cookie holds.
    signed_in: bool,
    /// Who.
    name: Option<String>,
    /// What every change must carry in `X-CSRF-Token`.
    csrf_token: Option<String>,
    /// Whether changes are refused.
    read_only: bool,
}

impl Session {
    /// The cookie's text for a person, and the session it stands for.
    pub(super) fn begin(sealer: &Sealer, name: &str, time: Duration) -> Option<(String, Self)> {
        let name: String = name.trim().chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
        let name = if name.is_empty() { "page".to_owned() } else { name };
        let until = Utc::now().timestamp().saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
        let nonce = uuid::Uuid::new_v4().simple();
        let text = format!("{until}.{nonce}.{}", BASE64.encode(&name));
        let cookie = format!("{text}.{}", sealer.seal("session", &text));
        Self::read(sealer, &cookie).map(|session| (cookie, session))
    }

    /// The session that a cookie's text stands for, if it was sealed here and its time has not passed.
    pub(super) fn read(sealer: &Sealer, cookie: &str) -> Option<Self> {
        let (text, seal) = cookie.rsplit_once('.')?;
        if !sealer.holds("session", text, seal) {
            return None;
        }
        let mut parts = text.split('.');
        let (until, mark, name) = (parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?);
        let name = String::from_utf8(BASE64.decode(name).ok()?).ok()?;
        (until > Utc::now().timestamp()).then(|| Self { mark, name, until, csrf: sealer.seal("csrf", text) })
    }
}

impl SessionState {
    fn of(session: Option<Session>, read_only: bool) -> Self {
        let signed_in = session.is_some();
        let (name, csrf_token) = session.map(|session| (session.name, session.csrf)).unzip();
        Self { signed_in, name, csrf_token, read_only }
    }
}

/// Whether this browser is signed in
#[utoipa::path(get, path = "/api/v1/session", tag = "session", security(()),
    responses((status = 200, body = SessionState)))]
pub(super) async fn show(entrance: web::Data<Entrance>, request: HttpRequest) -> HttpResponse {
    HttpResponse::Ok().json(SessionState::of(entrance.session(&request), entrance.read_only))
}

/// Sign in: the cookie comes back, the secret is not kept
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn, security(()),
    responses((status = 200, body = SessionState), (status = 400, body = ProblemDetails),
        (status = 401, body = ProblemDetails), (status = 429, body = ProblemDetails)))]
pub(super) async fn sign_in(
    entrance: web::Data<Entrance>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Details> {
    let peer = entrance.proxies.client(&request);
    if let Err(wait) = entrance.failures.check(peer, Instant::now()) {
        let message = "too many wrong secrets; try again in a minute";
        let details = Details::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        return Err(Details(details.0.retry_after(wait)));
    }
    let wanted: SignIn = serde_json::from_slice(&body).map_err(|error| {
        Details::new(StatusCode::BAD_REQUEST, "bad_request", format!("the body cannot be read: {error}"))
    })?;
    let sealer = entrance.seals().filter(|_| entrance.knows(&wanted.secret));
    let begun = sealer.and_then(|sealer| Session::begin(sealer, &wanted.name, entrance.session_time));
    let Some((cookie, session)) = begun else {
        entrance.failures.count(peer, Instant::now());
        tracing::warn!(target: "tikkun::audit", ?peer, "a sign-in was refused");
        return Err(Details::new(StatusCode::UNAUTHORIZED, "unauthorized", "this is not the secret"));
    };
    tracing::info!(target: "tikkun::audit", who = session.name, ?peer, "signed in");
    let cookie = cookie_of(&request, &cookie, entrance.session_time);
    Ok(HttpResponse::Ok().insert_header(cookie).json(SessionState::of(Some(session), entrance.read_only)))
}

/// Sign out: the cookie opens nothing any more, whoever kept it
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", security(()),
    responses((status = 200, body = SessionState)))]
pub(super) async fn sign_out(entrance: web::Data<Entrance>, request: HttpRequest) -> HttpResponse {
    // Without the token a stranger's page could sign people out; that harms nobody, and SameSite forbids it.
    if let Some(session) = entrance.session(&request) {
        entrance.sign_out(&session);
        let peer = entrance.proxies.client(&request);
        tracing::info!(target: "tikkun::audit", who = session.name, ?peer, "signed out");
    }
    let cookie = cookie_of(&request, "", Duration::ZERO);
    HttpResponse::Ok().insert_header(cookie).json(SessionState::of(None, entrance.read_only))
}

/// Scripts cannot read it, other sites cannot send it, and where the page came by TLS it comes by nothing else.
/// Its text needs no quoting: digits, dots and base64 for URLs.
fn cookie_of(request: &HttpRequest, text: &str, age: Duration) -> (header::HeaderName, String) {
    let secure = if request.connection_info().scheme() == "https" { "; Secure" } else { "" };
    let age = age.as_secs();
    let cookie = format!("{COOKIE}={text}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    (header::SET_COOKIE, cookie)
}

/// The text of our cookie, among those that came.
pub(super) fn cookie_in(request: &HttpRequest) -> Option<&str> {
    let lines = request.headers().get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, text)| (name == COOKIE).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    #[test]
    fn a_session_holds_until_its_time_and_only_as_it_was_sealed() {
        let sealer = Sealer::new(&SecretString::from("a secret")).unwrap();
        let (cookie, session) = Session::begin(&sealer, " דנה\n", Duration::from_secs(60)).unwrap();
        assert_eq!(Session::read(&sealer, &cookie), Some(session.clone()));
        assert_eq!(session.name, "דנה");
        assert!(!cookie.contains("secret"));
        let later = cookie.replacen(char::is_numeric, "9", 1);
        assert_eq!(Session::read(&sealer, &later), None);
        assert_eq!(Session::begin(&sealer, "x", Duration::ZERO), None);
        let stranger = Sealer::new(&SecretString::from("another")).unwrap();
        assert_eq!(Session::read(&stranger, &cookie), None);
    }
}
