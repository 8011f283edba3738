//! The address of the running service, and the secret for it.

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::SecretString;

use super::Common;
use super::advice::Advice;
use super::ending::Complaint;
use crate::config::HttpSettings;

/// A running service and its secret.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `http://host:port`.
    pub base: String,
    /// The value for `X-Internal-Secret`.
    pub secret: SecretString,
}

impl Place {
    /// The service at `url`, else the one described by the settings of this machine.
    pub(super) fn find(url: Option<String>, common: &Common) -> Result<Self, Complaint> {
        let http = common.load(Vec::new()).map_err(Complaint::said)?.settings.http;
        let base = url.map_or_else(|| address_of(&http), Ok)?;
        let secret = http.internal_secret.ok_or_else(|| {
            let text = "`http.internal_secret` is not set, and the service tells strangers nothing";
            Complaint::usage(text, Advice::GIVE_SECRET)
        })?;
        Ok(Self { base, secret })
    }
}

/// The address of this machine's service according to its settings.
pub(super) fn own_address(common: &Common) -> Result<String, Complaint> {
    address_of(&common.load(Vec::new()).map_err(Complaint::said)?.settings.http)
}

fn address_of(http: &HttpSettings) -> Result<String, Complaint> {
    if !http.enabled {
        return Err(Complaint::usage("`http.enabled` is false, so nothing listens", Advice::GIVE_URL));
    }
    if http.port == 0 {
        return Err(Complaint::usage("`http.port` is 0, so nobody knows the port", Advice::GIVE_URL));
    }
    Ok(format!("http://{}", loopback(http.address())))
}

/// The address, with loopback in place of an unspecified one. IPv4 works in any case: a service on `::`
/// serves IPv4, too, and only IPv4 where there is no IPv6.
pub(super) fn loopback(address: SocketAddr) -> SocketAddr {
    let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

/// Parses `http://host:port`, optionally with a path; query and fragment are refused.
pub(super) fn base(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let parsed = url::Url::parse(trimmed).ok().filter(|url| url.scheme() == "http" && url.has_host());
    match parsed {
        Some(url) if url.query().is_none() && url.fragment().is_none() => Ok(trimmed.to_owned()),
        _ => Err("expected http:// with host and port, such as http://127.0.0.1:8080".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_reached_at_loopback() {
        for (bound, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            assert_eq!(loopback(bound.parse().unwrap()).to_string(), reached);
        }
    }
}
