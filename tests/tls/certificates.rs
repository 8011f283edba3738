//! A certificate authority with certificates of a server and a client, and a second one that is not trusted, with others in
//! their place.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Files in a folder of their own, all in PEM.
pub struct Certificates {
    folder: TempDir,
}

/// What makes them; the authority's certificate has a folder to itself, as SSL_CERT_DIR wants it.
const MADE: &str = r#"
set -e
cd "$1"
mkdir ca
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
        -keyout "$1.key" -out "$2" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
}
signed() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
    printf '%s\n' "$2" 'basicConstraints=CA:FALSE' >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$3" -CAkey "$4" -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.pem"
}
authority authority ca/ca.pem
authority other other.pem
signed server 'subjectAltName=DNS:localhost,DNS:store.invalid' ca/ca.pem authority.key
signed client 'extendedKeyUsage=clientAuth' ca/ca.pem authority.key
signed other-server 'subjectAltName=DNS:localhost,DNS:store.invalid' other.pem other.key
signed other-client 'extendedKeyUsage=clientAuth' other.pem other.key
cat client.pem client.key >both.pem
chmod 600 server.key other-server.key
"#;

impl Certificates {
    pub fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("/bin/sh").args(["-c", MADE, "sh"]).arg(folder.path()).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_str().unwrap().to_owned()
    }
}
