//! Counts the rows of the tables and the files in the folder, and compares them with what was written. It
//! does not depend on how a deletion works.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::plan::{ARRIVED, Group, NEIGHBOURS, REQUESTED};
use super::seed::{Arrived, Seeded};
use crate::cli::advice::Advice;
use crate::cli::ending::Complaint;
use crate::job::BackgroundJobId;
use crate::job::background::{BackgroundJob, Status};
use crate::store::{ReceiptCount, Store, TrialData};

/// Keys per page.
const PAGE: u32 = 1000;

/// The counted state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    pub receipts: BTreeMap<String, ReceiptCount>,
    pub attachments: BTreeMap<String, u64>,
    /// Objects that attachments refer to.
    pub objects: u64,
    /// Of those objects, the ones without a file.
    pub missing: u64,
    /// Files in the folder.
    pub files: u64,
    /// Objects that wait in the outbox.
    pub pending: u64,
    pub job: Option<BackgroundJob>,
}

/// One line of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub what: String,
    /// The count when the deletion was requested; `None` if it is of no interest.
    pub before: Option<u64>,
    pub expected: u64,
    pub found: u64,
}

impl Fact {
    /// Whether the count is as expected.
    pub(super) fn right(&self) -> bool {
        self.expected == self.found
    }
}

/// Counts rows, objects and files.
pub(super) async fn look(
    trial: &dyn TrialData,
    store: &Store,
    root: &Path,
    job: BackgroundJobId,
) -> Result<Found, Complaint> {
    let (mut objects, mut missing) = (0, 0);
    let mut after = String::new();
    loop {
        let keys = trial.keys(&after, PAGE).await?;
        let Some(last) = keys.last() else { break };
        after.clone_from(last);
        objects += keys.len() as u64;
        missing += keys.iter().filter(|key| !root.join(key).is_file()).count() as u64;
    }
    let root = root.to_owned();
    let files = tokio::task::spawn_blocking(move || count_files(root)).await;
    Ok(Found {
        receipts: trial.count_receipts().await?,
        attachments: trial.count_attachments().await?,
        objects,
        missing,
        files: files.map_err(|lost| {
            Complaint::failed(format!("counting files was cut short: {lost}"), Advice::AGAIN)
        })??,
        pending: store.outbox.summary(None).await?.pending,
        job: store.background_jobs.get(job).await?,
    })
}

/// The number of files in the folder and below.
fn count_files(root: PathBuf) -> Result<u64, Complaint> {
    let (mut files, mut folders) = (0, vec![root]);
    while let Some(folder) = folders.pop() {
        let failed = |error| {
            let text = format!("cannot look into {}: {error}", folder.display());
            Complaint::failed(text, Advice::OTHER_TEMPORARY)
        };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
            }
        }
    }
    Ok(files)
}

/// The expected counts beside the found ones.
pub(super) fn facts(seeded: &Seeded, arrived: Arrived, found: &Found) -> Vec<Fact> {
    let mut facts = receipts(seeded, arrived, found);
    facts.extend(Group::ALL.map(|group| {
        let before = seeded.attachments.get(&group).copied().unwrap_or_default();
        Fact {
            what: format!("attachments: {}", group.in_words()),
            before: Some(before),
            expected: surviving(group, before, arrived),
            found: found.attachments.get(group.label()).copied().unwrap_or_default(),
        }
    }));
    facts.extend(objects(seeded, arrived, found));
    facts
}

fn receipts(seeded: &Seeded, arrived: Arrived, found: &Found) -> Vec<Fact> {
    let known = [REQUESTED, ARRIVED, NEIGHBOURS];
    let of = |label: &str| found.receipts.get(label).cloned().unwrap_or_default();
    let [requested, late, neighbours] = known.map(of);
    let before = |label| seeded.receipts.get(label).copied().unwrap_or_default();
    let (all, others) = (before(REQUESTED), before(NEIGHBOURS));
    let come = arrived.own + arrived.in_time;
    let progress = found.job.as_ref().map(|job| job.progress).unwrap_or_default();
    let completed = found.job.as_ref().is_some_and(|job| job.status == Status::Completed);
    let fact = |what: &str, before, expected, found| Fact { what: what.to_owned(), before, expected, found };
    vec![
        fact("receipts of the request: deleted", Some(0), all, requested.deleted),
        fact("receipts of the request: live", Some(all), 0, requested.live),
        fact("receipts that arrived meanwhile: live", Some(0), come, late.live),
        fact("receipts that arrived meanwhile: deleted", Some(0), 0, late.deleted),
        fact("receipts of another tenant: live", Some(others), others, neighbours.live),
        fact("receipts of another tenant: deleted", Some(0), 0, neighbours.deleted),
        fact(
            "attachments that those two point to",
            Some(seeded.pointed),
            seeded.pointed + come,
            late.pointed + neighbours.pointed,
        ),
        fact("background job: completed", None, 1, completed.into()),
        fact("background job: succeeded", None, all, progress.succeeded.unsigned_abs()),
        fact("background job: failed", None, 0, progress.failed.unsigned_abs()),
    ]
}

fn objects(seeded: &Seeded, arrived: Arrived, found: &Found) -> [Fact; 4] {
    let before = |group| seeded.attachments.get(group).copied().unwrap_or_default();
    let survivors: u64 = Group::ALL
        .iter()
        .map(|group| {
            let rows = surviving(*group, before(group), arrived);
            if *group == Group::SameObject { rows / 2 } else { rows }
        })
        .sum();
    let fact = |what: &str, before, expected, found| Fact { what: what.to_owned(), before, expected, found };
    [
        fact("files", Some(seeded.files), survivors, found.files),
        fact("files missing", Some(0), 0, found.missing),
        fact(
            "files that nothing points to",
            Some(0),
            0,
            (found.files + found.missing).saturating_sub(found.objects),
        ),
        fact("objects still to be deleted", Some(0), 0, found.pending),
    ]
}

/// How many rows of a group must be left after the deletion.
fn surviving(group: Group, before: u64, arrived: Arrived) -> u64 {
    match group {
        Group::Plain => 0,
        Group::Awaited => arrived.in_time,
        Group::Arrived => arrived.own,
        _ => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::background::{Cursor, Note};
    use crate::job::{BusinessId, Progress};

    fn seeded() -> Seeded {
        let groups = [(Group::Plain, 10), (Group::Awaited, 2), (Group::SameObject, 4), (Group::Foreign, 3)];
        Seeded {
            receipts: [(REQUESTED, 8), (NEIGHBOURS, 3)].into(),
            attachments: groups.into(),
            pointed: 5,
            files: 17,
        }
    }

    const ARRIVALS: Arrived = Arrived { own: 5, in_time: 1 };

    fn perfect() -> Found {
        let count = |live, deleted, pointed| ReceiptCount { live, deleted, pointed };
        let receipts = [
            (REQUESTED.to_owned(), count(0, 8, 0)),
            (ARRIVED.to_owned(), count(6, 0, 6)),
            (NEIGHBOURS.to_owned(), count(3, 0, 5)),
        ];
        let attachments = [("awaited", 1), ("same_object", 4), ("foreign", 3), ("arrived", 5)];
        Found {
            receipts: receipts.into(),
            attachments: attachments.map(|(label, count)| (label.to_owned(), count)).into(),
            objects: 11,
            missing: 0,
            files: 11,
            pending: 0,
            job: Some(job(Status::Completed)),
        }
    }

    fn job(status: Status) -> BackgroundJob {
        BackgroundJob {
            id: BackgroundJobId(1),
            business_id: BusinessId(789),
            requested_by_user_id: None,
            job_type: "delete_receipts_all".into(),
            status,
            progress: Progress { total: 8, processed: 8, succeeded: 8, failed: 0 },
            last_error: None,
            cursor: Cursor::default(),
            created_at: None,
            updated_at: None,
            started_at: None,
            finished_at: None,
            heartbeat_at: None,
            note: Note::default(),
        }
    }

    fn wrong(found: &Found) -> Vec<String> {
        let facts = facts(&seeded(), ARRIVALS, found);
        facts.into_iter().filter(|fact| !fact.right()).map(|fact| fact.what).collect()
    }

    #[test]
    fn what_is_as_it_should_be_is_right() {
        assert_eq!(wrong(&perfect()), Vec::<String>::new());
    }

    #[test]
    fn every_sabotage_is_seen() {
        type Sabotage = fn(&mut Found);
        let table: [(&str, Sabotage); 10] = [
            ("request: live", |found| found.receipts.get_mut(REQUESTED).unwrap().live = 1),
            ("request: deleted", |found| found.receipts.get_mut(REQUESTED).unwrap().deleted = 7),
            ("meanwhile: deleted", |found| found.receipts.get_mut(ARRIVED).unwrap().deleted = 1),
            ("another tenant: live", |found| found.receipts.get_mut(NEIGHBOURS).unwrap().live = 2),
            ("those two point to", |found| found.receipts.get_mut(NEIGHBOURS).unwrap().pointed = 4),
            ("invoices", |found| *found.attachments.get_mut("foreign").unwrap() = 2),
            ("only these receipts", |found| {
                found.attachments.insert("plain".to_owned(), 1);
            }),
            ("files missing", |found| found.missing = 1),
            ("still to be deleted", |found| found.pending = 1),
            ("background job: completed", |found| found.job = Some(job(Status::Paused))),
        ];
        for (words, sabotage) in table {
            let mut found = perfect();
            sabotage(&mut found);
            let wrong = wrong(&found);
            assert!(wrong.iter().any(|what| what.contains(words)), "{words}: {wrong:?}");
        }
    }

    #[test]
    fn a_file_too_many_points_to_nothing_and_one_too_few_is_missing() {
        let mut found = perfect();
        found.files += 1;
        assert_eq!(wrong(&found), ["files", "files that nothing points to"]);
        let mut found = perfect();
        (found.files, found.missing) = (10, 1);
        assert_eq!(wrong(&found), ["files", "files missing"]);
    }

    #[tokio::test]
    async fn a_tampered_folder_and_table_are_seen() {
        use super::super::plan::Plan;
        use super::super::seed::Seeder;
        use crate::store::{Schema, open_sqlite, open_sqlite_trial};
        let folder = tempfile::tempdir().unwrap();
        let (file, root) = (folder.path().join("t.db"), folder.path().join("files"));
        let store = open_sqlite(&file, Schema::Migrate).await.unwrap();
        let trial = open_sqlite_trial(&file).await.unwrap();
        let seeder = Seeder { plan: Plan { receipts: 40 }, trial: &*trial, root: root.clone() };
        let seeded = seeder.seed(|_| {}).await.unwrap();
        let before = look(&*trial, &store, &root, BackgroundJobId(1)).await.unwrap();
        assert_eq!((before.files, before.missing, before.objects), (seeded.files, 0, seeded.files));
        // The data before the deletion must not pass as a success.
        let wrong = facts(&seeded, Arrived::default(), &before).into_iter().filter(|fact| !fact.right());
        assert!(wrong.count() >= 6);
        let key = trial.keys("", 1).await.unwrap().remove(0);
        std::fs::remove_file(root.join(&key)).unwrap();
        std::fs::write(root.join("stray"), "x").unwrap();
        let after = look(&*trial, &store, &root, BackgroundJobId(1)).await.unwrap();
        let stray = facts(&seeded, Arrived::default(), &after);
        let found = |what: &str| stray.iter().find(|fact| fact.what == what).unwrap().found;
        assert_eq!((found("files missing"), found("files that nothing points to")), (1, 1));
    }
}
