//! The address of the captured worker's Redis.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;

use crate::python::Connection;

/// The address as `broker.url` takes it. It may hold a password.
#[must_use]
pub fn redis_url(connection: &Connection) -> String {
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let user = connection.username.as_deref().map(escaped).unwrap_or_default();
    let password =
        connection.password.as_ref().map(|password| format!(":{}", escaped(password.expose_secret())));
    let credentials = match password {
        Some(password) => format!("{user}{password}@"),
        None if user.is_empty() => String::new(),
        None => format!("{user}@"),
    };
    let db = connection.db.unwrap_or(0);
    if connection.kind == "unix" {
        let path = connection.path.as_deref().unwrap_or_default();
        return format!("unix://{credentials}{path}?db={db}");
    }
    let host = connection.host.as_deref().unwrap_or("localhost");
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = connection.port.unwrap_or(6379);
    let scheme = if connection.tls { "rediss" } else { "redis" };
    let options = [
        ("ssl_ca_certs", &connection.ssl_ca_certs),
        ("ssl_cert_reqs", &connection.ssl_cert_reqs),
        ("ssl_certfile", &connection.ssl_certfile),
        ("ssl_keyfile", &connection.ssl_keyfile),
    ];
    let given = options.iter().filter(|_| connection.tls);
    let mut query: Vec<_> =
        given.filter_map(|(name, value)| Some(format!("{name}={}", escaped(value.as_deref()?)))).collect();
    if connection.tls && connection.ssl_check_hostname == Some(false) {
        query.push("ssl_check_hostname=false".to_owned());
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    format!("{scheme}://{credentials}{host}:{port}/{db}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> Connection {
        Connection {
            kind: "tcp".into(),
            host: Some("cache".into()),
            port: Some(6380),
            db: Some(2),
            ..Connection::default()
        }
    }

    #[test]
    fn addresses_say_all_that_the_worker_was_told() {
        assert_eq!(redis_url(&tcp()), "redis://cache:6380/2");
        let secret = Connection { username: Some("app".into()), password: Some("p@ss/1".into()), ..tcp() };
        assert_eq!(redis_url(&secret), "redis://app:p%40ss%2F1@cache:6380/2");
        let only_password = Connection { password: Some("x".into()), host: Some("::1".into()), ..tcp() };
        assert_eq!(redis_url(&only_password), "redis://:x@[::1]:6380/2");
        let unix =
            Connection { kind: "unix".into(), path: Some("/run/redis.sock".into()), ..Connection::default() };
        assert_eq!(redis_url(&unix), "unix:///run/redis.sock?db=0");
        let ca = Connection { tls: true, ssl_ca_certs: Some("/ca.pem".into()), ..tcp() };
        assert_eq!(redis_url(&ca), "rediss://cache:6380/2?ssl_ca_certs=%2Fca%2Epem");
    }
}
