//! Makes one request as Python's `urllib` does, which RQ uses: on a connection of its own, and with the same
//! redirections.

use std::path::PathBuf;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::route::{Routes, SendError, exchange};
use crate::config::WebhookProxies;
use crate::job::WebhookRequest;

/// The most redirections that are followed.
const REDIRECTIONS: usize = 10;

/// Makes requests.
pub(super) struct Client {
    routes: Routes,
}

/// The request to make next.
struct Step {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    pub(super) fn new(ca_file: Option<PathBuf>, proxies: WebhookProxies) -> Self {
        Self { routes: Routes::new(ca_file, proxies) }
    }

    /// Makes the request; an answer other than a success is an error.
    pub(super) async fn send(&self, request: &WebhookRequest) -> Result<(), SendError> {
        let mut step = Step::first(request)?;
        for _ in 0..=REDIRECTIONS {
            let (answer, _connection) = self.exchange(&step).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            let Some(next) = step.redirected(&answer)? else {
                return Err(format!("the host answered {status}").into());
            };
            step = next;
        }
        Err(format!("it was redirected more than {REDIRECTIONS} times").into())
    }

    /// The answer, and the connection that it came on.
    async fn exchange(&self, step: &Step) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), SendError> {
        let route = self.routes.to(&step.uri)?;
        let mut request = Request::new(Full::new(step.body.clone()));
        *request.method_mut() = step.method.clone();
        *request.headers_mut() = step.headers.clone();
        if !step.headers.contains_key(HOST) {
            request.headers_mut().insert(HOST, HeaderValue::from_str(&authority(&step.uri)?)?);
        }
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        *request.uri_mut() = route.target(&step.uri, &authority(&step.uri)?)?;
        request.headers_mut().extend(route.proxy_headers()?);
        let stream = self.routes.open(&route).await?;
        exchange(stream, request).await
    }
}

impl Step {
    fn first(request: &WebhookRequest) -> Result<Self, SendError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            headers.insert(HeaderName::from_bytes(name.as_bytes())?, latin1(value)?);
        }
        // They are those of this connection and this body.
        for ours in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(ours);
        }
        let method = if request.body.is_some() { Method::POST } else { Method::GET };
        let body = request.body.clone().map(Bytes::from).unwrap_or_default();
        Ok(Self { method, uri: request.url.parse()?, headers, body })
    }

    /// The request that follows this answer, which is always a GET; `None` if the answer is final. The headers of the
    /// webhook, which may hold secrets, go to no other host.
    fn redirected(&self, answer: &Response<Incoming>) -> Result<Option<Self>, SendError> {
        let is_followed = match answer.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => true,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => self.method == Method::GET,
            _ => false,
        };
        let Some(place) = answer.headers().get(LOCATION).filter(|_| is_followed) else { return Ok(None) };
        let elsewhere = |_| "it was redirected to what is no address";
        let place =
            std::str::from_utf8(place.as_bytes()).map_err(|_| "it was redirected to what is no address")?;
        let here = Url::parse(&self.uri.to_string()).map_err(elsewhere)?;
        let there = here.join(place).map_err(elsewhere)?;
        let mut headers = self.headers.clone();
        if there.origin() != here.origin() {
            headers.clear();
        }
        headers.remove(CONTENT_TYPE);
        let mut there = there;
        there.set_fragment(None);
        let uri = there.as_str().parse()?;
        Ok(Some(Self { method: Method::GET, uri, headers, body: Bytes::new() }))
    }
}

/// The host and port, as they stand in the address.
fn authority(uri: &Uri) -> Result<String, SendError> {
    let authority = uri.authority().ok_or("its address has no host")?.as_str();
    Ok(authority.rsplit('@').next().unwrap_or_default().to_owned())
}

/// As Python encodes the value of a header.
fn latin1(text: &str) -> Result<HeaderValue, SendError> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    let bytes = bytes.map_err(|_| "a header has characters beyond Latin-1")?;
    Ok(HeaderValue::from_bytes(&bytes).map_err(|_| "a header has control characters")?)
}
