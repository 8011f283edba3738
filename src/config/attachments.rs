//! `[attachments]`: where attached files lie.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::environment::variable;
use super::private::Address;
use super::problem::Warning;
use super::reader::Reader;
use super::value::words;

/// Which kind of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentDriver {
    /// A folder.
    Local,
    /// Cloudflare R2.
    R2,
    /// Anything that speaks S3.
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
    /// Which kind of storage.
    pub driver: AttachmentDriver,
    /// The folder of the driver `local`.
    pub folder: PathBuf,
    /// What the driver `r2` needs.
    pub r2: R2Settings,
}

/// What it takes to reach R2. Empty text: not set.
#[derive(Clone, Debug)]
pub struct R2Settings {
    /// Names the endpoint, unless one is given.
    pub account_id: String,
    /// The bucket.
    pub bucket: String,
    /// Id of the access key.
    pub access_key_id: SecretString,
    /// Secret of the access key.
    pub secret_access_key: SecretString,
    /// The endpoint, if it is not the account's own.
    pub endpoint: String,
}

/// The folder in the data folder.
const FOLDER: &str = "attachments";

impl AttachmentSettings {
    pub(super) fn read(reader: &mut Reader<'_>, data: &Path) -> Self {
        let driver = reader.get("attachments.driver");
        let folder: String = reader.get("attachments.folder");
        let folder = if folder.is_empty() { data.join(FOLDER) } else { PathBuf::from(folder) };
        let r2 = R2Settings {
            account_id: reader.get("attachments.r2_account_id"),
            bucket: reader.get("attachments.r2_bucket"),
            access_key_id: reader.get("attachments.r2_access_key_id"),
            secret_access_key: reader.get("attachments.r2_secret_access_key"),
            endpoint: endpoint(reader),
        };
        let settings = Self { driver, folder, r2 };
        settings.check(reader);
        settings
    }

    fn check(&self, reader: &mut Reader<'_>) {
        let missing = self.r2.missing();
        match self.driver {
            AttachmentDriver::Local if !self.r2.bucket.is_empty() => {
                reader.warnings.push(Warning::warn(format!(
                    "{} is set, but `attachments.driver` is `local`: attachments are looked for in {}",
                    reader.name("attachments.r2_bucket"),
                    self.folder.display()
                )));
            }
            AttachmentDriver::Local => {}
            AttachmentDriver::R2 | AttachmentDriver::S3 => {
                let named = reader.name("attachments.driver");
                if self.driver == AttachmentDriver::R2 && !missing.is_empty() {
                    reader.refuse(format!("{named} is `r2`, which needs {}", missing.join(" and ")));
                }
                reader.refuse(format!(
                    "{named} asks for `{}`, but this build has no engine for it yet: use `local`",
                    self.driver
                ));
            }
        }
    }
}

impl R2Settings {
    /// The variables that R2 still needs.
    fn missing(&self) -> Vec<String> {
        let table = [
            ("attachments.r2_account_id", self.account_id.is_empty() && self.endpoint.is_empty()),
            ("attachments.r2_bucket", self.bucket.is_empty()),
            ("attachments.r2_access_key_id", self.access_key_id.expose_secret().is_empty()),
            ("attachments.r2_secret_access_key", self.secret_access_key.expose_secret().is_empty()),
        ];
        table
            .iter()
            .filter(|(_, missing)| *missing)
            .map(|(key, _)| format!("{} (`{key}`)", variable(key)))
            .collect()
    }
}

/// An endpoint holds no password, so it may be kept as text once that is checked.
fn endpoint(reader: &mut Reader<'_>) -> String {
    let expected = "`https://host` (or `http://host`) without user and password, or nothing";
    let is_endpoint = |address: &Address| {
        let text = address.expose();
        let is_web = matches!(address.scheme().as_deref(), Some("https" | "http"));
        text.is_empty() || (is_web && !text.contains('@') && url::Url::parse(text).is_ok())
    };
    let address: Address = reader.read("attachments.r2_endpoint", expected, is_endpoint);
    address.expose().to_owned()
}
