//! A session on the page, and its sealed cookie.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::Utc;

use super::access::{Access, PageSecrets};
use super::seal::Sealer;

/// The cookie's name.
pub(super) const COOKIE: &str = "tikkun_session";
/// The header with the CSRF token of the session.
pub(super) const CSRF_HEADER: &str = "X-CSRF-Token";
/// The most characters of a user's name.
const NAME_CHARS: usize = 60;

/// A session on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Its id.
    pub mark: String,
    /// The name that the user gave.
    pub name: String,
    /// Its access.
    pub access: Access,
    /// When it ends, in seconds since the epoch.
    pub until: i64,
    /// The token that every change must send.
    pub csrf: String,
}

/// The sealers of sessions by access; `None` if that access is not configured.
pub(super) struct Sealers {
    viewer: Option<Sealer>,
    operator: Option<Sealer>,
}

impl Sealers {
    pub(super) fn new(secrets: &PageSecrets) -> Self {
        Self { viewer: secrets.sealer(Access::Viewer), operator: secrets.sealer(Access::Operator) }
    }

    pub(super) fn of(&self, access: Access) -> Option<&Sealer> {
        match access {
            Access::Viewer => self.viewer.as_ref(),
            Access::Operator => self.operator.as_ref(),
        }
    }
}

impl Session {
    /// Starts a session; returns the value of its cookie and the session.
    pub(super) fn begin(
        sealers: &Sealers,
        (access, name): (Access, &str),
        time: Duration,
    ) -> Option<(String, Self)> {
        let name: String = name.trim().chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
        let name = if name.is_empty() { "page".to_owned() } else { name };
        let until = Utc::now().timestamp().saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
        let nonce = uuid::Uuid::new_v4().simple();
        let text = format!("{until}.{nonce}.{}.{}", word(access), BASE64.encode(&name));
        let cookie = format!("{text}.{}", sealers.of(access)?.seal("session", &text));
        Self::read(sealers, &cookie).map(|session| (cookie, session))
    }

    /// The session in a cookie, if its seal is valid for its access and its time has not passed.
    pub(super) fn read(sealers: &Sealers, cookie: &str) -> Option<Self> {
        let (text, seal) = cookie.rsplit_once('.')?;
        let mut parts = text.split('.');
        let (until, mark) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
        let (said, name) = (parts.next()?, parts.next()?);
        let access = [Access::Viewer, Access::Operator].into_iter().find(|access| word(*access) == said)?;
        let sealer = sealers.of(access)?;
        if !sealer.holds("session", text, seal) {
            return None;
        }
        let name = String::from_utf8(BASE64.decode(name).ok()?).ok()?;
        let csrf = sealer.seal("csrf", text);
        (until > Utc::now().timestamp()).then_some(Self { mark, name, access, until, csrf })
    }
}

/// The access as written in a cookie.
fn word(access: Access) -> &'static str {
    match access {
        Access::Viewer => "v",
        Access::Operator => "o",
    }
}

/// The values of all cookies with our name; another service on this host may have set one, too.
pub(super) fn cookies_in(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let lines = request.headers().get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter_map(|(name, text)| (name == COOKIE).then_some(text))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use secrecy::SecretString;

    fn sealers(viewer: &str, operator: &str) -> Sealers {
        let [viewer, operator] = [viewer, operator].map(|text| Some(Arc::new(SecretString::from(text))));
        Sealers::new(&PageSecrets { internal: None, viewer, operator })
    }

    #[test]
    fn a_session_holds_until_its_time_and_only_as_it_was_sealed() {
        let known = sealers("to look", "a secret");
        let minute = Duration::from_secs(60);
        for access in [Access::Viewer, Access::Operator] {
            let (cookie, session) = Session::begin(&known, (access, " דנה\n"), minute).unwrap();
            assert_eq!(Session::read(&known, &cookie), Some(session.clone()));
            assert_eq!((session.name.as_str(), session.access), ("דנה", access));
            assert!(!cookie.contains("secret"));
            let later = cookie.replacen(char::is_numeric, "9", 1);
            assert_eq!(Session::read(&known, &later), None);
            assert_eq!(Session::begin(&known, (access, "x"), Duration::ZERO), None);
            assert_eq!(Session::read(&sealers("another", "secret"), &cookie), None);
        }
    }

    #[test]
    fn a_session_to_look_cannot_be_made_one_to_operate() {
        let known = sealers("to look", "a secret");
        let (cookie, _) = Session::begin(&known, (Access::Viewer, "x"), Duration::from_secs(60)).unwrap();
        assert!(cookie.contains(".v."), "{cookie}");
        assert_eq!(Session::read(&known, &cookie.replace(".v.", ".o.")), None);
    }
}
