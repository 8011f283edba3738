//! AWS's own variables, which the application's library reads, too, and the forms of their values.

use secrecy::SecretString;

use crate::config::problem::Warning;
use crate::config::reader::{QUOTES, Reader};
use crate::config::value::is_quoted;

/// What an endpoint may be.
pub(super) const ENDPOINT: &str = "`https://host` (or `http://host`) without user and password, or nothing";

/// Whether this is an endpoint. It contains no password, so it can be kept as plain text.
pub(super) fn is_endpoint(text: &str) -> bool {
    let address = url::Url::parse(text).ok();
    address.is_some_and(|address| matches!(address.scheme(), "https" | "http")) && !text.contains('@')
}

/// Whether this may be the id of an access key, which is sent in a header.
pub(super) fn is_key_part(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic()) && !is_quoted(text)
}

/// The endpoint of S3; empty if none is named.
pub(super) fn endpoint(reader: &mut Reader<'_>) -> String {
    let ignored = reader.variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    if ignored.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return String::new();
    }
    let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
    let given = names.into_iter().find_map(|name| Some((name, reader.variable(name)?.trim())));
    let Some((name, text)) = given else { return String::new() };
    if !is_endpoint(text) {
        reader.refuse(format!("the environment variable {name} cannot be used, expected {ENDPOINT}"));
    }
    text.to_owned()
}

/// The region, if the SDK could not use it as it is: a line end makes it panic.
pub(super) fn mended_region(reader: &mut Reader<'_>) -> Option<String> {
    let mut names = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
    let name =
        names.find(|name| reader.variable(name).is_some()).filter(|name| needs_mending(reader, name))?;
    Some(mended(reader, name))
}

/// Id, secret and token of an access key, if the SDK could not use one of them as it is.
pub(super) fn mended_key(reader: &mut Reader<'_>) -> Option<[SecretString; 3]> {
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    let is_set = names.into_iter().take(2).all(|name| reader.variable(name).is_some());
    let is_broken = names.into_iter().any(|name| needs_mending(reader, name));
    (is_set && is_broken).then(|| names.map(|name| SecretString::from(mended(reader, name))))
}

fn needs_mending(reader: &Reader<'_>, variable: &str) -> bool {
    reader.variable(variable).is_some_and(|text| !is_key_part(text))
}

/// The value of a variable, trimmed; empty if not set. It is refused if it cannot be used even then.
fn mended(reader: &mut Reader<'_>, variable: &str) -> String {
    let Some(given) = reader.variable(variable) else { return String::new() };
    let text = given.trim();
    if !is_key_part(text) {
        let quotes = if is_quoted(text) { QUOTES } else { "" };
        reader.refuse(format!(
            "the environment variable {variable} cannot be used, expected visible ASCII characters{quotes}"
        ));
    } else if text != given {
        reader.warnings.push(Warning::warn(format!(
            "{variable} begins or ends with blanks or a line end, which are left out"
        )));
    }
    text.to_owned()
}
