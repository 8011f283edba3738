//! The address of a Redis, read as redis-py's `from_url` reads it, so that the web application's address
//! means the same server, database, user and protection here.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::SecretString;
use url::Url;

use super::private::Address;
use super::problem::Warning;
use super::query::suspicion;
use super::reader::Reader;
use super::sections::trust;

/// The parameters that take effect. `user` and `pass` are other libraries' names, on the address of a socket.
const HONOURED: [&str; 14] = [
    "db",
    "username",
    "password",
    "user",
    "pass",
    "host",
    "port",
    "path",
    "protocol",
    "ssl_cert_reqs",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_check_hostname",
];
/// Parameters of redis-py that are not supported. Ignoring one could change the server or the protection, so
/// they are refused.
const REFUSED: [&str; 14] = [
    "credential_provider",
    "ssl",
    "ssl_ca_path",
    "ssl_ca_data",
    "ssl_password",
    "ssl_ciphers",
    "ssl_min_version",
    "ssl_validate_ocsp",
    "ssl_validate_ocsp_stapled",
    "ssl_ocsp_context",
    "ssl_ocsp_expected_cert",
    "ssl_include_verify_flags",
    "ssl_exclude_verify_flags",
    "connection_class",
];
/// Parameters of redis-py that are ignored: the service has its own time limits, and reads bytes.
const IDLE: [&str; 20] = [
    "client_name",
    "socket_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_keepalive_options",
    "socket_read_size",
    "socket_type",
    "retry_on_timeout",
    "retry_on_error",
    "max_connections",
    "timeout",
    "health_check_interval",
    "decode_responses",
    "encoding",
    "encoding_errors",
    "lib_name",
    "lib_version",
    "driver_info",
    "single_connection_client",
    "command_packer",
];
/// Redis's default port.
const PORT: u16 = 6379;

/// The parameters of an address. The first value of a repeated one counts; empty values are ignored.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(url: &Url) -> Self {
        let mut given: Vec<(String, String)> = Vec::new();
        for (name, value) in url.query_pairs() {
            if !value.is_empty() && given.iter().all(|(known, _)| *known != name) {
                // redis-py decodes values twice.
                let value = percent_decode_str(&value).decode_utf8_lossy().into_owned();
                given.push((name.into_owned(), value));
            }
        }
        Self(given)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// The address for the adapter, normalised; `None` if it was refused.
///
/// Its form is `redis://user:password@host:port/db`, `redis+unix:///path?db=…&user=…&pass=…`, or `rediss://…`
/// with redis-py's `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` and `ssl_check_hostname=false`, and the
/// fragment `insecure` if the server's certificate is not checked.
pub(super) fn target(
    reader: &mut Reader<'_>,
    address: &Address,
    ca_file: Option<&Path>,
) -> Option<SecretString> {
    match read(reader, address, ca_file) {
        Ok(url) => Some(SecretString::from(url)),
        Err(why) => {
            let (named, masked) = (reader.name("broker.url"), address.masked());
            reader.refuse(format!("{named} is `{masked}`: {why}"));
            None
        }
    }
}

fn read(reader: &mut Reader<'_>, address: &Address, ca_file: Option<&Path>) -> Result<String, String> {
    let url = address.url().ok_or(
        "expected `embedded`, `redis://host:6379/0`, `rediss://…` or `unix:///path/of/the.sock`; in a user or a \
         password `/`, `?`, `#`, `@` and `%` are written `%2F`, `%3F`, `%23`, `%40` and `%25`",
    )?;
    if url.fragment().is_some() {
        return Err("nothing may follow a `#`; in a password it is written `%23`".to_owned());
    }
    let given = Parameters::of(&url);
    check_names(reader, &given)?;
    let user = part(url.username(), given.get("username").or(given.get("user")))?;
    let password = part(url.password().unwrap_or_default(), given.get("password").or(given.get("pass")))?;
    let db = database(&url, &given)?;
    if matches!(url.scheme(), "unix" | "redis+unix") {
        no_tls(&given)?;
        let path = part(url.path(), given.get("path"))?;
        let encoded = path.split('/').map(encode).collect::<Vec<_>>().join("/");
        let password = pair_password(&user, &password).map(|text| format!("&pass={}", encode(text)));
        let user = if user.is_empty() { String::new() } else { format!("&user={}", encode(&user)) };
        return Ok(format!("redis+unix://{encoded}?db={db}{user}{}", password.unwrap_or_default()));
    }
    let password = pair_password(&user, &password).map(|text| format!(":{}", encode(text)));
    let login = password.map_or_else(String::new, |password| format!("{}{password}@", encode(&user)));
    let host = url.host_str().filter(|host| !host.is_empty()).or(given.get("host")).unwrap_or("localhost");
    let port = match (url.port(), given.get("port")) {
        (Some(port), _) => port,
        (None, Some(text)) => text.parse().map_err(|_| "expected `port` to be a number".to_owned())?,
        (None, None) => PORT,
    };
    let tls = if url.scheme() == "rediss" {
        protection(reader, &given, ca_file)?
    } else {
        no_tls(&given)?;
        String::new()
    };
    Ok(format!("{}://{login}{host}:{port}/{db}{tls}", url.scheme()))
}

fn check_names(reader: &mut Reader<'_>, given: &Parameters) -> Result<(), String> {
    let known = [HONOURED.as_slice(), &REFUSED, &IDLE].concat();
    for name in given.names() {
        if REFUSED.contains(&name) {
            return Err(format!(
                "`{name}` is not supported, and could not be passed over safely: leave it out"
            ));
        }
        let is_idle = IDLE.contains(&name) || (name == "protocol" && given.get(name) != Some("2"));
        if !is_idle && !HONOURED.contains(&name) {
            suspicion(name, &known).map_or(Ok(()), Err)?;
        } else if !is_idle {
            continue;
        }
        let named = reader.name("broker.url");
        reader.warnings.push(Warning::warn(format!("{named} says `{name}`, which means nothing here")));
    }
    Ok(())
}

/// A part of the address itself, decoded, else the value of a parameter.
fn part<'a>(own: &'a str, parameter: Option<&'a str>) -> Result<Cow<'a, str>, String> {
    if own.is_empty() {
        return Ok(Cow::Borrowed(parameter.unwrap_or_default()));
    }
    let decoded = percent_decode_str(own).decode_utf8();
    decoded.map_err(|_| "a part of it is not UTF-8 once it is decoded".to_owned())
}

/// A user without a password logs in with an empty one, as in redis-py. `None`: there is no login.
fn pair_password<'a>(user: &str, password: &'a str) -> Option<&'a str> {
    (!user.is_empty() || !password.is_empty()).then_some(password)
}

/// The number of the database; the parameter takes precedence over the path.
fn database(url: &Url, given: &Parameters) -> Result<u32, String> {
    let is_socket = matches!(url.scheme(), "unix" | "redis+unix");
    let path = if is_socket { "" } else { url.path().trim_matches('/') };
    match given.get("db").unwrap_or(path) {
        "" => Ok(0),
        text => text
            .parse()
            .map_err(|_| "expected the database to be a number, as in `redis://host:6379/0`".to_owned()),
    }
}

fn no_tls(given: &Parameters) -> Result<(), String> {
    match given.names().find(|name| name.starts_with("ssl_")) {
        Some(name) => Err(format!("`{name}` asks for TLS, which begins with `rediss://`")),
        None => Ok(()),
    }
}

/// The TLS parameters: how the server's certificate is checked, and which certificate we present.
fn protection(reader: &mut Reader<'_>, given: &Parameters, ca_file: Option<&Path>) -> Result<String, String> {
    let is_checked = match given.get("ssl_cert_reqs") {
        None | Some("required" | "optional") => true,
        Some("none") => false,
        Some(_) => return Err("expected `ssl_cert_reqs` to be `required`, `optional` or `none`".to_owned()),
    };
    let ca_file = given.get("ssl_ca_certs").map(PathBuf::from).or_else(|| ca_file.map(Path::to_owned));
    let certificate = given.get("ssl_certfile").map(Path::new);
    let key = given.get("ssl_keyfile").map(Path::new);
    let mut said = Vec::new();
    if let Some(file) = &ca_file {
        trust::certificates(file).map_err(|why| format!("`ssl_ca_certs`: {why}"))?;
        said.push(format!("ssl_ca_certs={}", encode(&file.to_string_lossy())));
    }
    match (certificate, key) {
        (Some(certificate), key) => {
            // As in Python, one file may contain both.
            let key = key.unwrap_or(certificate);
            trust::certificates(certificate).map_err(|why| format!("`ssl_certfile`: {why}"))?;
            trust::private_key(key).map_err(|why| format!("`ssl_keyfile`: {why}"))?;
            said.push(format!("ssl_certfile={}", encode(&certificate.to_string_lossy())));
            said.push(format!("ssl_keyfile={}", encode(&key.to_string_lossy())));
        }
        (None, Some(_)) => return Err("`ssl_keyfile` needs `ssl_certfile` beside it".to_owned()),
        (None, None) => {}
    }
    let names = given.get("ssl_check_hostname").is_none_or(is_true);
    if !names {
        said.push("ssl_check_hostname=false".to_owned());
    }
    if is_checked {
        trust::check_roots(reader, "broker.url", ca_file.as_deref());
    }
    if !is_checked || !names {
        let named = reader.name("broker.url");
        let what = if is_checked { "does not look at the name in" } else { "does not check" };
        reader.warnings.push(Warning::warn(format!(
            "{named} {what} the server's certificate: whoever can come between may read and change everything"
        )));
    }
    let query = if said.is_empty() { String::new() } else { format!("?{}", said.join("&")) };
    Ok(format!("{query}{}", if is_checked { "" } else { "#insecure" }))
}

/// A boolean in redis-py's notation.
fn is_true(text: &str) -> bool {
    !["0", "F", "FALSE", "N", "NO"].contains(&text.to_ascii_uppercase().as_str())
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
