//! `/api/v1/session`: signing in with a secret, once; from then on a sealed cookie speaks.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Access;
use super::details::{Details, ProblemDetails};
use super::entrance::{Entrance, Sealers};

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
    /// What they may do.
    pub access: Access,
    /// Until when, in seconds since the epoch.
    pub until: i64,
    /// What every change must show besides.
    pub csrf: String,
}

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
pub(super) struct SignIn {
    /// The secret for operators or for viewers; where there is none for operators, the internal secret.
    #[schema(example = "the value of TIKKUN_HTTP__VIEWER_SECRET")]
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
    /// `viewer` or `operator`.
    role: Option<Access>,
    /// Whether changes are refused.
    read_only: bool,
}

impl Session {
    /// The cookie's text for a person, and the session it stands for.
    pub(super) fn begin(
        sealers: &Sealers,
        (access, name): (Access, &str),
        time: Duration,
    ) -> Option<(String, Self)> {
        let name: String = name.trim().chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
        let name = if name.is_empty() { "page".to_owned() } else { name };
        let until = Utc::now().timestamp().saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
        let nonce = uuid::Uuid::new_v4().simple();
        let text = format!("{until}.{nonce}.{}.{}", word(access), BASE64.encode(&name));
        let cookie = format!("{text}.{}", sealers.of(access)?.seal("session", &text));
        Self::read(sealers, &cookie).map(|session| (cookie, session))
    }

    /// The session that a cookie's text stands for, if it was sealed here for what it allows and its time has not
    /// passed.
    pub(super) fn read(sealers: &Sealers, cookie: &str) -> Option<Self> {
        let (text, seal) = cookie.rsplit_once('.')?;
        let mut parts = text.split('.');
        let (until, mark) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
        let (said, name) = (parts.next()?, parts.next()?);
        let access = [Access::Viewer, Access::Operator].into_iter().find(|access| word(*access) == said)?;
        let sealer = sealers.of(access)?;
        if !sealer.holds("session", text, seal) {
            return None;
        }
        let name = String::from_utf8(BASE64.decode(name).ok()?).ok()?;
        let csrf = sealer.seal("csrf", text);
        (until > Utc::now().timestamp()).then_some(Self { mark, name, access, until, csrf })
    }
}

/// How a session says what it allows.
fn word(access: Access) -> &'static str {
    match access {
        Access::Viewer => "v",
        Access::Operator => "o",
    }
}

impl SessionState {
    fn of(session: Option<Session>, entrance: &Entrance) -> Self {
        let (signed_in, role) = (session.is_some(), session.as_ref().map(|session| session.access));
        let read_only = entrance.rules.read_only || role == Some(Access::Viewer);
        let (name, csrf_token) = session.map(|session| (session.name, session.csrf)).unzip();
        Self { signed_in, name, csrf_token, role, read_only }
    }
}

/// Whether this browser is signed in
#[utoipa::path(get, path = "/api/v1/session", tag = "session", security(()),
    responses((status = 200, body = SessionState), (status = 503, body = ProblemDetails)))]
pub(super) async fn show(
    entrance: web::Data<Entrance>,
    request: HttpRequest,
) -> Result<HttpResponse, Details> {
    let session = entrance.session(&request).await?;
    Ok(HttpResponse::Ok().json(SessionState::of(session, &entrance)))
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
    let wanted: SignIn = serde_json::from_slice(&body).map_err(|error| {
        Details::new(StatusCode::BAD_REQUEST, "bad_request", format!("the body cannot be read: {error}"))
    })?;
    let access = entrance.signs_in(&request, &wanted.secret)?;
    let time = entrance.rules.session_time;
    let begun = access.and_then(|access| Session::begin(&entrance.sealers, (access, &wanted.name), time));
    let peer = entrance.peer(&request);
    let Some((cookie, session)) = begun else {
        tracing::warn!(target: "tikkun::audit", peer = peer.map(tracing::field::display), "a sign-in was refused");
        return Err(Details::new(StatusCode::UNAUTHORIZED, "unauthorized", "this is not the secret"));
    };
    tracing::info!(target: "tikkun::audit", who = session.name, role = ?session.access, peer = peer.map(tracing::field::display), "signed in");
    let cookie = cookie_of(&entrance, &request, (&cookie, time));
    Ok(HttpResponse::Ok().insert_header(cookie).json(SessionState::of(Some(session), &entrance)))
}

/// Sign out: the cookie opens nothing any more, whoever kept it, in whichever process
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", security(()),
    responses((status = 200, body = SessionState), (status = 503, body = ProblemDetails)))]
pub(super) async fn sign_out(
    entrance: web::Data<Entrance>,
    request: HttpRequest,
) -> Result<HttpResponse, Details> {
    let cookie = cookie_of(&entrance, &request, ("", Duration::ZERO));
    // Without the token a stranger's page could sign people out; that harms nobody, and SameSite forbids it.
    if let Some(session) = entrance.sealed_session(&request) {
        let peer = entrance.peer(&request);
        tracing::info!(target: "tikkun::audit", who = session.name, peer = peer.map(tracing::field::display), "signed out");
        if let Err(refused) = entrance.sign_out(&session).await {
            // The browser forgets it all the same.
            let mut answer = refused.error_response();
            if let Ok(value) = header::HeaderValue::try_from(cookie.1) {
                answer.headers_mut().insert(cookie.0, value);
            }
            return Ok(answer);
        }
    }
    Ok(HttpResponse::Ok().insert_header(cookie).json(SessionState::of(None, &entrance)))
}

/// Scripts cannot read it, other sites cannot send it, and where the page came by TLS it comes by nothing else.
/// Its text needs no quoting: digits, dots and base64 for URLs.
fn cookie_of(
    entrance: &Entrance,
    request: &HttpRequest,
    (text, age): (&str, Duration),
) -> (header::HeaderName, String) {
    let (path, age) = (entrance.rules.base_path.of_cookie(), age.as_secs());
    let secure = if request.connection_info().scheme() == "https" { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={text}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    (header::SET_COOKIE, cookie)
}

/// The texts of our cookies, among those that came: another service of this host may have set one, too.
pub(super) fn cookies_in(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let lines = request.headers().get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter_map(|(name, text)| (name == COOKIE).then_some(text))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::api::access::PageSecrets;
    use secrecy::SecretString;

    fn sealers(viewer: &str, operator: &str) -> Sealers {
        let [viewer, operator] = [viewer, operator].map(|text| Some(Arc::new(SecretString::from(text))));
        Sealers::new(&PageSecrets { internal: None, viewer, operator })
    }

    #[test]
    fn a_session_holds_until_its_time_and_only_as_it_was_sealed() {
        let known = sealers("to look", "a secret");
        let minute = Duration::from_secs(60);
        for access in [Access::Viewer, Access::Operator] {
            let (cookie, session) = Session::begin(&known, (access, " דנה\n"), minute).unwrap();
            assert_eq!(Session::read(&known, &cookie), Some(session.clone()));
            assert_eq!((session.name.as_str(), session.access), ("דנה", access));
            assert!(!cookie.contains("secret"));
            let later = cookie.replacen(char::is_numeric, "9", 1);
            assert_eq!(Session::read(&known, &later), None);
            assert_eq!(Session::begin(&known, (access, "x"), Duration::ZERO), None);
            assert_eq!(Session::read(&sealers("another", "secret"), &cookie), None);
        }
    }

    #[test]
    fn a_session_to_look_cannot_be_made_one_to_operate() {
        let known = sealers("to look", "a secret");
        let (cookie, _) = Session::begin(&known, (Access::Viewer, "x"), Duration::from_secs(60)).unwrap();
        assert!(cookie.contains(".v."), "{cookie}");
        assert_eq!(Session::read(&known, &cookie.replace(".v.", ".o.")), None);
    }
}
