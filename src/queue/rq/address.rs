//! Creates clients from a server's address, with the TLS settings in it.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use parking_lot::Mutex;
use redis::io::tcp::TcpSettings;
use redis::{Client, ClientTlsConfig, IntoConnectionInfo as _, RedisResult, TlsCertificates};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::trusted_roots;
use crate::fault::{Fault, FaultKind};

/// Where the server is. The files that the address names may be renewed at any time, so they are read anew for each
/// connection.
pub(super) struct Source {
    address: SecretString,
    /// The newest client, and why there is none newer.
    newest: Mutex<(Client, Option<String>)>,
}

impl Source {
    /// # Errors
    /// A permanent one when the address is invalid, or a file that it names cannot be used.
    pub(super) fn new(address: SecretString) -> Result<Self, Fault> {
        let newest = Mutex::new((client(address.expose_secret())?, None));
        Ok(Self { address, newest })
    }

    /// A client for a new connection. It sends nothing yet. While a file cannot be used, such as half-way through a
    /// renewal, it is the one before.
    pub(super) fn client(&self) -> Client {
        let read = client(self.address.expose_secret());
        let mut newest = self.newest.lock();
        match read {
            Ok(client) => *newest = (client, None),
            Err(fault) => {
                let why = Some(fault.chain());
                if newest.1 != why {
                    tracing::warn!(
                        error = why,
                        "connections to Redis are made with the certificates read before"
                    );
                }
                newest.1 = why;
            }
        }
        newest.0.clone()
    }

    /// Our user name on the server.
    pub(super) fn user(&self) -> String {
        let (client, _) = &*self.newest.lock();
        client.get_connection_info().redis_settings().username().unwrap_or("default").to_owned()
    }
}

fn client(address: &str) -> Result<Client, Fault> {
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
            let pair = ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? };
            let belong = || format!("use the key {} for {}", key.display(), certificate.display());
            check(&pair).map_err(|error| refused(belong()).because(error))?;
            Some(pair)
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

/// Whether the key is that of the certificate; connecting would find out, but not say so.
fn check(pair: &ClientTlsConfig) -> Result<(), Box<dyn Error + Send + Sync>> {
    let chain = CertificateDer::pem_slice_iter(&pair.client_cert).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&pair.client_key)?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())?;
    Ok(())
}

fn understood<T>(answer: RedisResult<T>) -> Result<T, Fault> {
    answer.map_err(|error| refused(format!("understand the URL of Redis ({})", error.category())))
}

fn refused(what: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Permanent, what)
}
