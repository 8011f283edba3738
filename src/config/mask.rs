//! Shows URLs with `***` in place of the password.

/// Parts of a query parameter's name that mark its value as secret.
const SECRET_WORDS: [&str; 5] = ["pass", "secret", "token", "key", "pwd"];

/// The URL without its secrets: `redis://user:***@host:6379/0`.
///
/// It accepts malformed URLs, as people type them: everything up to the last `@` counts as user and password, without
/// one what stands in a port's place and is none may be a password, and text that is no URL becomes `***`.
#[must_use]
pub fn masked_url(url: &str) -> String {
    if url.is_empty() {
        return String::new();
    }
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return "***".to_owned();
    };
    if scheme == "sqlite" {
        return url.to_owned();
    }
    let (user_info, place) = match rest.rsplit_once('@') {
        Some((before, after)) => (masked_user_info(before), after),
        None => match before_no_port(rest) {
            Some(before) => return format!("{scheme}://{before}:***"),
            None => (String::new(), rest),
        },
    };
    format!("{scheme}://{user_info}{}", masked_query(place))
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// A user without a password may be a token, so it is hidden too.
fn masked_user_info(text: &str) -> String {
    match text.split_once(':') {
        Some((user, _)) => format!("{user}:***@"),
        None => "***@".to_owned(),
    }
}

/// What stands before a port that is none: in `user:hunter2/db` somebody forgot the host. Several hosts may have a port
/// each, and an address of IPv6 has colons.
fn before_no_port(place: &str) -> Option<&str> {
    let authority = place.split(['/', '?', '#']).next()?;
    let is_none = |host: &str| {
        let port = host.rsplit(']').next().and_then(|rest| rest.split_once(':'));
        port.is_some_and(|(_, port)| !port.chars().all(|one| one.is_ascii_digit()))
    };
    authority.split(',').any(is_none).then(|| authority.split(':').next()).flatten()
}

fn masked_query(place: &str) -> String {
    let Some((before, query)) = place.split_once('?') else { return place.to_owned() };
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{before}?{}", shown.join("&"))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_replaced_wherever_they_stand() {
        let table = [
            ("redis://redis:6379/0", "redis://redis:6379/0"),
            ("redis://user:hunter2@host:6379/0", "redis://user:***@host:6379/0"),
            ("redis://:hunter2@host", "redis://:***@host"),
            ("rediss://hunter2@host", "rediss://***@host"),
            ("redis://user:hun/ter2@host/0", "redis://user:***@host/0"),
            ("redis://user:hun@ter2@host/0", "redis://user:***@host/0"),
            ("redis://user:hun?ter2#@host/0", "redis://user:***@host/0"),
            (
                "postgresql+psycopg2://u:hunter2@db/app?sslmode=require",
                "postgresql+psycopg2://u:***@db/app?sslmode=require",
            ),
            ("postgres://db/app?user=u&password=hunter2", "postgres://db/app?user=u&password=***"),
            ("postgres://u:hunter2/app", "postgres://u:***"),
            ("postgres://u:hun,ter2/app", "postgres://u:***"),
            ("redis://:hunter2", "redis://:***"),
            ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
            ("redis://[::1]/0", "redis://[::1]/0"),
            ("postgres://a:5432,b:5433/app", "postgres://a:5432,b:5433/app"),
            ("hunter2", "***"),
            ("u:hunter2@host", "***"),
            ("hun ter2://x", "***"),
            ("sqlite:///srv/a@b.db", "sqlite:///srv/a@b.db"),
            ("", ""),
        ];
        for (given, shown) in table {
            assert_eq!(masked_url(given), shown, "{given}");
        }
    }
}
