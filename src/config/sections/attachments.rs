//! `[attachments]`: where attached files are stored.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::aws::{self, ENDPOINT, is_endpoint, is_key_part};
use super::trust;
use crate::config::environment::variable;
use crate::config::private::Address;
use crate::config::problem::Warning;
use crate::config::proxy::ProxySettings;
use crate::config::reader::Reader;
use crate::config::value::{is_quoted, words};

/// The kind of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentDriver {
    /// A folder.
    Local,
    /// Cloudflare R2.
    R2,
    /// Any storage with an S3 interface.
    S3,
}

words!(AttachmentDriver, "`local`, `r2` or `s3`", Local, {
    Local: "local",
    R2: "r2",
    S3: "s3",
});

/// `[attachments]`.
#[derive(Clone, Debug)]
pub struct AttachmentSettings {
    /// The kind of storage.
    pub driver: AttachmentDriver,
    /// The folder of the driver `local`.
    pub folder: PathBuf,
    /// The settings of the driver `r2`.
    pub r2: R2Settings,
    /// The settings of the driver `s3`.
    pub s3: S3Settings,
    /// The proxy for requests to the bucket, from HTTPS_PROXY and similar variables.
    pub proxy: Option<ProxySettings>,
}

/// The access to R2. Empty text means "not set".
#[derive(Clone, Debug)]
pub struct R2Settings {
    /// The account, which determines the endpoint if none is set.
    pub account_id: String,
    /// The bucket.
    pub bucket: String,
    /// The id of the access key.
    pub access_key_id: SecretString,
    /// The secret of the access key.
    pub secret_access_key: SecretString,
    /// The endpoint, if it is not the account's default.
    pub endpoint: String,
}

/// The access to S3 or a compatible storage. Empty text means "not set".
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// The bucket's region; if not set, the AWS SDK reads its own variables.
    pub region: String,
    /// The endpoint, if it is not Amazon's.
    pub endpoint: String,
    /// Whether the bucket is in the path of the URL instead of its host name.
    pub path_style: bool,
    /// The id of the access key; if not set, the AWS SDK looks for credentials itself.
    pub access_key_id: SecretString,
    /// The secret of the access key.
    pub secret_access_key: SecretString,
    /// The token of temporary credentials, from AWS_SESSION_TOKEN.
    pub session_token: SecretString,
}

/// The default folder, inside the data folder.
const FOLDER: &str = "attachments";

impl AttachmentSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>, data: &Path, ca_file: Option<&Path>) -> Self {
        let driver = reader.get("attachments.driver");
        let folder: String = reader.get("attachments.folder");
        let folder = if folder.is_empty() { data.join(FOLDER) } else { PathBuf::from(folder) };
        let r2 = R2Settings::read(reader, driver == AttachmentDriver::R2);
        let mut s3 = S3Settings::read(reader, driver == AttachmentDriver::S3);
        let endpoint = match driver {
            AttachmentDriver::Local => None,
            AttachmentDriver::R2 => Some(("attachments.r2_endpoint", r2.endpoint())),
            AttachmentDriver::S3 => {
                s3.complete(reader);
                Some(("attachments.s3_endpoint", s3.endpoint.clone()))
            }
        };
        let proxy = endpoint.and_then(|(key, endpoint)| {
            let is_plain = endpoint.to_ascii_lowercase().starts_with("http://");
            if !is_plain {
                trust::check_roots(reader, key, ca_file);
            }
            ProxySettings::read(reader, is_plain)
        });
        let settings = Self { driver, folder, r2, s3, proxy };
        settings.check(reader);
        settings
    }

    fn check(&self, reader: &mut Reader<'_>) {
        let missing = match self.driver {
            AttachmentDriver::Local => Vec::new(),
            AttachmentDriver::R2 => self.r2.missing(),
            AttachmentDriver::S3 => self.s3.missing(),
        };
        if !missing.is_empty() {
            let named = reader.name("attachments.driver");
            reader.refuse(format!("{named} is `{}`, which needs {}", self.driver, missing.join(" and ")));
        }
        self.warn_of_idle_buckets(reader);
    }

    /// Warns of a bucket that is set for another driver.
    fn warn_of_idle_buckets(&self, reader: &mut Reader<'_>) {
        let buckets = [
            ("attachments.r2_bucket", &self.r2.bucket, AttachmentDriver::R2),
            ("attachments.s3_bucket", &self.s3.bucket, AttachmentDriver::S3),
        ];
        let place = match self.driver {
            AttachmentDriver::Local => self.folder.display().to_string(),
            AttachmentDriver::R2 => format!("the bucket `{}`", self.r2.bucket),
            AttachmentDriver::S3 => format!("the bucket `{}`", self.s3.bucket),
        };
        for (key, bucket, driver) in buckets {
            if !bucket.is_empty() && driver != self.driver {
                reader.warnings.push(Warning::warn(format!(
                    "{} is set, but `attachments.driver` is `{}`: attachments are looked for in {place}",
                    reader.name(key),
                    self.driver
                )));
            }
        }
    }
}

impl R2Settings {
    /// Settings of a driver that is not in use are not checked.
    fn read(reader: &mut Reader<'_>, in_force: bool) -> Self {
        let is_account = |id: &String| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
        Self {
            account_id: reader.read(
                "attachments.r2_account_id",
                "letters and digits, or nothing",
                is_account,
            ),
            bucket: name(reader, "attachments.r2_bucket", in_force),
            access_key_id: key_part(reader, "attachments.r2_access_key_id", in_force),
            secret_access_key: secret_part(reader, "attachments.r2_secret_access_key", in_force),
            endpoint: endpoint(reader, "attachments.r2_endpoint"),
        }
    }

    /// The given endpoint, else the account's default.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match self.endpoint.as_str() {
            "" => format!("https://{}.r2.cloudflarestorage.com", self.account_id),
            given => given.to_owned(),
        }
    }

    /// The variables that R2 needs and that are not set.
    fn missing(&self) -> Vec<String> {
        named_when([
            ("attachments.r2_account_id", self.account_id.is_empty() && self.endpoint.is_empty()),
            ("attachments.r2_bucket", self.bucket.is_empty()),
            ("attachments.r2_access_key_id", is_empty(&self.access_key_id)),
            ("attachments.r2_secret_access_key", is_empty(&self.secret_access_key)),
        ])
    }
}

impl S3Settings {
    fn read(reader: &mut Reader<'_>, in_force: bool) -> Self {
        Self {
            bucket: name(reader, "attachments.s3_bucket", in_force),
            region: name(reader, "attachments.s3_region", in_force),
            endpoint: endpoint(reader, "attachments.s3_endpoint"),
            path_style: reader.get("attachments.s3_path_style"),
            access_key_id: key_part(reader, "attachments.s3_access_key_id", in_force),
            secret_access_key: secret_part(reader, "attachments.s3_secret_access_key", in_force),
            session_token: SecretString::from(""),
        }
    }

    /// Adds what AWS's own variables say, as far as the SDK does not read it there by itself.
    fn complete(&mut self, reader: &mut Reader<'_>) {
        if self.endpoint.is_empty() {
            self.endpoint = aws::endpoint(reader);
            // As the application's library has it for such an endpoint.
            self.path_style |= !self.endpoint.is_empty();
        }
        if self.region.is_empty() {
            self.region = aws::mended_region(reader).unwrap_or_default();
        }
        if is_empty(&self.access_key_id)
            && let Some(key) = aws::mended_key(reader)
        {
            [self.access_key_id, self.secret_access_key, self.session_token] = key;
        }
    }

    /// The variables that S3 needs and that are not set. Id and secret of a key must be set together.
    fn missing(&self) -> Vec<String> {
        let (no_id, no_secret) = (is_empty(&self.access_key_id), is_empty(&self.secret_access_key));
        named_when([
            ("attachments.s3_bucket", self.bucket.is_empty()),
            ("attachments.s3_access_key_id", no_id && !no_secret),
            ("attachments.s3_secret_access_key", no_secret && !no_id),
        ])
    }
}

/// The id of an access key. It is sent in a header, so it must be visible ASCII, without quotes.
fn key_part(reader: &mut Reader<'_>, key: &'static str, in_force: bool) -> SecretString {
    let expected = "part of an access key: visible ASCII characters, without quotes around them";
    reader.read(key, expected, |id: &SecretString| !in_force || is_key_part(id.expose_secret()))
}

/// The secret of an access key. It is never sent, so it may contain other characters, too.
fn secret_part(reader: &mut Reader<'_>, key: &'static str, in_force: bool) -> SecretString {
    let expected = "part of an access key: text without control characters, and without quotes around it";
    let fits = |secret: &str| !secret.contains(char::is_control) && !is_quoted(secret);
    reader.read(key, expected, |secret: &SecretString| !in_force || fits(secret.expose_secret()))
}

/// A bucket or region, which becomes part of a URL.
fn name(reader: &mut Reader<'_>, key: &'static str, in_force: bool) -> String {
    let fits =
        |name: &String| !name.contains(|c: char| c.is_control() || c.is_whitespace()) && !is_quoted(name);
    reader.read(key, "a name without blanks and quotes, or nothing", |name: &String| !in_force || fits(name))
}

fn is_empty(secret: &SecretString) -> bool {
    secret.expose_secret().is_empty()
}

/// The marked keys, each with the variable that sets it.
fn named_when<const N: usize>(table: [(&str, bool); N]) -> Vec<String> {
    let marked = table.into_iter().filter(|(_, marked)| *marked);
    marked.map(|(key, _)| format!("{} (`{key}`)", variable(key))).collect()
}

/// Reads an endpoint. It is checked to contain no password, so it can be kept as plain text.
fn endpoint(reader: &mut Reader<'_>, key: &'static str) -> String {
    let fits = |address: &Address| address.expose().is_empty() || is_endpoint(address.expose());
    let address: Address = reader.read(key, ENDPOINT, fits);
    address.expose().to_owned()
}
