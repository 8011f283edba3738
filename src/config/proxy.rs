//! The proxies for requests to the bucket and for webhooks, from the usual variables HTTPS_PROXY, HTTP_PROXY,
//! ALL_PROXY (for the bucket alone) and NO_PROXY, in upper or lower case.

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

/// The proxies for webhooks, by the scheme of their addresses, as RQ's own requests use them.
#[derive(Clone, Debug, Default)]
pub struct WebhookProxies {
    /// For `http://` addresses.
    pub http: Option<ProxySettings>,
    /// For `https://` addresses.
    pub https: Option<ProxySettings>,
}

impl WebhookProxies {
    /// A proxy that cannot be used is passed over, for most processes send no webhooks.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut read = |plain| {
            let found = ProxySettings::find(reader, names(plain).into_iter());
            found.unwrap_or_else(|(_, said)| {
                reader.warnings.push(Warning::warn(format!("{said}; webhooks are sent without it")));
                None
            })
        };
        Self { http: read(true), https: read(false) }
    }
}

/// The variables with the proxy for `http://` addresses if `plain`, else for `https://` ones.
fn names(plain: bool) -> [&'static str; 2] {
    if plain { ["http_proxy", "HTTP_PROXY"] } else { ["https_proxy", "HTTPS_PROXY"] }
}

impl ProxySettings {
    /// Reads the proxy for `http://` addresses if `plain`, else for `https://` ones.
    pub(super) fn read(reader: &mut Reader<'_>, plain: bool) -> Option<Self> {
        let names = names(plain).into_iter().chain(["all_proxy", "ALL_PROXY"]);
        let found = Self::find(reader, names);
        found.unwrap_or_else(|(name, said)| {
            // Other programs ignore an unsupported ALL_PROXY. The other two name the proxy for this server.
            if name.eq_ignore_ascii_case("all_proxy") {
                reader.warnings.push(Warning::warn(format!("{said}; it is passed over")));
            } else {
                reader.refuse(said);
            }
            None
        })
    }

    /// The proxy in the first of these variables that is set; if it cannot be used, its name and the reason.
    fn find(
        reader: &Reader<'_>,
        mut names: impl Iterator<Item = &'static str>,
    ) -> Result<Option<Self>, (&'static str, String)> {
        let given = names.find_map(|name| Some((name, reader.variable(name)?.trim())));
        let Some((name, given)) = given else { return Ok(None) };
        let except = ["no_proxy", "NO_PROXY"].into_iter().find_map(|name| reader.variable(name));
        let except: Vec<&str> = except.unwrap_or_default().split(',').map(str::trim).collect();
        if except.contains(&"*") {
            return Ok(None);
        }
        let text = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
        let parsed = Url::parse(&text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && !given.contains(|c: char| c.is_control() || c == '"')
        });
        let Some(mut url) = parsed else {
            let said = format!(
                "{name} is `{}`, expected `http://host:port` or `https://host:port`",
                masked_url(&text)
            );
            return Err((name, said));
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = (!url.username().is_empty())
            .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default()).into()));
        // Neither fails: an `http` or `https` URL always has a host.
        let _ = (url.set_username(""), url.set_password(None));
        let except = except.into_iter().filter(|host| !host.is_empty()).chain(LINK_LOCAL).collect::<Vec<_>>();
        Ok(Some(Self { url: url.to_string(), login, except: except.join(",") }))
    }
}
