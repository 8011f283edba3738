//! The client of a request: the peer of the connection, or the address that a trusted proxy gives.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header;
use ipnet::IpNet;

/// The proxies whose forwarding headers are believed. If there are none, only the connection counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// The addresses in a forwarding header, the nearest last; `None` for an element that is no address.
type Hops = Vec<Option<IpAddr>>;

impl TrustedProxies {
    /// The proxies in these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The client of a request. If the two headers disagree, it is the peer of the connection: one of the
    /// headers was passed on unchecked.
    pub(super) fn client(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip().to_canonical();
        if !self.trusts(peer) {
            return Some(peer);
        }
        let values = |name| request.headers().get_all(name).filter_map(|value| value.to_str().ok());
        let forwarded: Hops =
            values(header::FORWARDED).flat_map(|line| line.split(',')).map(of_forwarded).collect();
        let listed = values(header::HeaderName::from_static("x-forwarded-for"));
        let listed: Hops = listed.flat_map(|line| line.split(',')).map(address).collect();
        Some(match (forwarded.is_empty(), listed.is_empty()) {
            (true, _) => self.behind(peer, &listed),
            (false, true) => self.behind(peer, &forwarded),
            (false, false) => {
                let (one, other) = (self.behind(peer, &forwarded), self.behind(peer, &listed));
                if one == other { one } else { peer }
            }
        })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The nearest address that is no trusted proxy. What lies behind it is not reliable.
    fn behind(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
        let mut at = peer;
        for hop in hops.iter().rev() {
            match hop {
                Some(address) if self.trusts(*address) => at = *address,
                Some(address) => return *address,
                None => return at,
            }
        }
        at
    }
}

/// The address in one element of `Forwarded`: `for=192.0.2.1`, `For="[2001:db8::1]:4711"`.
fn of_forwarded(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(value.trim().trim_matches('"'))
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let found = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    found.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn client(trusted: &[&str], peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let proxies = TrustedProxies::new(trusted.iter().map(|network| network.parse().unwrap()).collect());
        let request = TestRequest::default().peer_addr(format!("{peer}:1234").parse().unwrap());
        let request = headers.iter().fold(request, |request, header| request.append_header(*header));
        proxies.client(&request.to_http_request()).unwrap().to_string()
    }

    const PROXY: &[&str] = &["10.0.0.0/8"];

    #[test]
    fn without_trust_nobody_speaks_for_another() {
        let headers = [("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1")];
        assert_eq!(client(&[], "203.0.113.9", &headers), "203.0.113.9");
        assert_eq!(client(PROXY, "203.0.113.9", &headers), "203.0.113.9", "not from a trusted peer");
    }

    #[test]
    fn a_trusted_proxy_names_its_client() {
        for header in [
            ("X-Forwarded-For", "192.0.2.1"),
            ("X-Forwarded-For", "192.0.2.1:4711"),
            ("Forwarded", "proto=https; For=192.0.2.1;by=10.0.0.1"),
            ("Forwarded", "for=\"192.0.2.1:80\""),
        ] {
            assert_eq!(client(PROXY, "10.1.2.3", &[header]), "192.0.2.1", "{header:?}");
        }
        assert_eq!(client(PROXY, "10.1.2.3", &[("Forwarded", "for=\"[2001:db8::1]:80\"")]), "2001:db8::1");
        assert_eq!(client(PROXY, "10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn what_a_client_claims_itself_is_not_believed() {
        let claimed = [("X-Forwarded-For", "198.51.100.1, 192.0.2.1, 10.0.0.7")];
        assert_eq!(client(PROXY, "10.1.2.3", &claimed), "192.0.2.1", "only what a trusted hop has added");
        let inside = [("X-Forwarded-For", "10.0.0.99"), ("X-Forwarded-For", "192.0.2.1")];
        assert_eq!(client(PROXY, "10.1.2.3", &inside), "192.0.2.1");
        let garbled = [("X-Forwarded-For", "198.51.100.1, unknown")];
        assert_eq!(client(PROXY, "10.1.2.3", &garbled), "10.1.2.3");
        let two = [("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=198.51.100.1")];
        assert_eq!(client(PROXY, "10.1.2.3", &two), "10.1.2.3", "one of them came from the client");
        let open = [("Forwarded", "for=\"198.51.100.1"), ("Forwarded", "for=192.0.2.1")];
        assert_eq!(client(PROXY, "10.1.2.3", &open), "192.0.2.1", "an open quote swallows nothing");
    }
}
