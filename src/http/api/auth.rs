//! Authentication for `/api/v1`, and the checks for changes. Every change passes through here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, web};
use chrono::Utc;
use futures::stream;
use subtle::ConstantTimeEq as _;

use super::access::{Access, PageSecrets};
use super::details::Details;
use super::once::{Kept, Once, Turn};
use super::seal::Sealer;
use super::session::{CSRF_HEADER, Sealers, Session, cookies_in};
use super::signed_out::SignedOut;
use crate::http::caller::{person, trace};
use crate::http::limits::SECRET_HEADER;
use crate::http::{BasePath, Guesses, Problem};
use crate::operations::{AuditLine, Principal, ReadOnly, Scope};
use crate::store::EndedSessions;

/// The header with the idempotency key of a change.
const KEY_HEADER: &str = "Idempotency-Key";
/// The most characters of such a key.
const KEY_CHARS: usize = 200;

/// The state of authentication.
pub struct Auth {
    secrets: PageSecrets,
    pub(super) sealers: Sealers,
    pub(super) rules: PageRules,
    guesses: Arc<Guesses>,
    signed_out: Arc<SignedOut>,
    once: Once,
}

/// The rules that apply to all users of the page.
#[derive(Clone, Debug)]
pub struct PageRules {
    /// How long a sign-in is valid.
    pub session_time: Duration,
    /// Whether all changes are refused.
    pub read_only: bool,
    /// The path of the page behind a proxy.
    pub base_path: BasePath,
}

/// An authenticated user.
#[derive(Clone, Debug)]
pub(super) struct ApiUser {
    /// Named as at sign-in, or by the number in `X-User-Id`.
    pub principal: Principal,
    /// When the session ends, in seconds since the epoch; `None` if the secret was sent in a header.
    pub until: Option<i64>,
    /// The id of the session.
    mark: Option<String>,
    /// The CSRF token of the session.
    csrf: Option<String>,
}

impl Auth {
    /// Without secrets every request is refused. Must be called inside a runtime.
    #[must_use]
    pub fn new(
        secrets: PageSecrets,
        rules: PageRules,
        guesses: Arc<Guesses>,
        ended: Arc<dyn EndedSessions>,
    ) -> Self {
        let sealers = Sealers::new(&secrets);
        let (signed_out, once) = (SignedOut::begin(ended), Once::default());
        Self { secrets, sealers, rules, guesses, signed_out, once }
    }

    /// The access for which this secret signs in. `None`: it is wrong, and has been counted.
    pub(super) fn signs_in(&self, request: &HttpRequest, given: &str) -> Result<Option<Access>, Problem> {
        let mut access = None;
        self.guesses.judge(request, || {
            access = self.secrets.signs_in(given);
            access.is_some()
        })?;
        Ok(access)
    }

    /// The client of a request.
    pub(super) fn peer(&self, request: &HttpRequest) -> Option<IpAddr> {
        self.guesses.peer(request)
    }

    /// The sealer for confirmations of changes; `None` if no user may make any.
    pub(super) fn seals(&self) -> Option<&Sealer> {
        self.sealers.of(Access::Operator)
    }

    /// The session in a cookie of the request, even if it has been signed out.
    pub(super) fn sealed_session(&self, request: &HttpRequest) -> Option<Session> {
        cookies_in(request).find_map(|cookie| Session::read(&self.sealers, cookie))
    }

    /// The session in a cookie of the request, unless it has been signed out.
    pub(super) async fn session(&self, request: &HttpRequest) -> Result<Option<Session>, Problem> {
        let Some(session) = self.sealed_session(request) else { return Ok(None) };
        let ended = self.signed_out.has(&session.mark, session.until).await?;
        Ok((!ended).then_some(session))
    }

    /// Ends a session early.
    pub(super) async fn sign_out(&self, session: &Session) -> Result<(), Problem> {
        let now = Utc::now().timestamp();
        let time = i64::try_from(self.rules.session_time.as_secs()).unwrap_or(i64::MAX);
        self.signed_out.end(session, now, now.saturating_add(time)).await
    }

    /// Whether the session is neither over nor signed out. If that is unknown, it counts as valid.
    pub(super) async fn still_knows(&self, user: &ApiUser) -> bool {
        let (Some(until), Some(mark)) = (user.until, &user.mark) else { return true };
        let ended = self.signed_out.has(mark, until).await.unwrap_or(false);
        until > Utc::now().timestamp() && !ended
    }

    async fn user(&self, request: &HttpRequest) -> Result<ApiUser, Problem> {
        if let Some(given) = request.headers().get(SECRET_HEADER) {
            if !self.guesses.judge(request, || self.secrets.is_internal(given.as_bytes()))? {
                let (peer, path) = (self.peer(request), request.path());
                tracing::warn!(target: "tikkun::audit", peer = peer.map(tracing::field::display), path, "a wrong secret was refused");
                return Err(Problem::unauthorized());
            }
            let name = person(request)?.map_or_else(|| "http".to_owned(), |id| format!("user {id}"));
            let principal = self.principal(request, (name, Access::Operator));
            return Ok(ApiUser { principal, until: None, mark: None, csrf: None });
        }
        let session = self.session(request).await?.ok_or_else(Problem::unauthorized)?;
        let Session { mark, name, access, until, csrf } = session;
        let principal = self.principal(request, (name, access));
        Ok(ApiUser { principal, until: Some(until), mark: Some(mark), csrf: Some(csrf) })
    }

    fn principal(&self, request: &HttpRequest, (name, access): (String, Access)) -> Principal {
        let scope = match access {
            _ if self.rules.read_only => Scope::ReadOnly(ReadOnly::Service),
            Access::Viewer => Scope::ReadOnly(ReadOnly::Viewer),
            Access::Operator => Scope::All,
        };
        Principal { scope, ..Principal::operator(name, trace(request)) }
    }

    fn may_change(user: &ApiUser, request: &HttpRequest) -> Result<(), Problem> {
        user.principal.may_change()?;
        let Some(token) = &user.csrf else { return Ok(()) };
        let given = request.headers().get(CSRF_HEADER);
        if given.is_some_and(|given| given.as_bytes().ct_eq(token.as_bytes()).into()) {
            return Ok(());
        }
        let message = format!("the header {CSRF_HEADER} does not carry the token of this session");
        Err(Problem::new(StatusCode::FORBIDDEN, "csrf", message))
    }
}

impl FromRequest for ApiUser {
    type Error = Details;
    type Future = std::future::Ready<Result<Self, Details>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = request.extensions().get::<Self>().cloned();
        std::future::ready(user.ok_or_else(|| Problem::unauthorized().into()))
    }
}

/// Authenticates the request. A change is checked, made at most once per idempotency key, and audited.
pub(super) async fn enter(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(auth) = request.app_data::<web::Data<Auth>>().cloned() else {
        return Err(Details(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)).into());
    };
    let user = match auth.user(request.request()).await {
        Ok(user) => user,
        Err(problem) => return Ok(request.into_response(problem.to_details())),
    };
    request.extensions_mut().insert(user.clone());
    if [Method::GET, Method::HEAD].contains(request.method()) {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    }
    let what = format!("{} {}", request.method(), request.path());
    let line = AuditLine::begin(&user.principal.name, what, auth.peer(request.request()));
    let answer = match Auth::may_change(&user, request.request()) {
        Ok(()) => change(&auth, &user, (request, next)).await?,
        Err(problem) => request.into_response(problem.to_details()),
    };
    line.end(answer.status().as_u16());
    Ok(answer)
}

/// Makes a change, or repeats the response of the first time.
async fn change(
    auth: &Auth,
    user: &ApiUser,
    (mut request, next): (ServiceRequest, Next<impl MessageBody + 'static>),
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(key) = key_of(request.request()) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let body = match request.extract::<web::Bytes>().await {
        Ok(body) => body,
        Err(error) => {
            let status = error.as_response_error().status_code();
            return Ok(request.into_response(Problem::of_status(status).to_details()));
        }
    };
    let fingerprint = Once::fingerprint(&[request.method().as_str(), request.path()], &body);
    let payload = Box::pin(stream::once(std::future::ready(Ok(body))));
    request.set_payload(Payload::Stream { payload });
    let turn = match auth.once.turn(&user.principal.name, &key, fingerprint) {
        Ok(turn) => turn,
        Err(problem) => return Ok(request.into_response(problem.to_details())),
    };
    match turn {
        Turn::Again(kept) => Ok(request.into_response(kept.answer())),
        Turn::First(ticket) => {
            let answer = next.call(request).await?.map_into_boxed_body();
            if !answer.status().is_success() {
                return Ok(answer);
            }
            let (request, answer) = answer.into_parts();
            let kept = Kept::of(answer)
                .await
                .map_err(|_| Details(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)))?;
            let answer = kept.answer();
            ticket.keep(kept);
            Ok(ServiceResponse::new(request, answer))
        }
    }
}

fn key_of(request: &HttpRequest) -> Option<String> {
    let key = request.headers().get(KEY_HEADER)?.to_str().ok()?.trim();
    (!key.is_empty()).then(|| key.chars().take(KEY_CHARS).collect())
}

/// The headers of every response of the API.
pub(super) fn headers() -> actix_web::middleware::DefaultHeaders {
    actix_web::middleware::DefaultHeaders::new()
        .add((header::CACHE_CONTROL, "no-store"))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}
