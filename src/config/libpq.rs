//! The parameters after the `?` of a PostgreSQL address, read as libpq and the drivers built on it read them.

use std::path::{Path, PathBuf};

use url::Url;

use super::problem::Warning;
use super::query::suspicion;
use super::reader::Reader;
use super::sections::trust;

/// The parameters that take effect, in libpq's spelling. `ssl` is asyncpg's `sslmode`, and `ssl=true` JDBC's.
const HONOURED: [&str; 13] = [
    "sslmode",
    "ssl",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
/// Parameters of libpq that are not supported. Ignoring one could change the server, the user or the
/// protection, so it is refused, unless it has one of these values, which ask for nothing special.
const REFUSED: [(&str, &[&str]); 19] = [
    ("channel_binding", &["disable", "prefer"]),
    ("gssencmode", &["disable", "prefer"]),
    ("passfile", &[]),
    ("replication", &["false", "off", "no", "0"]),
    ("require_auth", &[]),
    ("requirepeer", &[]),
    ("requiressl", &["0"]),
    ("scram_client_key", &[]),
    ("scram_server_key", &[]),
    ("service", &[]),
    ("servicefile", &[]),
    ("ssl_max_protocol_version", &["TLSv1.3"]),
    ("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("sslcertmode", &["allow"]),
    ("sslcrl", &[]),
    ("sslcrldir", &[]),
    ("sslnegotiation", &["postgres"]),
    ("sslpassword", &[]),
    ("target_session_attrs", &["any", "read-write", "primary", "prefer-standby"]),
];
/// Parameters of libpq that are ignored with a warning: the service has its own time limits.
const IDLE: [&str; 17] = [
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssdelegation",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "sslcompression",
    "sslkeylogfile",
    "sslsni",
    "tcp_user_timeout",
];
/// libpq's variables for the protection and the choice of a connection. They apply where the address does not
/// set the parameter. The driver reads those for host, user and password itself.
const VARIABLES: [(&str, &str); 14] = [
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGREQUIRESSL", "requiressl"),
    ("PGSERVICE", "service"),
    ("PGSSLCERTMODE", "sslcertmode"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
];
/// libpq's TLS modes.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// The error for a list of hosts.
const ONE_HOST: &str = "expected one host: this service does not choose among several; name the one that takes writes, or \
                        an address that leads to it";
/// The parameters that take effect, each once. If an address repeats one, its last value counts.
pub(super) struct Given(Vec<(String, String)>);

impl Given {
    /// # Errors
    /// If a parameter is unknown or unsupported and cannot be ignored safely.
    pub(super) fn of(reader: &mut Reader<'_>, url: &Url) -> Result<Self, String> {
        let variables = VARIABLES.into_iter().filter_map(|(variable, name)| {
            Some((name.to_owned(), reader.variable(variable)?.trim().to_owned()))
        });
        let mut given = Self(variables.collect());
        for (name, value) in url.query_pairs().into_owned() {
            if name == "host" && given.get("host").is_some_and(|host| host != value) {
                return Err(ONE_HOST.to_owned());
            }
            match (name.as_str(), value.as_str()) {
                // As in libpq, an empty value means "not set". An empty `sslmode` is an error.
                (name, "") if name != "sslmode" => {}
                ("ssl", "true") => given.set("sslmode", "require"),
                ("ssl", value) => given.set("sslmode", value),
                (name, value) => given.set(name, value),
            }
        }
        let known: Vec<&str> =
            HONOURED.into_iter().chain(REFUSED.map(|(name, _)| name)).chain(IDLE).collect();
        for (name, value) in std::mem::take(&mut given.0) {
            if HONOURED.contains(&name.as_str()) {
                given.0.push((name, value));
            } else if let Some((_, fine)) = REFUSED.iter().find(|(known, _)| *known == name) {
                if !value.is_empty() && !fine.contains(&value.as_str()) {
                    let shown = masked_parameter(&name, &value);
                    return Err(format!(
                        "`{shown}` is not supported, and could not be passed over safely: leave it out"
                    ));
                }
            } else {
                let idle = IDLE.contains(&name.as_str());
                suspicion(&name, &known).filter(|_| !idle).map_or(Ok(()), Err)?;
                let named = reader.name("store.url");
                reader
                    .warnings
                    .push(Warning::warn(format!("{named} says `{name}`, which means nothing here")));
            }
        }
        Ok(given)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn unset(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Applies libpq's rules for TLS, and checks that the named files exist and can be used.
    pub(super) fn protect(&mut self, reader: &mut Reader<'_>, ca_file: Option<&Path>) -> Result<(), String> {
        let mode = self.get("sslmode").map(str::to_owned);
        if mode.as_deref().is_some_and(|mode| !SSL_MODES.contains(&mode)) {
            return Err(format!("expected `sslmode` (else PGSSLMODE) to be one of {}", SSL_MODES.join(", ")));
        }
        if mode.as_deref() == Some("disable") {
            ["sslrootcert", "sslcert", "sslkey"].into_iter().for_each(|name| self.unset(name));
            return Ok(());
        }
        match self.get("sslrootcert").filter(|file| !file.is_empty()).map(str::to_owned).as_deref() {
            // The authorities of this system, which libpq allows with `verify-full` only.
            Some("system") => {
                if mode.as_deref().is_some_and(|mode| mode != "verify-full") {
                    return Err("expected `sslmode=verify-full` beside `sslrootcert=system`".to_owned());
                }
                self.unset("sslrootcert");
                self.set("sslmode", "verify-full");
            }
            Some(file) => {
                trust::certificates(Path::new(file)).map_err(|why| format!("`sslrootcert`: {why}"))?;
                if mode.as_deref() == Some("require") {
                    self.set("sslmode", "verify-ca");
                }
            }
            None => self.unset("sslrootcert"),
        }
        if self.get("sslmode").is_some_and(|mode| mode.starts_with("verify")) {
            if let (None, Some(file)) = (self.get("sslrootcert"), ca_file) {
                self.set("sslrootcert", &file.to_string_lossy());
            }
            let own = self.get("sslrootcert").map(PathBuf::from);
            trust::check_roots(reader, "store.url", own.as_deref());
        }
        match (self.get("sslcert"), self.get("sslkey")) {
            (Some(certificate), Some(key)) => {
                trust::certificates(Path::new(certificate)).map_err(|why| format!("`sslcert`: {why}"))?;
                trust::private_key(Path::new(key)).map_err(|why| format!("`sslkey`: {why}"))
            }
            (None, None) => Ok(()),
            _ => Err("expected `sslcert` and `sslkey` together".to_owned()),
        }
    }

    /// Leaves one server, with the name that its certificate must show.
    pub(super) fn choose_host(&mut self, url: &Url) -> Result<(), String> {
        let hosts = [self.get("host"), self.get("hostaddr"), url.host_str()];
        if hosts.into_iter().flatten().chain(self.get("port")).any(|text| text.contains(',')) {
            return Err(ONE_HOST.to_owned());
        }
        // SQLAlchemy allows `host=name:port`.
        let host = self.get("host").map(str::to_owned);
        if let Some((host, port)) = host.as_deref().and_then(|host| host.split_once(':'))
            && !host.starts_with('/')
            && !port.contains(':')
        {
            self.set("port", port);
            self.set("host", host);
        }
        if self.get("hostaddr").is_none() {
            return Ok(());
        }
        if self.get("sslmode") == Some("verify-full") {
            return Err(
                "`hostaddr` cannot stand beside `sslmode=verify-full`, which looks for the host's name"
                    .to_owned(),
            );
        }
        self.unset("host");
        Ok(())
    }
}

/// Leaves out the value if it may be a secret.
fn masked_parameter(name: &str, value: &str) -> String {
    if name.contains("pass") || name.contains("key") { name.to_owned() } else { format!("{name}={value}") }
}
