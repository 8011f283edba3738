//! Creates a client from a server's address, with the TLS settings in it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use redis::io::tcp::TcpSettings;
use redis::{Client, ClientTlsConfig, IntoConnectionInfo as _, RedisResult, TlsCertificates};

use crate::config::trusted_roots;
use crate::fault::{Fault, FaultKind};

/// A client for the server at `address`. It sends nothing yet.
///
/// # Errors
/// A permanent one when the address is invalid, or a file that it names cannot be used.
pub(super) fn client(address: &str) -> Result<Client, Fault> {
    // The error may contain the address with its password, so it is not shown.
    let client = understood(Client::open(address))?;
    let client = match url::Url::parse(address) {
        Ok(url) if url.scheme() == "rediss" => with_tls(address, &url)?,
        _ => client,
    };
    // A request does not wait until the server has confirmed the one before.
    let at_once = TcpSettings::default().set_nodelay(true);
    understood(Client::open(client.get_connection_info().clone().set_tcp_settings(at_once)))
}

fn with_tls(address: &str, url: &url::Url) -> Result<Client, Fault> {
    let said: HashMap<_, _> = url.query_pairs().into_owned().collect();
    let file = |name: &str| said.get(name).map(Path::new);
    let read = |path: &Path| {
        fs::read(path).map_err(|error| refused(format!("read the file {}", path.display())).because(error))
    };
    let roots = trusted_roots(file("ssl_ca_certs"));
    let root_cert = match (roots, url.fragment()) {
        (Ok(roots), _) => roots,
        // Without a certificate check no authority is needed.
        (Err(_), Some(_)) => Vec::new(),
        (Err(why), None) => return Err(refused("trust the server of Redis").because(why)),
    };
    let client_tls = match (file("ssl_certfile"), file("ssl_keyfile")) {
        (Some(certificate), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
        _ => None,
    };
    let certificates = TlsCertificates { client_tls, root_cert: Some(root_cert) };
    let client = understood(Client::build_with_tls(address, certificates))?;
    if said.get("ssl_check_hostname").is_none_or(|text| text != "false") {
        return Ok(client);
    }
    let mut place = client.get_connection_info().addr().clone();
    place.set_danger_accept_invalid_hostnames(true);
    let info = understood(client.get_connection_info().clone().into_connection_info())?;
    understood(Client::open(info.set_addr(place)))
}

fn understood<T>(answer: RedisResult<T>) -> Result<T, Fault> {
    answer.map_err(|error| refused(format!("understand the URL of Redis ({})", error.category())))
}

fn refused(what: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Permanent, what)
}
