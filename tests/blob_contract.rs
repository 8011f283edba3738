//! The contract suite of every blob store, and tests for folders only or buckets only.

use crate::servers::s3;

use std::sync::Arc;

use s3::S3Server;
use tempfile::TempDir;
use tikkun::blob::{BlobStore, KeyFault, S3Keys, S3Place, S3Way, open_directory, open_s3};
use tikkun::fault::FaultKind;

/// A store, and what has to live as long.
struct Backend {
    store: Arc<dyn BlobStore>,
    folder: TempDir,
    _server: Option<S3Server>,
}

impl Backend {
    async fn directory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open_directory(&folder.path().join("blobs")).await.unwrap();
        Self { store, folder, _server: None }
    }

    async fn s3() -> Self {
        let server = S3Server::start();
        let store = open_s3(bucket::place(&server)).await.unwrap();
        Self { store, folder: tempfile::tempdir().unwrap(), _server: Some(server) }
    }
}

fn names(faults: &[KeyFault]) -> Vec<(usize, FaultKind)> {
    faults.iter().map(|fault| (fault.index, fault.fault.kind())).collect()
}

fn keys(list: &[&str]) -> Vec<String> {
    list.iter().map(|key| (*key).to_owned()).collect()
}

/// One line per backend: `suite!(name, how to open it)`.
macro_rules! suite {
    ($backend:ident, $open:expr) => {
        mod $backend {
            suite!(@each $open;
                an_object_can_be_written_measured_listed_and_deleted
                a_written_object_replaces_the_older_one
                deleting_is_safe_to_repeat
                a_mixed_batch_names_only_the_keys_that_are_still_there
                what_no_store_can_hold_is_refused_for_good
                keys_may_be_unicode
                a_thousand_keys_go_in_one_call_and_no_more
                listing_is_ordered_and_bounded
                an_object_and_a_folder_may_share_the_beginning_of_a_name
                check_passes_on_a_working_store
            );
        }
    };
    (@each $open:expr; $($claim:ident)*) => {
        $(#[tokio::test]
        async fn $claim() {
            let backend: super::Backend = $open.await;
            super::$claim(backend.store.as_ref()).await;
        })*
    };
}

suite!(directory, super::Backend::directory());
suite!(s3_bucket, super::Backend::s3());

async fn an_object_can_be_written_measured_listed_and_deleted(store: &dyn BlobStore) {
    let key = "7/receipt_source/2026/01/12.pdf";
    assert_eq!(store.size(key).await.unwrap(), None);
    store.put(key, b"hello").await.unwrap();
    assert_eq!(store.size(key).await.unwrap(), Some(5));
    assert_eq!(store.list("7/", 10).await.unwrap(), [key]);
    assert!(store.delete(&keys(&[key])).await.unwrap().is_empty());
    assert_eq!(store.size(key).await.unwrap(), None);
    assert!(store.list("", 10).await.unwrap().is_empty());
}

async fn a_written_object_replaces_the_older_one(store: &dyn BlobStore) {
    store.put("7/a", b"first").await.unwrap();
    store.put("7/a", b"").await.unwrap();
    assert_eq!(store.size("7/a").await.unwrap(), Some(0));
    assert_eq!(store.list("", 10).await.unwrap(), ["7/a"]);
}

async fn deleting_is_safe_to_repeat(store: &dyn BlobStore) {
    store.put("7/a", b"x").await.unwrap();
    for _ in 0..2 {
        assert!(store.delete(&keys(&["7/a", "7/a", "7/never", "8/no/folder"])).await.unwrap().is_empty());
    }
    assert!(store.delete(&[]).await.unwrap().is_empty());
}

async fn a_mixed_batch_names_only_the_keys_that_are_still_there(store: &dyn BlobStore) {
    store.put("7/a", b"x").await.unwrap();
    store.put("7/b", b"x").await.unwrap();
    let faults = store.delete(&keys(&["7/a", "", "7/missing", "7/a\0b", "7/b"])).await.unwrap();
    assert_eq!(names(&faults), [(1, FaultKind::Permanent), (3, FaultKind::Permanent)]);
    assert!(store.list("", 10).await.unwrap().is_empty());
}

async fn what_no_store_can_hold_is_refused_for_good(store: &dyn BlobStore) {
    are_refused_for_good(store, &["", "7/a\0b", ".tikkun-own", "7/.tikkun-own"]).await;
}

async fn are_refused_for_good(store: &dyn BlobStore, refused: &[&str]) {
    for key in refused {
        assert_eq!(store.put(key, b"x").await.unwrap_err().kind(), FaultKind::Permanent, "put {key:?}");
        assert_eq!(store.size(key).await.unwrap_err().kind(), FaultKind::Permanent, "size {key:?}");
        let faults = store.delete(&keys(&[key])).await.unwrap();
        assert_eq!(names(&faults), [(0, FaultKind::Permanent)], "delete {key:?}");
    }
    assert!(store.list("", 10).await.unwrap().is_empty());
    assert!(store.list("../", 10).await.unwrap().is_empty());
}

async fn keys_may_be_unicode(store: &dyn BlobStore) {
    let all = keys(&["7/קבלה מספר 1.pdf", "7/🧾/a b'c\"d.png", "7/…", "7/...", "7/~", "7/-rf"]);
    for key in &all {
        store.put(key, key.as_bytes()).await.unwrap();
        assert_eq!(store.size(key).await.unwrap(), Some(key.len() as u64), "{key}");
    }
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(store.list("7/", 100).await.unwrap(), sorted);
    assert!(store.delete(&all).await.unwrap().is_empty());
    assert!(store.list("", 10).await.unwrap().is_empty());
}

async fn a_thousand_keys_go_in_one_call_and_no_more(store: &dyn BlobStore) {
    let mut all: Vec<String> = (0..store.max_keys()).map(|n| format!("7/{}/{n}", n % 7)).collect();
    for key in all.iter().step_by(20) {
        store.put(key, b"x").await.unwrap();
    }
    assert!(store.delete(&all).await.unwrap().is_empty());
    assert!(store.list("", 10).await.unwrap().is_empty());
    all.push("7/one-too-many".to_owned());
    assert_eq!(store.delete(&all).await.unwrap_err().kind(), FaultKind::Permanent);
}

async fn listing_is_ordered_and_bounded(store: &dyn BlobStore) {
    for key in ["7/b", "7/a/x", "70/a", "7/a-b", "8/a"] {
        store.put(key, b"x").await.unwrap();
    }
    assert_eq!(store.list("7", 10).await.unwrap(), ["7/a-b", "7/a/x", "7/b", "70/a"]);
    assert_eq!(store.list("7/a", 10).await.unwrap(), ["7/a-b", "7/a/x"]);
    assert_eq!(store.list("7/a/x", 10).await.unwrap(), ["7/a/x"]);
    assert_eq!(store.list("", 2).await.unwrap(), ["7/a-b", "7/a/x"]);
    assert!(store.list("", 0).await.unwrap().is_empty());
    assert!(store.list("nobody", 10).await.unwrap().is_empty());
}

async fn an_object_and_a_folder_may_share_the_beginning_of_a_name(store: &dyn BlobStore) {
    store.put("7/a", b"x").await.unwrap();
    store.put("7/a.b/c", b"x").await.unwrap();
    assert!(store.delete(&keys(&["7/a.b", "7"])).await.unwrap().is_empty(), "no object has these keys");
    assert_eq!(store.list("", 10).await.unwrap(), ["7/a", "7/a.b/c"]);
    assert_eq!(store.size("7/a.b").await.unwrap(), None);
}

async fn check_passes_on_a_working_store(store: &dyn BlobStore) {
    store.check().await.unwrap();
    assert!(store.list("", 10).await.unwrap().is_empty(), "a check leaves nothing behind");
}

/// What only a folder can get wrong.
mod folder {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    /// Keys that are no path inside the folder.
    const ESCAPES: [&str; 15] = [
        "/",
        "/etc/passwd",
        "..",
        "../outside.txt",
        "7/../../outside.txt",
        "7/..",
        "7/./a",
        "./a",
        "7//a",
        "7/a/",
        "//a",
        "..\\outside.txt",
        "7\\a",
        "C:\\a",
        "7/..\\a",
    ];

    #[tokio::test]
    async fn keys_that_lead_outside_are_refused_for_good() {
        let backend = Backend::directory().await;
        are_refused_for_good(backend.store.as_ref(), &ESCAPES).await;
    }

    fn inside(backend: &Backend, path: &str) -> PathBuf {
        backend.folder.path().join("blobs").join(path)
    }

    fn outside(backend: &Backend) -> PathBuf {
        backend.folder.path().join("outside")
    }

    #[tokio::test]
    async fn objects_outlive_the_store_that_wrote_them() {
        let backend = Backend::directory().await;
        backend.store.put("7/a", b"hello").await.unwrap();
        let again = open_directory(&inside(&backend, "")).await.unwrap();
        assert_eq!(again.size("7/a").await.unwrap(), Some(5));
        assert_eq!(again.target(), backend.store.target());
        assert_eq!(again.target().driver, "local");
        assert_eq!(fs::read(inside(&backend, "7/a")).unwrap(), b"hello");
    }

    #[tokio::test]
    async fn links_that_lead_outside_are_refused_and_nothing_there_is_touched() {
        let backend = Backend::directory().await;
        let outside = outside(&backend);
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        symlink(&outside, inside(&backend, "link")).unwrap();
        fs::create_dir(inside(&backend, "7")).unwrap();
        symlink("../../outside", inside(&backend, "7/relative")).unwrap();
        for key in ["link/precious", "7/relative/precious"] {
            assert_eq!(
                names(&backend.store.delete(&keys(&[key])).await.unwrap()),
                [(0, FaultKind::Permanent)]
            );
            assert_eq!(backend.store.put(key, b"y").await.unwrap_err().kind(), FaultKind::Permanent);
            assert_eq!(backend.store.size(key).await.unwrap_err().kind(), FaultKind::Permanent);
        }
        assert_eq!(backend.store.put("link/new/a", b"y").await.unwrap_err().kind(), FaultKind::Permanent);
        assert!(backend.store.list("", 10).await.unwrap().is_empty());
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "x");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_link_that_leads_nowhere_says_of_no_object_that_it_is_gone() {
        let backend = Backend::directory().await;
        backend.store.put("7/a", b"x").await.unwrap();
        // A folder on a disk of its own, which is not mounted.
        symlink("../disk/8", inside(&backend, "8")).unwrap();
        symlink("../../disk", inside(&backend, "7/b")).unwrap();
        let gone = keys(&["8/a", "8/b/c", "7/b/c", "7/a", "7/c"]);
        let faults = backend.store.delete(&gone).await.unwrap();
        let away = FaultKind::Unavailable;
        assert_eq!(names(&faults), [(0, away), (1, away), (2, away)]);
        assert!(faults[0].fault.chain().contains("may not be mounted"), "{}", faults[0].fault.chain());
        assert_eq!(backend.store.size("8/a").await.unwrap_err().kind(), away);
        assert_eq!(backend.store.put("8/a", b"x").await.unwrap_err().kind(), away);
    }

    #[tokio::test]
    async fn a_folder_whose_link_was_turned_elsewhere_is_out_of_reach_and_claims_nothing() {
        let backend = Backend::directory().await;
        let (link, new) = (outside(&backend), backend.folder.path().join("larger"));
        symlink(inside(&backend, ""), &link).unwrap();
        let store = open_directory(&link).await.unwrap();
        store.put("7/a", b"x").await.unwrap();
        // All of it is on a larger disk now, and the application goes on there.
        fs::create_dir_all(new.join("7")).unwrap();
        fs::write(new.join("7/a"), "x").unwrap();
        fs::remove_file(&link).unwrap();
        assert_out_of_reach(store.as_ref()).await;
        symlink(&new, &link).unwrap();
        assert_out_of_reach(store.as_ref()).await;
        let fault = store.delete(&keys(&["7/a"])).await.unwrap_err();
        assert!(fault.chain().contains("larger"), "{}", fault.chain());
        fs::remove_file(&link).unwrap();
        symlink(inside(&backend, ""), &link).unwrap();
        assert!(store.delete(&keys(&["7/a"])).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn deleting_a_link_leaves_what_it_points_to() {
        let backend = Backend::directory().await;
        let file = outside(&backend);
        fs::write(&file, "x").unwrap();
        symlink(&file, inside(&backend, "a")).unwrap();
        assert_eq!(backend.store.size("a").await.unwrap(), None, "a link is no object");
        backend.store.put("a", b"mine").await.unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "x", "put replaces the link");
        fs::remove_file(inside(&backend, "a")).unwrap();
        symlink(&file, inside(&backend, "a")).unwrap();
        assert!(backend.store.delete(&keys(&["a"])).await.unwrap().is_empty());
        assert!(!inside(&backend, "a").is_symlink() && file.exists());
    }

    #[tokio::test]
    async fn links_that_run_in_a_circle_are_one_keys_fault() {
        let backend = Backend::directory().await;
        symlink("b", inside(&backend, "a")).unwrap();
        symlink("a", inside(&backend, "b")).unwrap();
        backend.store.put("ok", b"x").await.unwrap();
        let faults = backend.store.delete(&keys(&["a/x", "ok"])).await.unwrap();
        assert_eq!(names(&faults), [(0, FaultKind::Permanent)]);
        assert_eq!(backend.store.size("ok").await.unwrap(), None);
    }

    #[tokio::test]
    async fn below_a_file_there_is_nothing_and_nothing_can_be_written() {
        let backend = Backend::directory().await;
        backend.store.put("7/a", b"x").await.unwrap();
        assert_eq!(backend.store.size("7/a/b").await.unwrap(), None);
        assert!(backend.store.delete(&keys(&["7/a/b", "7/a/b/c"])).await.unwrap().is_empty());
        for key in ["7/a/b", "7/a/b/c"] {
            assert_eq!(backend.store.put(key, b"y").await.unwrap_err().kind(), FaultKind::Permanent);
        }
        backend.store.put("8/b/c", b"x").await.unwrap();
        assert_eq!(backend.store.put("8/b", b"y").await.unwrap_err().kind(), FaultKind::Permanent);
        assert_eq!(backend.store.list("", 10).await.unwrap(), ["7/a", "8/b/c"]);
    }

    #[tokio::test]
    async fn a_name_too_long_for_the_disk_is_one_keys_fault() {
        let backend = Backend::directory().await;
        let long = "k".repeat(300);
        let folder_too_long = format!("{long}/a");
        for key in [&long, &folder_too_long] {
            assert_eq!(backend.store.put(key, b"x").await.unwrap_err().kind(), FaultKind::Permanent);
        }
    }

    #[tokio::test]
    async fn without_its_folder_the_store_is_out_of_reach_and_claims_nothing() {
        let backend = Backend::directory().await;
        backend.store.put("7/a", b"x").await.unwrap();
        let (here, away) = (inside(&backend, ""), backend.folder.path().join("away"));
        fs::rename(&here, &away).unwrap();
        assert_out_of_reach(backend.store.as_ref()).await;
        fs::write(backend.folder.path().join("blobs"), "a file in place of the folder").unwrap();
        assert_out_of_reach(backend.store.as_ref()).await;
        fs::remove_file(backend.folder.path().join("blobs")).unwrap();
        fs::rename(&away, &here).unwrap();
        backend.store.check().await.unwrap();
        assert_eq!(backend.store.size("7/a").await.unwrap(), Some(1));
    }

    async fn assert_out_of_reach(store: &dyn BlobStore) {
        let kinds = [
            store.check().await.unwrap_err().kind(),
            store.put("7/b", b"x").await.unwrap_err().kind(),
            store.size("7/a").await.unwrap_err().kind(),
            store.delete(&keys(&["7/a"])).await.unwrap_err().kind(),
            store.list("", 10).await.unwrap_err().kind(),
        ];
        assert_eq!(kinds, [FaultKind::Unavailable; 5]);
    }

    #[tokio::test]
    async fn an_empty_folder_says_of_no_object_that_it_is_gone() {
        let backend = Backend::directory().await;
        let gone = keys(&["7/a", "7/b"]);
        fs::write(inside(&backend, ".tikkun-left-by-a-crash"), "").unwrap();
        let fault = backend.store.delete(&gone).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable);
        assert!(fault.chain().contains("may not be mounted"), "{}", fault.chain());
        backend.store.check().await.unwrap();
        backend.store.put("7/a", b"x").await.unwrap();
        for _ in 0..2 {
            assert!(backend.store.delete(&gone).await.unwrap().is_empty(), "its folder is there");
        }
        fs::remove_dir(inside(&backend, "7")).unwrap();
        assert!(backend.store.delete(&keys(&["a"])).await.unwrap().is_empty(), "it needs no folder");
    }

    #[tokio::test]
    async fn a_disk_made_anew_says_of_no_object_that_it_is_gone() {
        let backend = Backend::directory().await;
        fs::create_dir(inside(&backend, "lost+found")).unwrap();
        let fault = backend.store.delete(&keys(&["7/a"])).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable);
        backend.store.put("7/b", b"x").await.unwrap();
        assert!(backend.store.delete(&keys(&["7/a"])).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_file_in_place_of_the_folder_cannot_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("blobs");
        fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below")] {
            let fault = open_directory(&path).await.err().unwrap();
            assert_eq!(fault.kind(), FaultKind::Unavailable);
            assert!(fault.chain().contains("blobs"), "{}", fault.chain());
        }
    }

    /// Binds only a user whom permissions bind; for root there is nothing to see.
    #[tokio::test]
    async fn a_folder_that_takes_no_writes_is_out_of_reach_and_one_below_it_is_its_keys_fault() {
        let backend = Backend::directory().await;
        for key in ["a", "7/a", "8/a"] {
            backend.store.put(key, b"x").await.unwrap();
        }
        set_mode(&inside(&backend, "7"), 0o555);
        if fs::write(inside(&backend, "7/probe"), "").is_ok() {
            return;
        }
        let faults = backend.store.delete(&keys(&["7/a", "8/a"])).await.unwrap();
        assert_eq!(names(&faults), [(0, FaultKind::Permanent)]);
        assert_eq!(backend.store.put("7/b", b"x").await.unwrap_err().kind(), FaultKind::Permanent);
        set_mode(&inside(&backend, ""), 0o555);
        assert_eq!(backend.store.check().await.unwrap_err().kind(), FaultKind::Unavailable);
        assert_eq!(backend.store.put("b", b"x").await.unwrap_err().kind(), FaultKind::Unavailable);
        assert_eq!(names(&backend.store.delete(&keys(&["a"])).await.unwrap()), [(0, FaultKind::Unavailable)]);
        for folder in ["", "7"] {
            set_mode(&inside(&backend, folder), 0o755);
        }
    }

    fn set_mode(path: &std::path::Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// As of a bucket that is mounted without leave to delete. Needs a user who may forbid it, and a disk that can.
    #[tokio::test]
    async fn a_folder_that_lets_nothing_be_deleted_keeps_objects_and_gets_no_others() {
        let backend = Backend::directory().await;
        backend.store.put("7/a", b"x").await.unwrap();
        if !forbid_deleting(&inside(&backend, ""), true) {
            return;
        }
        forbid_deleting(&inside(&backend, "7"), true);
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(names(&backend.store.delete(&keys(&["7/a"])).await.unwrap()));
        }
        let check = backend.store.check().await.map_err(|fault| fault.kind());
        let there = fs::read_dir(inside(&backend, "")).unwrap().count();
        for folder in ["", "7"] {
            forbid_deleting(&inside(&backend, folder), false);
        }
        assert_eq!(
            seen,
            [[(0, FaultKind::Unavailable)], [(0, FaultKind::Unavailable)], [(0, FaultKind::Unavailable)]]
        );
        assert_eq!(check, Err(FaultKind::Unavailable), "what is to be deleted cannot be");
        assert!(there <= 2, "{there} names beside the object's folder");
        assert!(backend.store.delete(&keys(&["7/a"])).await.unwrap().is_empty());
        backend.store.check().await.unwrap();
        assert_eq!(fs::read_dir(inside(&backend, "")).unwrap().count(), 1, "nothing of ours is left");
    }

    /// Files may only be added to the folder, or anything again; `false` if that cannot be set.
    fn forbid_deleting(folder: &std::path::Path, forbidden: bool) -> bool {
        let folder = fs::File::open(folder).unwrap();
        let Ok(mut flags) = rustix::fs::ioctl_getflags(&folder) else { return false };
        flags.set(rustix::fs::IFlags::APPEND, forbidden);
        rustix::fs::ioctl_setflags(&folder, flags).is_ok()
    }

    #[tokio::test]
    async fn unfinished_objects_are_never_listed() {
        let backend = Backend::directory().await;
        fs::create_dir(inside(&backend, "7")).unwrap();
        fs::write(inside(&backend, "7/.tikkun-half"), "x").unwrap();
        assert!(backend.store.list("", 10).await.unwrap().is_empty());
        assert_eq!(backend.store.put("7/.tikkun-a", b"x").await.unwrap_err().kind(), FaultKind::Permanent);
    }

    #[tokio::test]
    async fn many_writers_and_deleters_in_one_folder_do_not_disturb_each_other() {
        let backend = Backend::directory().await;
        let work = (0..40).map(|n| {
            let store = Arc::clone(&backend.store);
            async move {
                let key = format!("7/{}/{n}", n % 3);
                store.put(&key, b"x").await.unwrap();
                if n % 2 == 0 {
                    assert!(store.delete(&[key]).await.unwrap().is_empty());
                }
            }
        });
        futures::future::join_all(work).await;
        assert_eq!(backend.store.list("7/", 100).await.unwrap().len(), 20);
    }
}

/// What only a bucket can get wrong.
mod bucket {
    use std::time::Duration;

    use super::s3::{BUCKET, KEY_ID, SECRET, Trouble};
    use super::*;

    pub fn place(server: &S3Server) -> S3Place {
        S3Place {
            driver: "r2",
            bucket: BUCKET.into(),
            region: Some("auto".into()),
            endpoint: Some(server.endpoint()),
            path_style: true,
            keys: Some(S3Keys { id: KEY_ID.into(), secret: SECRET.into(), token: None }),
            way: S3Way::default(),
        }
    }

    async fn start(keys: usize) -> (S3Server, Arc<dyn BlobStore>, Vec<String>) {
        let server = S3Server::start();
        let store = open_s3(place(&server)).await.unwrap();
        let keys: Vec<String> = (0..keys).map(|n| format!("7/receipt_source/2026/01/{n}.pdf")).collect();
        keys.iter().for_each(|key| server.put(key));
        (server, store, keys)
    }

    const SLOW_DOWN: Trouble = Trouble::Answer(503, "SlowDown", "reduce your request rate");
    const TOO_MANY: Trouble = Trouble::Answer(429, "", "");

    #[tokio::test]
    async fn a_thousand_objects_take_one_request_and_are_gone() {
        let (server, store, keys) = start(1000).await;
        assert_eq!((store.target().driver.as_str(), store.target().bucket.as_str()), ("r2", BUCKET));
        assert!(store.delete(&keys).await.unwrap().is_empty());
        assert!(server.keys().is_empty());
        assert_eq!(server.requests(), ["POST ?delete"]);
    }

    #[tokio::test]
    async fn a_store_that_says_slow_down_is_asked_again_later() {
        let (server, store, keys) = start(3).await;
        server.script([SLOW_DOWN, SLOW_DOWN, TOO_MANY, SLOW_DOWN, Trouble::Pass]);
        assert!(store.delete(&keys).await.unwrap().is_empty());
        assert!(server.keys().is_empty());
    }

    #[tokio::test]
    async fn a_store_that_goes_on_saying_so_is_out_of_reach_and_no_key_is_called_gone() {
        let (server, store, keys) = start(3).await;
        server.always(Some(SLOW_DOWN));
        let fault = store.delete(&keys).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{}", fault.chain());
        assert!(fault.chain().contains("503 SlowDown (reduce your request rate)"), "{}", fault.chain());
        assert_eq!(server.keys().len(), 3);
    }

    #[tokio::test]
    async fn connections_that_are_cut_are_made_again_even_when_the_answer_was_lost() {
        let (server, store, keys) = start(3).await;
        server.script([Trouble::Cut, Trouble::CutAfter, Trouble::Pass]);
        assert!(store.delete(&keys).await.unwrap().is_empty());
        assert!(server.keys().is_empty());
        server.always(Some(Trouble::Cut));
        assert_eq!(store.delete(&keys).await.unwrap_err().kind(), FaultKind::Unavailable);
    }

    #[tokio::test]
    async fn an_answer_that_comes_late_is_waited_for() {
        let (server, store, keys) = start(3).await;
        server.script([Trouble::Slow(Duration::from_millis(300))]);
        assert!(store.delete(&keys).await.unwrap().is_empty());
        assert!(server.keys().is_empty());
    }

    /// A store may need a while for each key, there or not: then it never answers for very many in time.
    #[tokio::test]
    async fn a_store_that_is_slow_with_each_key_is_asked_for_fewer_at_a_time() {
        let (server, store, mut keys) = start(180).await;
        server.always(Some(Trouble::SlowKeys(Duration::from_millis(20))));
        let mut calls = 0;
        while !keys.is_empty() {
            calls += 1;
            assert!(
                calls <= 6,
                "{} keys are still not answered for, {} there",
                keys.len(),
                server.keys().len()
            );
            let now = keys[..store.max_keys().min(keys.len())].to_vec();
            let patience = Duration::from_millis(2200);
            if let Ok(answer) = tokio::time::timeout(patience, store.delete(&now)).await {
                assert!(answer.unwrap().is_empty());
                keys.drain(..now.len());
            }
        }
        assert!(server.keys().is_empty());
        server.always(None);
        for _ in 0..10 {
            store.delete(&["7/a".to_owned()]).await.unwrap();
        }
        assert_eq!(store.max_keys(), 1000, "as many as ever, once it is fast again");
    }

    #[tokio::test]
    async fn nobody_at_the_endpoint_is_an_outage_that_names_the_bucket() {
        let (server, _, keys) = start(0).await;
        let mut place = place(&server);
        // Bound and closed again: nobody listens there.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        place.endpoint = Some(format!("http://{nobody}"));
        let store = open_s3(place).await.unwrap();
        let fault = store.check().await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable);
        let text = fault.chain();
        assert!(text.contains("in the bucket `attachments`: the store cannot be reached; see"), "{text}");
        assert!(store.delete(&keys).await.unwrap().is_empty(), "nothing to delete is nothing to ask");
    }

    #[tokio::test]
    async fn a_key_with_an_error_stays_and_the_others_go() {
        let (server, store, keys) = start(4).await;
        let locked = "Access Denied because object protected by object lock.";
        server.script([Trouble::Keys("AccessDenied", locked, vec![keys[1].clone()])]);
        let faults = store.delete(&keys).await.unwrap();
        assert_eq!(names(&faults), [(1, FaultKind::Permanent)]);
        let text = faults[0].fault.chain();
        assert!(text.contains(&keys[1]) && text.contains("retention rule keeps it"), "{text}");
        assert_eq!(server.keys().into_iter().collect::<Vec<_>>(), [keys[1].as_str()]);
        server.script([
            Trouble::Keys("SlowDown", "", vec![keys[1].clone()]),
            Trouble::Keys("NoSuchKey", "", keys.clone()),
        ]);
        assert_eq!(names(&store.delete(&keys).await.unwrap()), [(1, FaultKind::Unavailable)]);
        assert!(store.delete(&keys).await.unwrap().is_empty(), "what is not there is gone");
    }

    #[tokio::test]
    async fn keys_that_an_answer_says_nothing_of_are_not_called_gone() {
        let (server, store, keys) = start(3).await;
        assert!(
            store.delete(&["7/b".to_owned()]).await.unwrap().is_empty(),
            "this store names what it deletes"
        );
        for (answer, left) in [
            ("<DeleteResult>", 3),
            ("<DeleteResult/>", 3),
            ("<DeleteResult><Deleted><Key>7/receipt_source/2026/01/1.pdf</Key></Deleted>", 2),
        ] {
            server.script([Trouble::Says(answer)]);
            let faults = store.delete(&keys).await.unwrap();
            assert_eq!(faults.len(), left, "{answer}");
            let fault = &faults[0].fault;
            assert_eq!(fault.kind(), FaultKind::Retryable, "{}", fault.chain());
            assert!(fault.chain().contains("says nothing of"), "{}", fault.chain());
        }
        for odd in ["", " <Error><Code>SlowDown</Code></Error>", "<html>Sign in</html>"] {
            server.always(Some(Trouble::Says(odd)));
            let fault = store.delete(&keys).await.unwrap_err();
            assert_ne!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
        }
        server.always(None);
        keys.iter().for_each(|key| server.put(key));
        assert!(store.delete(&keys).await.unwrap().is_empty());
        assert!(server.keys().is_empty());
    }

    #[tokio::test]
    async fn a_store_that_refuses_bulk_is_asked_one_by_one_and_not_asked_for_bulk_again() {
        let (server, store, keys) = start(40).await;
        let no_bulk = Trouble::Answer(501, "NotImplemented", "no bulk here");
        server.script([no_bulk.clone(), no_bulk]);
        assert_eq!(store.bulk_refusal(), None);
        assert!(store.delete(&keys).await.unwrap().is_empty());
        assert!(server.keys().is_empty());
        assert_eq!(store.max_keys(), 100, "fewer keys in a call that takes longer");
        assert!(store.bulk_refusal().unwrap().contains("no bulk here"));
        keys.iter().for_each(|key| server.put(key));
        assert!(store.delete(&keys).await.unwrap().is_empty());
        assert!(server.keys().is_empty());
        assert_eq!((server.asked("POST ?delete"), server.asked("DELETE")), (2, 80));
    }

    #[tokio::test]
    async fn a_path_of_the_endpoint_stands_before_the_bucket() {
        let server = S3Server::start();
        for path in ["/storage/v1/s3", "/storage/v1/s3/"] {
            let endpoint = Some(format!("{}{path}", server.endpoint()));
            let store = open_s3(S3Place { endpoint, ..place(&server) }).await.unwrap();
            let _ = store.size("7/a").await;
            let _ = store.delete(&keys(&["7/a"])).await;
        }
        let paths = server.paths();
        assert!(paths.iter().all(|path| path.starts_with("/storage/v1/s3/attachments/")), "{paths:?}");
        assert!(paths.len() >= 4, "{paths:?}");
    }

    #[tokio::test]
    async fn a_store_that_takes_one_checksum_alone_is_asked_in_bulk_with_that_one() {
        for (checksum, requests) in [("content-md5", 2), ("x-amz-checksum-crc32", 3)] {
            let (server, store, keys) = start(1000).await;
            server.take_only(checksum);
            assert!(store.delete(&keys).await.unwrap().is_empty(), "{checksum}");
            keys.iter().for_each(|key| server.put(key));
            assert!(store.delete(&keys).await.unwrap().is_empty(), "{checksum}");
            assert!(server.keys().is_empty() && store.bulk_refusal().is_none(), "{checksum}");
            assert_eq!(server.requests(), vec!["POST ?delete"; requests], "{checksum}: it is asked for once");
        }
    }

    /// No path, but text that S3 takes for a key.
    const ODD: [&str; 10] = ["/", "7//a", "/a", "7/a/", "./7/a", "7/./a", "../7/a", "7/..", "7\\a", "C:\\a"];

    #[tokio::test]
    async fn keys_that_are_no_path_go_and_take_no_other_object_with_them() {
        let (server, store, _) = start(0).await;
        let odd = keys(&ODD);
        odd.iter().for_each(|key| server.put(key));
        server.put("7/a");
        server.put("a");
        assert!(store.delete(&odd).await.unwrap().is_empty());
        assert_eq!(server.keys(), keys(&["7/a", "a"]).into_iter().collect());
    }

    #[tokio::test]
    async fn one_by_one_a_key_that_a_url_may_change_stays_with_the_reason() {
        let (server, store, _) = start(0).await;
        let odd = keys(&ODD);
        odd.iter().for_each(|key| server.put(key));
        server.put("7/a");
        let no_bulk = Trouble::Answer(501, "NotImplemented", "no bulk here");
        server.script([no_bulk.clone(), no_bulk]);
        let left = store.delete(&odd).await.unwrap();
        assert_eq!(names(&left), [4, 5, 6, 7].map(|index| (index, FaultKind::Permanent)));
        assert!(left[0].fault.chain().contains("in bulk"), "{}", left[0].fault.chain());
        assert_eq!(server.keys(), keys(&["7/a", "./7/a", "7/./a", "../7/a", "7/.."]).into_iter().collect());
    }

    #[tokio::test]
    async fn one_by_one_a_locked_object_stays_and_an_outage_ends_the_call() {
        let (server, store, keys) = start(3).await;
        let first = keys[..1].to_vec();
        server.script([
            Trouble::Answer(400, "MalformedXML", "what is this"),
            Trouble::Answer(400, "MalformedXML", "what is this"),
            Trouble::Answer(403, "AccessDenied", "under retention"),
        ]);
        assert_eq!(names(&store.delete(&first).await.unwrap()), [(0, FaultKind::Permanent)]);
        server.always(Some(Trouble::Answer(500, "", "")));
        assert_eq!(store.delete(&keys).await.unwrap_err().kind(), FaultKind::Unavailable);
        assert_eq!(server.keys().len(), 3);
    }

    /// As Google's store answers, which has codes of its own for objects that are kept.
    #[tokio::test]
    async fn one_by_one_an_object_that_the_store_keeps_takes_no_other_with_it() {
        let (server, store, keys) = start(60).await;
        let kept = keys[..3].to_vec();
        let no_bulk = Trouble::Answer(501, "NotImplemented", "no bulk here");
        server.script([no_bulk.clone(), no_bulk]);
        let held = "Object is under active Event-Based hold and cannot be deleted.";
        server.always(Some(Trouble::Keys("ObjectUnderActiveHold", held, kept.clone())));
        let left = store.delete(&keys).await.unwrap();
        assert_eq!(names(&left), [0, 1, 2].map(|index| (index, FaultKind::Permanent)));
        let text = left[0].fault.chain();
        assert!(text.contains(&kept[0]) && text.contains("retention rule keeps it"), "{text}");
        assert_eq!(server.keys(), kept.into_iter().collect());
    }

    #[tokio::test]
    async fn keys_that_no_bulk_request_can_carry_go_by_themselves() {
        let (server, store, _) = start(0).await;
        let all = keys(&["7/a\tb", "7/\u{1}", "7/\r\n", "7/<&>\"'.pdf", "7/ a ", "7/קבלה.pdf", "7/a+b%2F?#"]);
        for key in &all {
            store.put(key, b"x").await.unwrap();
        }
        assert_eq!(server.keys(), all.iter().cloned().collect());
        assert!(store.delete(&all).await.unwrap().is_empty());
        assert!(server.keys().is_empty());
        assert_eq!((server.asked("POST ?delete"), server.asked("DELETE")), (1, 3));
    }

    #[tokio::test]
    async fn lists_longer_than_one_answer_are_read_on() {
        let (server, store, keys) = start(2100).await;
        assert_eq!(store.list("7/", 2050).await.unwrap().len(), 2050);
        assert_eq!(store.list("7/", 5000).await.unwrap().len(), keys.len());
        assert_eq!(server.asked("GET"), 3 + 3);
    }

    #[tokio::test]
    async fn what_a_person_has_to_mend_is_said_in_words() {
        let server = S3Server::start();
        type Change = fn(&mut S3Place);
        let table: [(Change, &str); 3] = [
            (|place| place.bucket = "attachmentz".into(), "NoSuchBucket"),
            (|place| place.keys.as_mut().unwrap().id = "AKIDOTHER".into(), "attachments.r2_access_key_id"),
            (
                |place| place.keys.as_mut().unwrap().secret = "hunter3".into(),
                "attachments.r2_secret_access_key",
            ),
        ];
        for (change, words) in table {
            let mut place = place(&server);
            change(&mut place);
            let store = open_s3(place).await.unwrap();
            for fault in [store.check().await.unwrap_err(), store.delete(&keys(&["7/a"])).await.unwrap_err()]
            {
                let text = fault.chain();
                assert_eq!(fault.kind(), FaultKind::Permanent, "{text}");
                assert!(text.contains(words), "expected `{words}` in: {text}");
                assert!(!text.contains("hunter"), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn a_check_needs_to_write_and_to_delete_and_names_what_failed() {
        let (server, store, _) = start(0).await;
        server.script([Trouble::Answer(403, "AccessDenied", "")]);
        let text = store.check().await.unwrap_err().chain();
        assert!(
            text.starts_with("write the object \".tikkun-check/") && text.contains("s3:PutObject"),
            "{text}"
        );
        server.script([Trouble::Pass, Trouble::Answer(403, "AccessDenied", "")]);
        let text = store.check().await.unwrap_err().chain();
        assert!(text.starts_with("delete the object \".tikkun-check/"), "{text}");
    }

    #[tokio::test]
    async fn a_bucket_that_keeps_versions_is_deleted_from_all_the_same() {
        let (server, store, keys) = start(3).await;
        server.keep_versions();
        store.check().await.unwrap();
        assert!(store.delete(&keys).await.unwrap().is_empty());
        assert!(server.keys().is_empty());
    }
}
