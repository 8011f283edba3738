//! `[http]`: the HTTP server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

use crate::config::reader::Reader;
use crate::config::size::ByteSize;

/// `[http]`.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Whether the HTTP server runs.
    pub enabled: bool,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port; 0 takes any free one.
    pub port: u16,
    /// The secret for callers of `/api`; if `None`, every such call is answered 401.
    pub internal_secret: Option<SecretString>,
    /// The secret for a read-only sign-in on the page; if `None`, there is no such sign-in.
    pub viewer_secret: Option<SecretString>,
    /// The secret for a sign-in on the page that allows changes; if `None`, `internal_secret` is used.
    pub operator_secret: Option<SecretString>,
    /// The path of the page behind a proxy; empty for the root.
    pub base_path: String,
    /// The largest request body, in bytes.
    pub body_limit: ByteSize,
    /// The time limit of a request.
    pub request_timeout: Duration,
    /// Whether metrics are counted and served at `/metrics`.
    pub metrics: bool,
    /// How often the page's state is read while the page is open.
    pub page_interval: Duration,
    /// How long a sign-in on the page is valid.
    pub session_time: Duration,
    /// Whether the page and `/api/v1` refuse all changes.
    pub read_only: bool,
    /// The proxies whose `X-Forwarded-For` and `Forwarded` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The most delete-all requests per business and minute.
    pub delete_all_per_minute: u32,
    /// With more failed jobs than this the health is `degraded`.
    pub degraded_failed: u64,
    /// With more waiting jobs than this the health is `degraded`.
    pub degraded_queued: u64,
}

/// A secret with fewer characters can be guessed.
const SHORT_SECRET: usize = 16;

/// The first parts of the service's own paths. A base path must not begin with one of them.
const OWN_PATHS: [&str; 6] = ["api", "page", "metrics", "healthz", "readyz", "startupz"];

impl HttpSettings {
    /// The socket address to listen on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            enabled: reader.get("http.enabled"),
            bind: reader.get("http.bind"),
            port: reader.within("http.port", 0..=65535),
            internal_secret: Some(reader.read(
                "http.internal_secret",
                "text that fits into a header: visible ASCII characters, no space at either end",
                fits_into_a_header,
            ))
            .filter(|secret| !secret.expose_secret().is_empty()),
            viewer_secret: page_secret(reader, "http.viewer_secret"),
            operator_secret: page_secret(reader, "http.operator_secret"),
            base_path: reader.read(
                "http.base_path",
                "empty, or a path like `/tikkun`: it begins with a slash, ends with none, holds letters, digits and \
                 `-._~` between them, and is none that the service has itself",
                |path: &String| is_base_path(path),
            ),
            body_limit: reader.read("http.body_limit", "a size from 1KiB to 64MiB", |size: &ByteSize| {
                (1 << 10..=64 << 20).contains(&size.0)
            }),
            request_timeout: reader.duration("http.request_timeout"),
            metrics: reader.get("http.metrics"),
            page_interval: reader.read(
                "http.page_interval",
                "a duration of 100ms or more",
                |time: &Duration| *time >= Duration::from_millis(100),
            ),
            session_time: reader.duration("http.session_time"),
            read_only: reader.get("http.read_only"),
            trusted_proxies: reader.get("http.trusted_proxies"),
            delete_all_per_minute: reader.within("http.delete_all_per_minute", 1..=6000),
            degraded_failed: reader.get("http.degraded_failed"),
            degraded_queued: reader.get("http.degraded_queued"),
        }
    }

    /// Whether a secret is set that is short enough to be guessed.
    pub(in crate::config) fn secret_is_short(&self) -> bool {
        self.internal_secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < SHORT_SECRET)
    }
}

/// Whether the path is valid and does not collide with one of the service's own.
fn is_base_path(path: &str) -> bool {
    let fits = |part: &str| {
        !part.is_empty()
            && ![".", ".."].contains(&part)
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))
    };
    let own = |rest: &str| rest.split('/').next().is_some_and(|first| OWN_PATHS.contains(&first));
    path.is_empty() || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(fits) && !own(rest))
}

/// Reads a secret for the page: `None` if it is empty; a short one is refused.
fn page_secret(reader: &mut Reader<'_>, key: &'static str) -> Option<SecretString> {
    let expected = format!(
        "empty, or text of {SHORT_SECRET} characters or more: visible ASCII characters, no space at either end"
    );
    let fits = |secret: &SecretString| {
        let length = secret.expose_secret().len();
        fits_into_a_header(secret) && (length == 0 || length >= SHORT_SECRET)
    };
    Some(reader.read(key, &expected, fits)).filter(|secret| !secret.expose_secret().is_empty())
}

/// Other texts would never match: servers trim header values and refuse control characters.
fn fits_into_a_header(secret: &SecretString) -> bool {
    let text = secret.expose_secret();
    text.trim() == text && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}
