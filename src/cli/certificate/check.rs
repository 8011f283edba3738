//! `tikkun certificate verify`: needs neither a database nor settings.

use std::path::Path;

use serde_json::json;

use crate::certificate::{PublicKey, Verified, verify};
use crate::cli::advice::Advice;
use crate::cli::ending::Complaint;
use crate::cli::page;

/// Verifies a file.
pub(super) fn verify_file(
    file: &Path,
    keys: &[PublicKey],
    head: Option<&str>,
    json: bool,
) -> Result<(), Complaint> {
    let unreadable = |error| {
        Complaint::failed(format!("cannot read {}: {error}", file.display()), Advice::EXPORT_CERTIFICATES)
    };
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let text = format!("{} was changed: it is no UTF-8 text: {error}", file.display());
        Complaint::failed(text, Advice::OTHER_COPY)
    })?;
    let verified = verify(&text, keys, head)
        .map_err(|flaw| Complaint::failed(format!("{}: {flaw}", file.display()), Advice::OTHER_COPY))?;
    let Verified { length, head: end, certificates, provisional, unsigned, is_alone } = &verified;
    if json {
        page::json(&json!({
            "valid": true, "length": length, "head": end, "certificates": certificates, "provisional": provisional,
            "unsigned": unsigned, "alone": is_alone, "key_checked": !keys.is_empty(), "head_checked": head.is_some(),
        }));
        return Ok(());
    }
    page::line(&format!(
        "{} as issued: {certificates}, {provisional} of them provisional; the chain's length is {length}, its head {end}",
        if *certificates == 1 { "the certificate is" } else { "all certificates are" },
    ));
    for remark in remarks(&verified, !keys.is_empty(), head.is_some()) {
        page::note(remark);
    }
    Ok(())
}

/// What was not checked.
fn remarks(verified: &Verified, has_key: bool, has_head: bool) -> Vec<&'static str> {
    let remarks = [
        (verified.unsigned > 0, "unsigned certificates are among them: anybody can have made these"),
        (
            !has_key && verified.unsigned < verified.certificates,
            "without --key nobody knows whose signatures these are",
        ),
        (verified.is_alone, "it stands alone: the certificates before it were not checked"),
        (!has_head, "without --head nobody knows whether certificates after the last one are missing"),
    ];
    remarks.into_iter().filter(|(holds, _)| *holds).map(|(_, remark)| remark).collect()
}
