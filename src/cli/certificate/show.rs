//! `tikkun certificate show`.

use crate::certificate::{Certificate, WhyKept};
use crate::cli::advice::Advice;
use crate::cli::ending::Complaint;
use crate::cli::page;
use crate::cli::table::{Cell, Fit, Table, text};
use crate::cli::views::time;
use crate::job::BackgroundJobId;
use crate::runtime::JobPorts;

/// Prints the newest certificate of a deletion.
pub(super) async fn show(ports: &JobPorts, id: BackgroundJobId, json: bool) -> Result<(), Complaint> {
    let Some(sealed) = ports.store.certificates.newest_of(id).await? else {
        let text = format!("background job {id} has no certificate");
        return Err(Complaint::failed(text, Advice::CERTIFICATE_LATER));
    };
    if json {
        page::line(&sealed.line());
        return Ok(());
    }
    let unreadable = |error| Complaint::failed(format!("its certificate: {error}"), Advice::OTHER_COPY);
    let certificate = sealed.certificate().map_err(unreadable)?;
    let columns = [text("WHAT", Fit::Whole), text("VALUE", Fit::Shorter)];
    let rows = rows(&certificate).into_iter().chain([("hash".to_owned(), sealed.hash)]);
    let rows = rows.map(|(what, value)| vec![Cell::from(what.as_str()), value.into()]);
    Table::list(columns, rows.collect()).wrapped().print();
    Ok(())
}

fn rows(certificate: &Certificate) -> Vec<(String, String)> {
    let deletion = &certificate.deletion;
    let count = |number: Option<i64>| number.map_or_else(|| "not counted".to_owned(), |n| n.to_string());
    let at = |moment| Option::map_or(moment, "-".to_owned(), time);
    let state = if certificate.r#final { "final" } else { "provisional: storage still owes objects" };
    let mut rows = vec![
        ("certificate".to_owned(), format!("{}, {state}", certificate.sequence)),
        ("deletion".to_owned(), format!("{} of business {}", deletion.id, deletion.tenant)),
        ("requested by user".to_owned(), deletion.requester.clone().unwrap_or_else(|| "-".to_owned())),
        ("outcome".to_owned(), format!("{} after {} attempts", deletion.outcome, deletion.attempts)),
        ("requested".to_owned(), at(deletion.requested_at)),
        ("first moment".to_owned(), at(deletion.first_moment)),
        ("last moment".to_owned(), at(deletion.last_moment)),
    ];
    let gone = certificate.tables.iter();
    rows.extend(gone.map(|table| (format!("{} deleted", table.table), count(table.rows))));
    let objects = &certificate.objects;
    rows.extend([
        ("objects deleted".to_owned(), count(objects.deleted)),
        ("objects still owed".to_owned(), format!("{}, {} of them parked", objects.owed, objects.parked)),
        ("objects needed again".to_owned(), count(objects.needed_again)),
        ("receipts set aside".to_owned(), certificate.set_aside.to_string()),
    ]);
    let kept = certificate.kept.iter();
    rows.extend(kept.map(|kept| (format!("{} kept, {}", kept.table, why(kept.why)), kept.rows.to_string())));
    rows.extend([
        ("issued".to_owned(), format!("{} by Tikkun {}", time(certificate.issued_at), certificate.version)),
        ("signed with".to_owned(), certificate.key.clone().unwrap_or_else(|| "nothing: unsigned".to_owned())),
    ]);
    rows
}

fn why(reason: WhyKept) -> &'static str {
    match reason {
        WhyKept::Newer => "newer than the request",
        WhyKept::Referenced => "used by another table",
        WhyKept::Refused => "refused by the database",
    }
}
