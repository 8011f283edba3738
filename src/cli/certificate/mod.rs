//! `tikkun certificate`: certificates of deletions: makes keys, shows, exports and verifies.

mod check;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::{Common, page};
use crate::certificate::{PublicKey, SigningKey};
use crate::job::BackgroundJobId;
use crate::runtime::JobPorts;

/// The most certificates read from the database at once.
const PAGE: u32 = 500;

/// Commands of `certificate`.
#[derive(Debug, Args)]
pub(super) struct Certificates {
    #[command(subcommand)]
    command: CertificateCommand,
}

#[derive(Debug, Subcommand)]
enum CertificateCommand {
    /// Makes a key that signs certificates, and the public key that verifies them.
    Keygen,
    /// Shows the newest certificate of a deletion; with --json as one line that can be verified.
    Show(Show),
    /// Verifies a file of certificates, without a database: exit code 0 if they are as they were issued.
    Verify(Verify),
    /// Prints all certificates in order, one in each line.
    Export,
}

#[derive(Debug, Args)]
struct Show {
    /// The deletion's number, the id of its row in `background_jobs`.
    id: i64,
}

#[derive(Debug, Args)]
struct Verify {
    /// A file as `certificate export` or `certificate show --json` prints it.
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The public key that must have signed them; without it anybody can have made them. May be repeated, where the
    /// key was changed.
    #[arg(long = "key", value_name = "PUBLIC KEY", value_parser = |text: &str| PublicKey::read(text))]
    keys: Vec<PublicKey>,
    /// A hash that was kept, as each certificate is logged with: the one that has it must be there.
    #[arg(long, value_name = "HASH", value_parser = hash)]
    head: Option<String>,
}

impl Certificates {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        finish(match self.command {
            CertificateCommand::Keygen => keygen(json),
            CertificateCommand::Verify(Verify { file, keys, head }) => {
                check::verify_file(&file, &keys, head.as_deref(), json)
            }
            CertificateCommand::Show(Show { id }) => common
                .with_found_ports(async move |_, ports| show::show(&ports, BackgroundJobId(id), json).await),
            CertificateCommand::Export => common.with_found_ports(async |_, ports| export(&ports).await),
        })
    }
}

/// Whether a text can be the hash of a certificate.
fn hash(text: &str) -> Result<String, String> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(text.to_owned()) } else { Err("expected 64 hexadecimal digits in lower case".to_owned()) }
}

fn keygen(json: bool) -> Result<(), Complaint> {
    let new = SigningKey::generate().and_then(|text| Some((SigningKey::read(&text).ok()?, text)));
    let Some((key, text)) = new else {
        return Err(Complaint::failed("the system has no random numbers for a key", Advice::CHECK_SYSTEM));
    };
    let (secret, public) = (text.expose_secret(), key.public());
    if json {
        page::json(&json!({ "key": secret, "public_key": public.as_str() }));
    } else {
        page::line(&format!("key         {secret}\npublic key  {public}"));
        page::note(
            "give the key to the service alone, as TIKKUN_CERTIFICATE__KEY; `tikkun certificate verify --key` takes the \
             public key",
        );
    }
    Ok(())
}

async fn export(ports: &JobPorts) -> Result<(), Complaint> {
    let mut after = 0;
    loop {
        let certificates = ports.store.certificates.chain(after, PAGE).await?;
        certificates.iter().for_each(|sealed| page::line(&sealed.line()));
        // The chain has no gaps, so that the place of the last is known from their number.
        after += certificates.len() as u64;
        if certificates.len() < PAGE as usize {
            return Ok(());
        }
    }
}
