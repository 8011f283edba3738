//! The proxy for requests to the bucket, from the usual variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and
//! NO_PROXY, in upper or lower case.

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::mask::masked_url;
use super::problem::Warning;
use super::reader::Reader;

/// The proxy for outgoing requests.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// User and password for the proxy, if the variable names a user.
    pub login: Option<(String, SecretString)>,
    /// Hosts that are reached without the proxy, separated by commas.
    pub except: String,
}

/// Addresses with credentials for AWS instances and containers; never reached through a proxy.
const LINK_LOCAL: [&str; 3] = ["169.254.169.254", "169.254.170.2", "169.254.170.23"];

impl ProxySettings {
    /// Reads the proxy for `http://` addresses if `plain`, else for `https://` ones.
    pub(super) fn read(reader: &mut Reader<'_>, plain: bool) -> Option<Self> {
        let names = if plain { ["http_proxy", "HTTP_PROXY"] } else { ["https_proxy", "HTTPS_PROXY"] };
        let names = names.into_iter().chain(["all_proxy", "ALL_PROXY"]);
        let name = names.into_iter().find(|name| reader.variable(name).is_some())?;
        let except = ["no_proxy", "NO_PROXY"].into_iter().find_map(|name| reader.variable(name));
        let except: Vec<&str> = except.unwrap_or_default().split(',').map(str::trim).collect();
        if except.contains(&"*") {
            return None;
        }
        let given = reader.variable(name)?.trim();
        let text = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
        let parsed = Url::parse(&text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && !given.contains(|c: char| c.is_control() || c == '"')
        });
        let Some(mut url) = parsed else {
            let said = format!(
                "{name} is `{}`, expected `http://host:port` or `https://host:port`",
                masked_url(&text)
            );
            // Other programs ignore an unsupported ALL_PROXY. The other two name the proxy for this server.
            if name.eq_ignore_ascii_case("all_proxy") {
                reader.warnings.push(Warning::warn(format!("{said}; it is passed over")));
            } else {
                reader.refuse(said);
            }
            return None;
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = (!url.username().is_empty())
            .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default()).into()));
        // Neither fails: an `http` or `https` URL always has a host.
        let _ = (url.set_username(""), url.set_password(None));
        let except = except.into_iter().filter(|host| !host.is_empty()).chain(LINK_LOCAL).collect::<Vec<_>>();
        Some(Self { url: url.to_string(), login, except: except.join(",") })
    }
}
