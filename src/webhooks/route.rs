//! The way to a host: directly or through the proxy of the environment, and with TLS for `https` addresses.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Empty;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{ProxySettings, WebhookProxies, trusted_roots};

/// How long the authorities that were read are those of new connections; reading takes longer than connecting.
const HELD: Duration = Duration::from_secs(1);

/// Why a request failed; never with its headers or the query of its address.
pub(super) type SendError = Box<dyn Error + Send + Sync>;

/// A connection.
pub(super) type Stream = Box<dyn Duplex>;

/// Anything that bytes go both ways through.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Knows the way to every host.
pub(super) struct Routes {
    ca_file: Option<PathBuf>,
    proxies: WebhookProxies,
    /// With when its authorities were read, whose files may be renewed at any time.
    tls: Mutex<Option<(Instant, TlsConnector)>>,
}

/// The way to one host.
pub(super) struct Route<'a> {
    end: End,
    proxy: Option<(End, &'a ProxySettings)>,
}

/// One end of a connection.
struct End {
    host: String,
    port: u16,
    tls: bool,
}

impl End {
    fn of(uri: &Uri) -> Result<Self, SendError> {
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("its address is neither http nor https".into()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("its address has no host")?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, tls })
    }

    /// As it stands in an address.
    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl Route<'_> {
    /// What the first line of the request names: the path, or to a proxy the whole address.
    pub(super) fn target(&self, uri: &Uri, authority: &str) -> Result<Uri, SendError> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        match self.plain_proxy() {
            Some(_) => Ok(format!("http://{authority}{path}").parse()?),
            None => Ok(path.parse()?),
        }
    }

    /// The headers for a proxy that reads the request itself.
    pub(super) fn proxy_headers(&self) -> Result<HeaderMap, SendError> {
        self.plain_proxy().map_or(Ok(HeaderMap::new()), login)
    }

    /// The proxy, if the request is not tunnelled through it.
    fn plain_proxy(&self) -> Option<&ProxySettings> {
        self.proxy.as_ref().filter(|_| !self.end.tls).map(|(_, settings)| *settings)
    }
}

impl Routes {
    pub(super) fn new(ca_file: Option<PathBuf>, proxies: WebhookProxies) -> Self {
        Self { ca_file, proxies, tls: Mutex::default() }
    }

    /// The way to the host of this address.
    pub(super) fn to(&self, uri: &Uri) -> Result<Route<'_>, SendError> {
        let end = End::of(uri)?;
        let proxy = if end.tls { &self.proxies.https } else { &self.proxies.http };
        let proxy = proxy.as_ref().filter(|proxy| !is_excepted(proxy, uri));
        let proxy =
            proxy.map(|proxy| Ok::<_, SendError>((End::of(&proxy.url.parse()?)?, proxy))).transpose()?;
        Ok(Route { end, proxy })
    }

    /// A new connection.
    pub(super) async fn open(&self, route: &Route<'_>) -> Result<Stream, SendError> {
        let Some((proxy, settings)) = &route.proxy else {
            let stream = connect(&route.end).await?;
            return self.encrypted(stream, &route.end).await;
        };
        let stream = self.encrypted(connect(proxy).await?, proxy).await?;
        if route.end.tls {
            self.encrypted(tunnel(stream, &route.end, settings).await?, &route.end).await
        } else {
            Ok(stream)
        }
    }

    /// The connection with TLS, if this end wants it.
    async fn encrypted(&self, stream: Stream, end: &End) -> Result<Stream, SendError> {
        if !end.tls {
            return Ok(stream);
        }
        let tls = self.connector().await?;
        Ok(Box::new(tls.connect(ServerName::try_from(end.host.clone())?, stream).await?))
    }

    async fn connector(&self) -> Result<TlsConnector, SendError> {
        let mut held = self.tls.lock().await;
        if let Some((read, tls)) = &*held
            && read.elapsed() < HELD
        {
            return Ok(tls.clone());
        }
        let ca_file = self.ca_file.clone();
        let tls = tokio::task::spawn_blocking(|| connector(ca_file)).await??;
        *held = Some((Instant::now(), tls.clone()));
        Ok(tls)
    }
}

fn connector(ca_file: Option<PathBuf>) -> Result<TlsConnector, String> {
    let pem = trusted_roots(ca_file.as_deref())?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Whether NO_PROXY names the host.
fn is_excepted(proxy: &ProxySettings, uri: &Uri) -> bool {
    let all = Matcher::builder().http("http://proxy").https("http://proxy").no(proxy.except.as_str()).build();
    all.intercept(uri).is_none()
}

async fn connect(end: &End) -> Result<Stream, SendError> {
    Ok(Box::new(TcpStream::connect((end.host.as_str(), end.port)).await?))
}

/// Has the proxy pass everything on to the host.
async fn tunnel(stream: Stream, end: &End, proxy: &ProxySettings) -> Result<Stream, SendError> {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = end.authority().parse()?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(&end.authority())?);
    request.headers_mut().extend(login(proxy)?);
    let (answer, _connection) = exchange(stream, request).await?;
    if !answer.status().is_success() {
        return Err(format!("the proxy answered {}", answer.status()).into());
    }
    Ok(Box::new(TokioIo::new(hyper::upgrade::on(answer).await?)))
}

fn login(proxy: &ProxySettings) -> Result<HeaderMap, SendError> {
    let mut headers = HeaderMap::new();
    if let Some((user, password)) = &proxy.login {
        let basic = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        headers.insert(PROXY_AUTHORIZATION, HeaderValue::from_str(&format!("Basic {basic}"))?);
    }
    Ok(headers)
}

/// Makes a request on this connection, which ends when the handle is dropped.
pub(super) async fn exchange<B>(
    stream: Stream,
    request: Request<B>,
) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), SendError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<SendError>,
{
    let connecting = http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await?;
    let (mut requests, connection) = connecting;
    let driver = tokio::spawn(async move {
        // Its error is that of the request, too.
        let _ = connection.with_upgrades().await;
    });
    let driver = AbortOnDropHandle::new(driver);
    Ok((requests.send_request(request).await?, driver))
}
