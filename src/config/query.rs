//! Unknown parameters after the `?` of an address: which are ignored, and which are refused.

use super::nearest::nearest;

/// Prefixes of parameters that choose the server, database, user or protection.
const WEIGHTY: [&str; 12] =
    ["ssl", "tls", "gss", "host", "port", "user", "pass", "db", "database", "serv", "channel", "target"];

/// Returns why an unknown parameter must not be ignored: its name resembles one that chooses the server,
/// database, user or protection, in `known` or not. `None` if it can be ignored.
pub(super) fn suspicion(name: &str, known: &[&str]) -> Option<String> {
    let plain: String = name.to_ascii_lowercase().chars().filter(|c| !"-_".contains(*c)).collect();
    let is_weighty = |name: &str| WEIGHTY.iter().any(|beginning| name.starts_with(beginning));
    let weighty: Vec<&str> = known.iter().copied().filter(|one| is_weighty(one)).collect();
    let same = weighty.iter().find(|one| one.replace('_', "") == plain);
    if let Some(meant) = same.copied().or_else(|| nearest(name, weighty.iter().copied())) {
        return Some(format!("`{name}` is no parameter; did you mean `{meant}`?"));
    }
    is_weighty(&plain)
        .then(|| format!("`{name}` is no parameter, and could not be passed over safely: leave it out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_change_the_server_or_its_protection_is_not_passed_over() {
        let known = [
            "sslmode",
            "host",
            "channel_binding",
            "connect_timeout",
            "socket_timeout",
            "health_check_interval",
        ];
        let table = [
            ("SSLMODE", Some("did you mean `sslmode`")),
            ("ssl-mode", Some("did you mean `sslmode`")),
            ("slmode", Some("did you mean `sslmode`")),
            ("channelBinding", Some("did you mean `channel_binding`")),
            ("hostname", Some("leave it out")),
            ("sslsomething_new", Some("leave it out")),
            ("pool_timeout", None),
            ("command_timeout", None),
            ("read_timeout", None),
            ("connectTimeout", None),
            ("schema", None),
        ];
        for (name, expected) in table {
            let said = suspicion(name, &known);
            assert_eq!(said.is_some(), expected.is_some(), "{name}: {said:?}");
            assert!(said.unwrap_or_default().contains(expected.unwrap_or_default()), "{name}");
        }
    }
}
