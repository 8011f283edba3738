//! `[http]`: the window to the outside.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

use super::reader::Reader;
use super::size::ByteSize;

/// `[http]`.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Whether the process listens at all.
    pub enabled: bool,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port; 0 takes any free one.
    pub port: u16,
    /// What callers of `/api` must show; none: every such call is a 401.
    pub internal_secret: Option<SecretString>,
    /// The largest request body.
    pub body_limit: ByteSize,
    /// The longest a request may take.
    pub request_timeout: Duration,
    /// Whether figures are counted and `/metrics` is served.
    pub metrics: bool,
    /// How often the page's state is read while somebody looks.
    pub page_interval: Duration,
    /// How long a sign-in lasts.
    pub session_time: Duration,
    /// Whether the page and `/api/v1` change nothing.
    pub read_only: bool,
    /// Who is believed about whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
    /// Delete-all requests that one business may make in a minute.
    pub delete_all_per_minute: u32,
    /// More failed jobs than this: `degraded`.
    pub degraded_failed: u64,
    /// More waiting jobs than this: `degraded`.
    pub degraded_queued: u64,
}

/// A secret shorter than this can be guessed.
const SHORT_SECRET: usize = 16;

impl HttpSettings {
    /// Where to listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
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

    /// Whether the secret is there, but short enough to be guessed.
    pub(super) fn secret_is_short(&self) -> bool {
        self.internal_secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < SHORT_SECRET)
    }
}

/// Anything else could never match: servers trim header values and refuse control characters.
fn fits_into_a_header(secret: &SecretString) -> bool {
    let text = secret.expose_secret();
    text.trim() == text && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}
