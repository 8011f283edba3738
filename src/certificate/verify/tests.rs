//! Tests of chains that were tampered with.

use chrono::DateTime;

use super::*;
use crate::certificate::{DeletionFacts, Issuer, Removed, Sealed, SigningKey, WhyKept};
use crate::job::background::{AttachmentsKept, BackgroundJob, Cursor, LeftAlone, Note, Status};
use crate::job::{BackgroundJobId, BusinessId, Progress};

fn facts(id: i64, owed: i64) -> DeletionFacts {
    let at = |second: i64| DateTime::UNIX_EPOCH + chrono::Duration::seconds(second);
    let cursor = Cursor {
        last_id: 40,
        upper_id: Some(9_007_199_254_740_993),
        left: Some(LeftAlone { receipts: 2, because: "Miriam's folder".into() }),
        attachments_kept: Some(AttachmentsKept { count: 3, reason: "789/receipt_source/a.pdf".into() }),
        ..Cursor::default()
    };
    let job = BackgroundJob {
        id: BackgroundJobId(id),
        business_id: BusinessId(9_007_199_254_740_993),
        requested_by_user_id: Some(5),
        job_type: "delete_receipts_all".into(),
        status: Status::Completed,
        progress: Progress { total: 40, processed: 40, succeeded: 39, failed: 1 },
        last_error: Some("Miriam's folder".into()),
        cursor,
        created_at: Some(at(1)),
        updated_at: None,
        started_at: Some(at(2)),
        finished_at: Some(at(3)),
        heartbeat_at: None,
        note: Note { attempt: 2, changed_by: Some("Miriam".into()), ..Note::default() },
    };
    let removed = Some(Removed { attachments: 30, objects: 29, referenced: 4, needed_again: 1 });
    DeletionFacts { job, removed, owed, parked: 0, now: at(4) }
}

fn issuer() -> Issuer {
    Issuer { key: Some(SigningKey::read(&"7".repeat(64).into()).unwrap()) }
}

fn chain(issuer: &Issuer, length: i64) -> Vec<Sealed> {
    let mut head = ChainHead::default();
    let mut next = |id| {
        let sealed = issuer.issue(&head, &facts(id, i64::from(id == 2))).unwrap();
        head = ChainHead { length: head.length + 1, hash: sealed.hash.clone() };
        sealed
    };
    (1..=length).map(&mut next).collect()
}

fn export(chain: &[Sealed]) -> String {
    chain.iter().map(|one| one.line() + "\n").collect()
}

#[test]
fn a_certificate_says_what_happened_and_names_nobody() {
    let sealed = &chain(&issuer(), 1)[0];
    let certificate = sealed.certificate().unwrap();
    assert_eq!(certificate.deletion.tenant, "9007199254740993", "an id beyond what a double holds");
    let rows: Vec<_> = certificate.tables.iter().map(|one| (one.table.as_str(), one.rows)).collect();
    assert_eq!(rows, [("receipts", Some(39)), ("attachments", Some(30))]);
    assert_eq!((certificate.objects.deleted, certificate.objects.needed_again), (Some(28), Some(1)));
    let kept: Vec<_> = certificate.kept.iter().map(|one| (one.rows, one.why)).collect();
    assert_eq!(kept, [(2, WhyKept::Newer), (4, WhyKept::Referenced), (3, WhyKept::Refused)]);
    assert_eq!(
        (certificate.set_aside, certificate.deletion.attempts, certificate.counts_missing),
        (1, 2, false)
    );
    for private in ["Miriam", ".pdf"] {
        assert!(!sealed.line().contains(private), "{}", sealed.line());
    }
}

#[test]
fn what_a_program_did_not_count_is_missing_and_says_so() {
    let facts = DeletionFacts { removed: None, ..facts(1, 2) };
    let certificate = issuer().issue(&ChainHead::default(), &facts).unwrap().certificate().unwrap();
    assert!(certificate.counts_missing && !certificate.r#final);
    assert_eq!(
        (certificate.tables[1].rows, certificate.objects.deleted, certificate.objects.owed),
        (None, None, 2)
    );
}

#[test]
fn a_chain_is_good_as_it_was_issued_signed_or_not() {
    let (signed, unsigned) = (chain(&issuer(), 3), chain(&Issuer::default(), 3));
    let keys = [issuer().key.unwrap().public()];
    let found = verify(&export(&signed), &keys, Some(&signed[2].hash)).unwrap();
    let expected = Verified {
        length: 3,
        head: signed[2].hash.clone(),
        certificates: 3,
        provisional: 1,
        unsigned: 0,
        is_alone: false,
    };
    assert_eq!(found, expected);
    assert_eq!(verify(&export(&unsigned), &[], None).unwrap().unsigned, 3);
    let expected = Flaw::Unsigned { sequence: 1, expected: keys[0].to_string() };
    assert_eq!(verify(&export(&unsigned), &keys, None), Err(expected));
    // An earlier head is there as well, and so is one certificate alone.
    assert!(verify(&export(&signed), &keys, Some(&signed[0].hash)).is_ok());
    let alone = verify(&export(&signed[1..2]), &keys, Some(&signed[1].hash)).unwrap();
    assert!(alone.is_alone && alone.length == 2 && alone.certificates == 1);
}

#[test]
fn every_change_of_a_byte_is_found() {
    let text = export(&chain(&issuer(), 2));
    for at in 0..text.len() - 1 {
        let byte = text.as_bytes()[at];
        for changed in [byte ^ 1, b' ', b'0', b'"', b'\n'] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = changed;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(changed == text || verify(&changed, &[], None).is_err(), "byte {at}: {changed}");
        }
    }
    for added in [format!("{text}\n"), format!(" {text}"), text.replace('\n', "\r\n")] {
        assert!(verify(&added, &[], None).is_err(), "{added}");
    }
}

#[test]
fn what_was_taken_out_of_the_chain_is_found() {
    let chain = chain(&issuer(), 4);
    let head = chain[3].hash.as_str();
    let without = |gone: usize| {
        let left = chain.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, one)| one.clone());
        export(&left.collect::<Vec<_>>())
    };
    assert_eq!(verify(&without(0), &[], None), Err(Flaw::Missing { after: 0, found: 2 }));
    assert_eq!(verify(&without(1), &[], None), Err(Flaw::Missing { after: 1, found: 3 }));
    // Without a kept head nobody can know that there was a last one.
    assert_eq!(verify(&without(3), &[], None).unwrap().length, 3);
    let expected = Flaw::HeadMissing { kept: head.to_owned(), length: 3, head: chain[2].hash.clone() };
    assert_eq!(verify(&without(3), &[], Some(head)), Err(expected));
    assert_eq!(verify("\n", &[], None), Err(Flaw::Empty));
}

#[test]
fn what_somebody_else_issued_in_its_place_is_found() {
    let (ours, keys) = (chain(&issuer(), 3), [issuer().key.unwrap().public()]);
    let other = Issuer { key: Some(SigningKey::read(&"8".repeat(64).into()).unwrap()) };
    let head = ChainHead { length: 1, hash: ours[0].hash.clone() };
    let forged = other.issue(&head, &facts(7, 0)).unwrap();
    let text = export(&[ours[0].clone(), forged.clone(), ours[2].clone()]);
    assert!(matches!(verify(&text, &keys, None), Err(Flaw::OtherKey { sequence: 2, .. })));
    assert!(matches!(verify(&text, &[], None), Err(Flaw::Unlinked { sequence: 3, .. })));
    let both = [keys[0].clone(), other.key.as_ref().unwrap().public()];
    assert!(verify(&export(&[ours[0].clone(), forged.clone()]), &both, None).is_ok(), "a key was changed");
    // Its content under our key, its hash renewed.
    let named = Sealed {
        text: forged.text.replace(&other.key.unwrap().public().to_string(), keys[0].as_str()),
        ..forged
    };
    let forged = Sealed { hash: hash(&named.text), ..named };
    let text = export(&[ours[0].clone(), forged]);
    assert!(matches!(verify(&text, &keys, None), Err(Flaw::BadSignature { sequence: 2, .. })));
    let bare = Sealed { signature: None, ..ours[0].clone() };
    assert!(matches!(verify(&export(&[bare]), &[], None), Err(Flaw::BadSignature { sequence: 1, .. })));
    let changed = Sealed { hash: "0".repeat(64), ..ours[0].clone() };
    assert!(matches!(verify(&export(&[changed]), &[], None), Err(Flaw::Changed { sequence: 1, .. })));
}
