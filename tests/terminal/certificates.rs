//! `tikkun certificate`: what it prints can be verified by anybody, and what was tampered with is found.

use std::fs;
use std::time::Duration;

use tikkun::certificate::Issuer;
use tikkun::job::BackgroundJobId;
use tikkun::store::{Begin, Begun, EndAttempt, Requested, Store};

use super::working_folder::{WorkingFolder, request_of_789};

/// Ends a background job.
async fn end(store: &Store, id: BackgroundJobId) {
    let begin = Begin {
        id,
        queue_job: "q".into(),
        entry_at: None,
        stale_after: Duration::from_secs(60),
        max_barren: 3,
    };
    let jobs = &store.background_jobs;
    let Begun::Started(job) = jobs.begin_attempt(&begin).await.unwrap() else { panic!("{id} begins") };
    assert!(jobs.end_attempt(id, job.note.attempt, &EndAttempt::Completed).await.unwrap());
}

/// Three deletions with their certificates, the public key and the head.
async fn issued(folder: &WorkingFolder) -> (BackgroundJobId, String, String) {
    let keys = folder.run(&["certificate", "keygen", "--json"]).json();
    let key = tikkun::certificate::SigningKey::read(&keys["key"].as_str().unwrap().into()).unwrap();
    assert_eq!(key.public().as_str(), keys["public_key"]);
    let issuer = Issuer { key: Some(key) };
    let (store, mut id) = folder.background_job(2).await;
    let mut head = String::new();
    for number in 1..=3 {
        end(&store, id).await;
        head = store.certificates.issue(id, &issuer).await.unwrap().unwrap().hash;
        if number < 3 {
            let again = store.background_jobs.request(&request_of_789()).await.unwrap();
            let Requested::Created(job) = again else { panic!("{again:?}") };
            id = job.id;
        }
    }
    (id, keys["public_key"].as_str().unwrap().to_owned(), head)
}

#[tokio::test]
async fn what_is_exported_is_verified_without_a_database_and_what_was_changed_is_found() {
    let folder = WorkingFolder::with_data();
    let (id, key, head) = issued(&folder).await;
    let export = folder.run(&["certificate", "export"]).ok();
    let shown = folder.run(&["certificate", "show", &id.to_string(), "--json"]).ok();
    assert_eq!(export.lines().last(), shown.lines().next());
    let table = folder.run(&["certificate", "show", &id.to_string()]).ok();
    for words in ["3, final", "of business 789", "receipts deleted", &head, &key] {
        assert!(table.contains(words), "no `{words}` in {table}");
    }

    // Elsewhere: no data, no settings.
    let away = WorkingFolder::new();
    let write = |name: &str, text: &str| fs::write(away.path().join(name), text).unwrap();
    write("all", &export);
    write("one", &shown);
    write("without-last", &(export.lines().take(2).collect::<Vec<_>>().join("\n") + "\n"));
    let lines: Vec<_> = export.lines().collect();
    write("without-middle", &[lines[0], lines[2], ""].join("\n"));
    write("changed", &export.replacen("\"set_aside\":0", "\"set_aside\":1", 1));
    write("empty", "");
    fs::write(away.path().join("no-text"), [0xff, 0xfe]).unwrap();
    let verify = |file: &str, more: &[&str]| away.run(&[&["certificate", "verify", file], more].concat());
    let (with_key, with_head) = (["--key", &key], ["--head", &head]);
    let good = verify("all", &["--key", &key, "--head", &head, "--json"]).json();
    assert_eq!(
        (&good["valid"], &good["certificates"], &good["unsigned"]),
        (&true.into(), &3.into(), &0.into())
    );
    let alone = verify("one", &with_key);
    assert!(alone.err.contains("stands alone") && alone.err.contains("--head"), "{}", alone.err);
    alone.ok();
    verify("without-last", &with_key).ok();
    verify("without-last", &with_head).refuses(1, &["the last certificates are missing", &head]);
    verify("without-middle", &[]).refuses(1, &["certificates are missing", "3 comes after 1", "expected 2"]);
    verify("changed", &[]).refuses(1, &["certificate 1 was changed"]);
    let other = folder.run(&["certificate", "keygen", "--json"]).json();
    verify("all", &["--key", other["public_key"].as_str().unwrap()]).refuses(1, &["names the key", &key]);
    verify("empty", &[]).refuses(1, &["no certificate", "try:"]);
    verify("no-text", &[]).refuses(1, &["no UTF-8", "try:"]);
    assert_eq!(fs::read_dir(away.path()).unwrap().count(), 7, "nothing else is made there");
}
