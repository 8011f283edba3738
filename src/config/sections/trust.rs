//! `[tls]`, and the certificate and key files that other settings name.
//!
//! Redis, PostgreSQL and S3 trust the same authorities: those of this system, which SSL_CERT_FILE and
//! SSL_CERT_DIR replace, and those of `tls.ca_file`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::problem::Warning;
use crate::config::reader::Reader;

/// Characters per line of PEM.
const LINE: usize = 64;

/// `[tls]`.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// A file of authorities that are trusted besides the system's; `None` for the system's alone.
    pub ca_file: Option<PathBuf>,
}

impl TlsSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        let path: String = reader.get("tls.ca_file");
        let ca_file = (!path.is_empty()).then(|| PathBuf::from(path));
        if let Some(why) = ca_file.as_deref().and_then(|file| certificates(file).err()) {
            let named = reader.name("tls.ca_file");
            reader.refuse(format!("{named}: {why}"));
        }
        Self { ca_file }
    }
}

/// Reads the certificates of a PEM file; there must be at least one.
///
/// # Errors
/// Says what is wrong with the file, and names it.
pub(in crate::config) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let expected = |why: &dyn std::fmt::Display| {
        format!("the file {} cannot be used ({why}), expected certificates in PEM", file.display())
    };
    let found = CertificateDer::pem_file_iter(file).map_err(|error| expected(&error))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| expected(&error))?;
    if found.is_empty() { Err(expected(&"there is none in it")) } else { Ok(found) }
}

/// Checks that a PEM file contains a private key that is not encrypted.
///
/// # Errors
/// Says what is wrong with the file, and names it.
pub(in crate::config) fn private_key(file: &Path) -> Result<(), String> {
    let read = PrivateKeyDer::from_pem_file(file);
    read.map(|_| ()).map_err(|error| {
        format!(
            "the file {} cannot be used ({error}), expected a private key in PEM without a passphrase",
            file.display()
        )
    })
}

/// The trusted authorities in PEM: the system's and those of `ca_file`.
///
/// # Errors
/// If there are none, says why and names the files that could not be read.
pub fn trusted_roots(ca_file: Option<&Path>) -> Result<Vec<u8>, String> {
    let system = rustls_native_certs::load_native_certs();
    let own = ca_file.map(certificates).transpose()?.unwrap_or_default();
    let mut store = RootCertStore::empty();
    let mut pem = String::new();
    for certificate in system.certs.into_iter().chain(own) {
        // Old systems list certificates that cannot verify anything.
        if store.add(certificate.clone()).is_ok() {
            write_pem(&mut pem, &certificate);
        }
    }
    if !store.is_empty() {
        return Ok(pem.into_bytes());
    }
    let why: Vec<_> = system.errors.iter().map(ToString::to_string).collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
    Err(format!(
        "this system has no certificate authorities{why}; install them (ca-certificates), or name a file of them in \
         SSL_CERT_FILE or `tls.ca_file`"
    ))
}

/// Refuses the address under `key` if no trusted authority is available.
pub(in crate::config) fn check_roots(reader: &mut Reader<'_>, key: &str, ca_file: Option<&Path>) {
    let named = reader.name(key);
    if let Err(why) = trusted_roots(ca_file) {
        reader.refuse(format!("{named} asks for TLS, but {why}"));
        return;
    }
    for error in rustls_native_certs::load_native_certs().errors {
        let text = format!("some of this system's certificate authorities cannot be read: {error}");
        let warning = Warning::warn(text);
        if !reader.warnings.contains(&warning) {
            reader.warnings.push(warning);
        }
    }
}

fn write_pem(pem: &mut String, certificate: &CertificateDer<'_>) {
    let text = STANDARD.encode(certificate);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(LINE) {
        // Base64 is ASCII, and writing to a string cannot fail.
        let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
    }
    pem.push_str("-----END CERTIFICATE-----\n");
}
