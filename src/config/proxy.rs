//! The proxy on the way to a bucket, in the variables that most programs know: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY,
//! NO_PROXY, each in capitals or not.

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::mask::masked_url;
use super::problem::Warning;
use super::reader::Reader;

/// A proxy on the way to the outside.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// Who asks it, where it wants to know: user and password.
    pub login: Option<(String, SecretString)>,
    /// Hosts that are reached without it, separated by commas.
    pub except: String,
}

/// Where instances and containers of AWS get their credentials: no proxy leads there.
const LINK_LOCAL: [&str; 3] = ["169.254.169.254", "169.254.170.2", "169.254.170.23"];

impl ProxySettings {
    /// The proxy for addresses that begin with `http://` or, not `plain`, with `https://`.
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
            // Programs that know no such proxy pass this one over; the other two name the way to this very server.
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
        // Neither can fail on an address with a host, which every one with such a scheme has.
        let _ = (url.set_username(""), url.set_password(None));
        let except = except.into_iter().filter(|host| !host.is_empty()).chain(LINK_LOCAL).collect::<Vec<_>>();
        Some(Self { url: url.to_string(), login, except: except.join(",") })
    }
}
