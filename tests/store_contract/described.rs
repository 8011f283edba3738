//! Described deletions: what goes, what stays, and what they refuse to do.

use std::sync::Arc;
use std::time::Duration;

use tikkun::config::{Settings, Sources};
use tikkun::job::background::Status;
use tikkun::job::{DescribedDeletion, Progress};
use tikkun::store::{
    BeginDescribed, BegunDescribed, DescribedBatch, DescribedOrder, DescribedOutcome, DescribedRow,
    EndDescribed, ExaminedDeletion, FittedDeletion, Pass,
};

use super::rig::{Rig, target};

/// Recordings with transcripts, and these with words.
const RECORDINGS: &str = "
    create table recordings (
        id integer primary key, business_id bigint not null, storage_key text, kind text, created_at timestamp);
    create index recordings_tenant on recordings (business_id, id);
    create index recordings_key on recordings (storage_key);
    create table transcripts (
        id integer primary key, recording_id integer not null references recordings (id), audio_key text);
    create index transcripts_recording on transcripts (recording_id);
    create index transcripts_key on transcripts (audio_key);
    create table words (transcript_id integer references transcripts (id) on delete cascade, word text);
    create index words_transcript on words (transcript_id);";

const DESCRIBED: &str = r#"
    [[deletion]]
    name = "recordings"
    table = "recordings"
    tenant = "business_id"
    id = "id"
    also = [{ table = "transcripts", by = "recording_id", objects = [{ key = "audio_key" }], also = [
              { table = "words", by = "transcript_id" }] }]
    objects = [{ key = "storage_key" }]
"#;

fn is_postgres(rig: &Rig) -> bool {
    rig.path.as_os_str().is_empty()
}

fn described(text: &str) -> Vec<DescribedDeletion> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::none() };
    Settings::load(&sources).unwrap_or_else(|error| panic!("{error}\n{text}")).settings.deletions
}

async fn examined(rig: &Rig, text: &str) -> Vec<ExaminedDeletion> {
    rig.store.described.examine(&described(text)).await.unwrap_or_else(|fault| panic!("{}", fault.chain()))
}

async fn fitted(rig: &Rig, text: &str) -> Arc<FittedDeletion> {
    let [one] = examined(rig, text).await.try_into().unwrap();
    one.fitted.unwrap_or_else(|| panic!("{:#?}", one.errors))
}

fn beginning(deletion: &Arc<FittedDeletion>, tenant: Option<&str>, queue_job: &str) -> BeginDescribed {
    BeginDescribed {
        deletion: Arc::clone(deletion),
        tenant: tenant.map(str::to_owned),
        queue_job: queue_job.into(),
        entry_at: None,
        stale_after: Duration::from_secs(120),
    }
}

async fn begun(rig: &Rig, deletion: &Arc<FittedDeletion>, tenant: Option<&str>) -> DescribedRow {
    match rig.store.described.begin(&beginning(deletion, tenant, "q1")).await.unwrap() {
        BegunDescribed::Started(row) => *row,
        other => panic!("{other:?}"),
    }
}

/// What a whole deletion did.
#[derive(Default)]
struct Ran {
    batches: Vec<DescribedBatch>,
    progress: Progress,
    set_aside: Vec<(String, String)>,
    kept_for: Vec<(String, u32)>,
}

fn order(deletion: &Arc<FittedDeletion>, row: &DescribedRow, limit: u32, pass: Pass) -> DescribedOrder {
    let (deletion, id, attempt) = (Arc::clone(deletion), row.id, row.attempt);
    DescribedOrder { deletion, id, attempt, limit, pass, swept_to: None, target: target() }
}

async fn delete(rig: &Rig, order: &DescribedOrder) -> DescribedOutcome {
    rig.store.described.delete(order).await.unwrap_or_else(|fault| panic!("{}", fault.chain()))
}

/// Runs both passes to their ends.
async fn ran(rig: &Rig, deletion: &Arc<FittedDeletion>, row: &DescribedRow, limit: u32) -> Ran {
    let mut ran = Ran::default();
    for pass in [Pass::Forward, Pass::Sweep] {
        loop {
            match delete(rig, &order(deletion, row, limit, pass)).await {
                DescribedOutcome::Deleted(batch) => {
                    assert!(ran.batches.len() < 200, "it makes no progress: {batch:?}");
                    ran.progress = batch.progress;
                    ran.set_aside.extend(batch.set_aside.clone());
                    ran.kept_for.extend(batch.kept_for.clone());
                    ran.batches.push(*batch);
                }
                DescribedOutcome::Empty => break,
                other => panic!("{other:?}"),
            }
        }
    }
    ran
}

async fn deleted(rig: &Rig, text: &str, tenant: Option<&str>) -> Ran {
    let deletion = fitted(rig, text).await;
    let row = begun(rig, &deletion, tenant).await;
    ran(rig, &deletion, &row, 2).await
}

async fn condemned(rig: &Rig) -> Vec<String> {
    let rows = rig.store.outbox.list(100_000).await.unwrap();
    let mut keys: Vec<_> = rows.into_iter().map(|row| row.key).collect();
    keys.sort();
    keys
}

async fn recordings(rig: &Rig) {
    rig.run(RECORDINGS).await;
    rig.run(
        "insert into recordings (id, business_id, storage_key, created_at) values
             (1, 7, 'r1', '2026-01-01 10:00:00'), (2, 7, 'r2', '2026-01-01 10:00:00'),
             (3, 7, 'shared', '2026-01-01 10:00:00'), (4, 7, '', null), (5, 7, null, null),
             (6, 8, 'shared', null), (7, 8, 'r7', null);
         insert into transcripts (id, recording_id, audio_key) values
             (10, 1, 'a10'), (11, 1, 'a11'), (12, 2, 'r7'), (13, 6, 'a13');
         insert into words (transcript_id, word) values (10, 'one'), (10, 'two'), (13, 'three')",
    )
    .await;
}

pub async fn rows_go_with_their_children_and_objects_and_shared_objects_stay(rig: &Rig) {
    recordings(rig).await;
    let ran = deleted(rig, DESCRIBED, Some("7")).await;
    assert_eq!(ran.progress, Progress { total: 5, processed: 5, succeeded: 5, failed: 0 });
    assert_eq!(ran.batches.iter().map(|batch| batch.others).sum::<u64>(), 5);
    assert_eq!(rig.ids("select id from recordings order by id").await, [6, 7]);
    assert_eq!(rig.ids("select id from transcripts order by id").await, [13]);
    assert_eq!(rig.number("select count(*) from words").await, 1);
    assert_eq!(condemned(rig).await, ["a10", "a11", "r1", "r2"]);
    let of = "select count(*) from tikkun_cleanup_outbox where deletion_id = 1 and business_id = 7";
    assert_eq!(rig.number(of).await, 4);
}

pub async fn key_that_only_deleted_rows_share_goes_once(rig: &Rig) {
    recordings(rig).await;
    rig.run("update recordings set storage_key = 'same' where business_id = 7").await;
    let ran = deleted(rig, DESCRIBED, Some("7")).await;
    assert_eq!(ran.progress.succeeded, 5);
    assert_eq!(condemned(rig).await, ["a10", "a11", "same"]);
}

pub async fn object_that_receipts_have_stays(rig: &Rig) {
    recordings(rig).await;
    rig.run("insert into attachments (id, business_id, purpose, storage_path) values (1, 9, 'x', 'r1')")
        .await;
    deleted(rig, DESCRIBED, Some("7")).await;
    assert_eq!(condemned(rig).await, ["a10", "a11", "r2"]);
}

/// Ids of this type, whose order is not that of their creation.
async fn of_other_ids(rig: &Rig, sql_type: &str, ids: [&str; 5]) -> Ran {
    let [first, second, third, newer, undated] = ids;
    rig.run(&format!(
        "create table notes (id {sql_type} primary key, business_id text not null, made timestamp);
         create index notes_tenant on notes (business_id, id);
         insert into notes (id, business_id, made) values
             ('{first}', 'a', '2026-01-01 10:00:00'), ('{second}', 'a', '2026-01-02 10:00:00'),
             ('{third}', 'a', '2026-01-03 10:00:00'), ('{newer}', 'a', '2999-01-01 00:00:00'), ('{undated}', 'a', null)"
    ))
    .await;
    let text = r#"
        [[deletion]]
        name = "notes"
        table = "notes"
        tenant = "business_id"
        id = "id"
        existed = "made"
    "#;
    let deletion = fitted(rig, text).await;
    let row = begun(rig, &deletion, Some("a")).await;
    assert_eq!(row.bound, None, "ids tell nothing of time");
    let counted = rig.store.described.count(&deletion, &row).await.unwrap();
    assert_eq!((counted.covered, counted.kept), (3, 2));
    let ran = ran(rig, &deletion, &row, 1).await;
    assert_eq!(rig.number("select count(*) from notes").await, 2, "newer and undated ones are kept");
    assert_eq!(ran.progress.succeeded, 3);
    ran
}

pub async fn uuid_ids_are_bounded_by_the_time_of_creation(rig: &Rig) {
    let sql_type = if is_postgres(rig) { "uuid" } else { "char(36)" };
    let uuid = |digit: &str| format!("{}-0000-4000-8000-000000000000", digit.repeat(8));
    let ids = ["a", "1", "f", "0", "2"].map(uuid);
    let ran = of_other_ids(rig, sql_type, ids.each_ref().map(String::as_str)).await;
    let order: Vec<_> = ran.batches.iter().map(|batch| batch.first_id.as_str()).collect();
    assert_eq!(order, [ids[1].as_str(), ids[0].as_str(), ids[2].as_str()]);
}

pub async fn text_ids_are_bounded_by_the_time_of_creation(rig: &Rig) {
    let ran = of_other_ids(rig, "text", ["10", "9''; --", "a(b", "0", "z"]).await;
    assert_eq!(ran.batches.len(), 3);
}

pub async fn whole_numbers_are_in_the_order_of_numbers(rig: &Rig) {
    rig.run(RECORDINGS).await;
    rig.run("insert into recordings (id, business_id) values (2, 7), (10, 7), (100, 7), (-5, 7)").await;
    let ran = deleted(rig, DESCRIBED, Some("7")).await;
    let order: Vec<_> =
        ran.batches.iter().map(|batch| (batch.first_id.as_str(), batch.last_id.as_str())).collect();
    assert_eq!(order, [("-5", "2"), ("10", "100")]);
}

pub async fn rows_above_the_bound_of_the_request_stay(rig: &Rig) {
    recordings(rig).await;
    let deletion = fitted(rig, DESCRIBED).await;
    let row = begun(rig, &deletion, Some("7")).await;
    assert_eq!(row.bound.as_deref(), Some("5"));
    rig.run("insert into recordings (id, business_id) values (8, 7)").await;
    ran(rig, &deletion, &row, 10).await;
    assert_eq!(rig.ids("select id from recordings order by id").await, [6, 7, 8]);
}

pub async fn row_that_commits_late_under_a_low_id_is_found_by_the_sweep(rig: &Rig) {
    recordings(rig).await;
    let deletion = fitted(rig, DESCRIBED).await;
    let row = begun(rig, &deletion, Some("7")).await;
    delete(rig, &order(&deletion, &row, 3, Pass::Forward)).await;
    rig.run("insert into recordings (id, business_id) values (0, 7)").await;
    let ran = ran(rig, &deletion, &row, 10).await;
    assert_eq!(ran.progress.succeeded, 6);
    assert_eq!(rig.ids("select id from recordings order by id").await, [6, 7]);
    let cursor = rig.store.described.beat(row.id, row.attempt).await.unwrap().unwrap().cursor;
    assert_eq!(cursor.as_deref(), Some("5"), "the sweep leaves the cursor where it is");
}

pub async fn condition_is_that_of_the_moment_of_the_request(rig: &Rig) {
    recordings(rig).await;
    rig.run("update recordings set created_at = '2999-01-01 00:00:00', kind = 'x' where id = 2").await;
    let only = "only = \"created_at < :requested_at and (kind is null or kind <> ':requested_at')\"";
    let text = DESCRIBED.replace("id = \"id\"", &format!("id = \"id\"\n{only}"));
    let ran = deleted(rig, &text, Some("7")).await;
    assert_eq!(ran.progress.succeeded, 2);
    assert_eq!(rig.ids("select id from recordings where business_id = 7 order by id").await, [2, 4, 5]);
}

pub async fn table_without_a_tenant_is_deleted_as_a_whole(rig: &Rig) {
    recordings(rig).await;
    let text = DESCRIBED.replace("tenant = \"business_id\"", "");
    let deletion = fitted(rig, &text).await;
    assert!(deletion.takes_tenant(Some("7")).is_err());
    let row = begun(rig, &deletion, None).await;
    assert_eq!(ran(rig, &deletion, &row, 3).await.progress.succeeded, 7);
    assert_eq!(condemned(rig).await, ["a10", "a11", "a13", "r1", "r2", "r7", "shared"]);
}

pub async fn tenant_must_be_a_value_of_its_column(rig: &Rig) {
    recordings(rig).await;
    let deletion = fitted(rig, DESCRIBED).await;
    assert_eq!(deletion.takes_tenant(Some("7")), Ok(()));
    for tenant in [None, Some(""), Some("7abc"), Some("07"), Some("7 or 1=1"), Some("7.0")] {
        let error = deletion.takes_tenant(tenant).unwrap_err();
        assert!(error.contains("expected a value of `business_id`"), "{error}");
    }
}

/// Clips that point to files.
const CLIPS: &str = "
    create table files (
        id integer primary key, business_id bigint, purpose text, storage_path text);
    create index files_path on files (storage_path);
    create table clips (
        id integer primary key, business_id bigint not null, file_id integer references files (id),
        preview_id integer references files (id), is_deleted boolean, deleted_at timestamp, changed_at timestamp);
    create index clips_tenant on clips (business_id, id);
    create index clips_file on clips (file_id);
    create index clips_preview on clips (preview_id);
    create table albums (id integer primary key, cover_id integer references files (id));
    create index albums_cover on albums (cover_id);
    insert into files (id, business_id, purpose, storage_path) values
        (1, 7, 'clip', 'f1'), (2, 7, 'clip', 'f2'), (3, 7, 'clip', 'f3'), (4, 7, 'contract', 'f4'),
        (5, 8, 'clip', 'f5'), (6, 7, 'clip', 'f6'), (7, 7, 'clip', null), (8, 7, 'clip', 'f6');
    insert into albums (id, cover_id) values (1, 3);
    insert into clips (id, business_id, file_id, preview_id) values
        (1, 7, 1, 2), (2, 7, 2, 3), (3, 7, 4, 5), (4, 7, 6, 7), (5, 8, 1, null), (6, 7, null, null)";

const POINTING: &str = r#"
    [[deletion]]
    name = "clips"
    table = "clips"
    tenant = "business_id"
    id = "id"
    objects = [{ table = "files", from = ["file_id", "preview_id"], key = "storage_path", tenant = "business_id", purpose = [
                 "clip"] }]
"#;

pub async fn rows_pointed_to_go_when_nothing_points_to_them_any_more(rig: &Rig) {
    rig.run(CLIPS).await;
    let ran = deleted(rig, POINTING, Some("7")).await;
    assert_eq!(rig.ids("select id from clips order by id").await, [5]);
    // 1: another tenant's clip; 3: an album; 4: another purpose; 5: of another tenant; 8: has the object of 6.
    assert_eq!(rig.ids("select id from files order by id").await, [1, 3, 4, 5, 8]);
    assert_eq!(condemned(rig).await, ["f2"]);
    assert_eq!(ran.kept_for, [("albums.cover_id".to_owned(), 1)]);
}

pub async fn marked_rows_stay_and_lose_what_they_point_to(rig: &Rig) {
    rig.run(CLIPS).await;
    let mark = "rows = { mark = \"is_deleted\", at = \"deleted_at\", touched = \"changed_at\" }";
    let text = POINTING.replace("id = \"id\"", &format!("id = \"id\"\n{mark}"));
    let ran = deleted(rig, &text, Some("7")).await;
    assert_eq!(ran.progress, Progress { total: 5, processed: 5, succeeded: 5, failed: 0 });
    let marked = "select id from clips where is_deleted and deleted_at is not null and changed_at = deleted_at order by id";
    assert_eq!(rig.ids(marked).await, [1, 2, 3, 4, 6]);
    assert_eq!(rig.ids("select id from files order by id").await, [1, 3, 4, 5, 8]);
    assert_eq!(
        rig.ids("select id from clips where file_id is null and preview_id is null order by id").await,
        [4, 6]
    );
    // The other tenant's clip goes next: what only marked rows point to is needed by nobody.
    let deletion = fitted(rig, &text).await;
    rig.run("update files set business_id = 8 where id = 1").await;
    let BegunDescribed::Started(row) =
        rig.store.described.begin(&beginning(&deletion, Some("8"), "q2")).await.unwrap()
    else {
        panic!()
    };
    super::described::ran(rig, &deletion, &row, 2).await;
    assert_eq!(condemned(rig).await, ["f1", "f2"]);
}

pub async fn row_that_is_refused_is_set_aside_with_all_that_is_its_own(rig: &Rig) {
    recordings(rig).await;
    rig.raw.refuse("delete", "recordings", "old.id = 1").await;
    let deletion = fitted(rig, DESCRIBED).await;
    let row = begun(rig, &deletion, Some("7")).await;
    let ran = ran(rig, &deletion, &row, 5).await;
    assert_eq!(ran.progress, Progress { total: 5, processed: 5, succeeded: 4, failed: 1 });
    assert_eq!(ran.set_aside, [("1".to_owned(), "this row is sealed".to_owned())]);
    assert_eq!(rig.ids("select id from transcripts order by id").await, [10, 11, 13]);
    assert_eq!(rig.number("select count(*) from words").await, 3);
    assert_eq!(condemned(rig).await, ["r2"]);
    let first = rig.store.described.first_set_aside(row.id).await.unwrap();
    assert_eq!(first, Some(("1".to_owned(), "this row is sealed".to_owned())));
}

pub async fn row_that_is_kept_without_an_error_is_set_aside(rig: &Rig) {
    recordings(rig).await;
    rig.raw.ignore("delete", "recordings", "old.id = 2").await;
    rig.raw.ignore("delete", "transcripts", "old.id = 10").await;
    let ran = deleted(rig, DESCRIBED, Some("7")).await;
    let rows: Vec<_> = ran.set_aside.iter().map(|(row, _)| row.as_str()).collect();
    assert_eq!(rows, ["1", "2"]);
    assert!(ran.set_aside[0].1.contains("left it as it was"), "{:?}", ran.set_aside);
    assert_eq!(rig.ids("select id from recordings order by id").await, [1, 2, 6, 7]);
    assert_eq!(rig.ids("select id from transcripts order by id").await, [10, 11, 12, 13]);
}

pub async fn row_that_something_undescribed_refers_to_is_set_aside(rig: &Rig) {
    recordings(rig).await;
    rig.run(
        "create table plays (id integer primary key, recording_id integer references recordings (id));
         insert into plays values (1, 3)",
    )
    .await;
    let [one] = examined(rig, DESCRIBED).await.try_into().unwrap();
    assert!(
        one.findings.iter().any(|text| text.contains("an index on `plays` (recording_id) is missing")),
        "{one:?}"
    );
    let ran = deleted(rig, DESCRIBED, Some("7")).await;
    assert_eq!(ran.set_aside.len(), 1, "{:?}", ran.set_aside);
    assert_eq!(rig.ids("select id from recordings order by id").await, [3, 6, 7]);
}

pub async fn row_with_very_many_children_goes_in_portions(rig: &Rig) {
    rig.run(RECORDINGS).await;
    rig.run("insert into recordings (id, business_id, storage_key) values (1, 7, 'r1'), (2, 7, 'r2')").await;
    rig.run(
        "with recursive n (i) as (select 1 union all select i + 1 from n where i < 15000)
         insert into transcripts (id, recording_id, audio_key) select i, 1, 'a' || i from n",
    )
    .await;
    rig.run("insert into words (transcript_id, word) select id, 'w' from transcripts").await;
    let deletion = fitted(rig, DESCRIBED).await;
    let row = begun(rig, &deletion, Some("7")).await;
    let ran = ran(rig, &deletion, &row, 50).await;
    let parts: Vec<_> = ran.batches.iter().map(|batch| (batch.in_part, batch.deleted)).collect();
    assert_eq!(parts.last(), Some(&(false, 2)), "{parts:?}");
    assert!(parts.len() > 2 && parts[..parts.len() - 1].iter().all(|part| *part == (true, 0)), "{parts:?}");
    assert_eq!(ran.batches.iter().map(|batch| batch.others).sum::<u64>(), 30_000);
    assert_eq!(ran.progress.succeeded, 2);
    assert_eq!(condemned(rig).await.len(), 15_002);
}

pub async fn older_attempt_and_a_row_that_a_person_cancelled_commit_nothing(rig: &Rig) {
    recordings(rig).await;
    let deletion = fitted(rig, DESCRIBED).await;
    let first = begun(rig, &deletion, Some("7")).await;
    let second = begun(rig, &deletion, Some("7")).await;
    assert_eq!((first.id, first.attempt, second.attempt), (second.id, 1, 2), "the same queue job goes on");
    let outcome = delete(rig, &order(&deletion, &first, 9, Pass::Forward)).await;
    assert_eq!(outcome, DescribedOutcome::NotOurs(Some(Status::Running)));
    assert!(!rig.store.described.end(first.id, 1, &EndDescribed::Continuation).await.unwrap());
    rig.run("update tikkun_deletions set status = 'cancelled'").await;
    let outcome = delete(rig, &order(&deletion, &second, 9, Pass::Forward)).await;
    assert_eq!(outcome, DescribedOutcome::NotOurs(Some(Status::Cancelled)));
    assert_eq!(rig.number("select count(*) from recordings").await, 7);
    assert!(condemned(rig).await.is_empty());
}

pub async fn request_is_carried_by_one_queue_job_at_a_time(rig: &Rig) {
    recordings(rig).await;
    let (deletion, described) = (fitted(rig, DESCRIBED).await, &rig.store.described);
    let row = begun(rig, &deletion, Some("7")).await;
    let other = beginning(&deletion, Some("7"), "q2");
    assert_eq!(described.begin(&other).await.unwrap(), BegunDescribed::Carried { by: "q1".into() });
    let elsewhere = beginning(&deletion, Some("8"), "q3");
    assert!(
        matches!(described.begin(&elsewhere).await.unwrap(), BegunDescribed::Started(_)),
        "another tenant"
    );
    rig.run("update tikkun_deletions set heartbeat_at = '2020-01-01 00:00:00'").await;
    let BegunDescribed::Started(taken) = described.begin(&other).await.unwrap() else { panic!() };
    assert_eq!((taken.id, taken.attempt), (row.id, 2), "a silent one is taken over");
    assert!(described.end(taken.id, 2, &EndDescribed::Completed { but: None }).await.unwrap());
    let again = described.begin(&other).await.unwrap();
    assert!(matches!(&again, BegunDescribed::AtRest(row) if row.status == Status::Completed), "{again:?}");
    let BegunDescribed::Started(new) = described.begin(&beginning(&deletion, Some("7"), "q4")).await.unwrap()
    else {
        panic!()
    };
    assert!(new.id > row.id, "a new request");
    described.fail(&"q4".into(), "no more").await.unwrap();
    let failed = described.beat(new.id, 1).await.unwrap().unwrap();
    assert_eq!((failed.status, failed.last_error.as_deref()), (Status::Failed, Some("no more")));
}

pub async fn attempt_goes_on_from_the_cursor(rig: &Rig) {
    recordings(rig).await;
    let deletion = fitted(rig, DESCRIBED).await;
    let first = begun(rig, &deletion, Some("7")).await;
    delete(rig, &order(&deletion, &first, 2, Pass::Forward)).await;
    assert!(rig.store.described.end(first.id, 1, &EndDescribed::Continuation).await.unwrap());
    let second = begun(rig, &deletion, Some("7")).await;
    assert_eq!((second.id, second.attempt, second.cursor.as_deref()), (first.id, 2, Some("2")));
    assert_eq!((second.progress.succeeded, second.requested_at), (2, first.requested_at));
    let ran = ran(rig, &deletion, &second, 9).await;
    assert_eq!(ran.progress, Progress { total: 5, processed: 5, succeeded: 5, failed: 0 });
}

pub async fn foreign_key_that_is_made_between_batches_stops_them(rig: &Rig) {
    recordings(rig).await;
    let deletion = fitted(rig, DESCRIBED).await;
    let row = begun(rig, &deletion, Some("7")).await;
    rig.run("create table plays (id integer primary key, recording_id integer references recordings (id) on delete cascade)")
        .await;
    let outcome = delete(rig, &order(&deletion, &row, 9, Pass::Forward)).await;
    assert_eq!(outcome, DescribedOutcome::Outgrown);
    let [one] = examined(rig, DESCRIBED).await.try_into().unwrap();
    assert!(
        one.fitted.is_none() && one.errors[0].contains("`plays.recording_id` refers to `recordings`"),
        "{one:?}"
    );
}

/// A description of a table with everything that one may have.
const PARTS: [(&str, &str); 12] = [
    ("table", "recordings"),
    ("tenant", "business_id"),
    ("id", "id"),
    ("only", "kind is null"),
    ("existed", "created_at"),
    ("child", "transcripts"),
    ("by", "recording_id"),
    ("audio", "audio_key"),
    ("pointed", "files"),
    ("from", "file_id"),
    ("path", "storage_path"),
    ("files_tenant", "business_id"),
];

/// The description with some parts changed.
fn with(changed: &[(&str, &str)]) -> String {
    let part = |name: &str| {
        let of = |parts: &[(&str, &str)]| {
            parts.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        toml::Value::from(of(changed).or_else(|| of(&PARTS)).unwrap()).to_string()
    };
    format!(
        "[[deletion]]\nname = \"recordings\"\ntable = {}\ntenant = {}\nid = {}\nonly = {}\nexisted = {}\n\
         also = [{{ table = {}, by = {}, objects = [{{ key = {} }}] }}]\n\
         objects = [{{ table = {}, from = [{}], key = {}, tenant = {} }}]\n",
        part("table"),
        part("tenant"),
        part("id"),
        part("only"),
        part("existed"),
        part("child"),
        part("by"),
        part("audio"),
        part("pointed"),
        part("from"),
        part("path"),
        part("files_tenant")
    )
}

async fn with_files(rig: &Rig) {
    recordings(rig).await;
    rig.run(
        "drop table words;
         create table files (id integer primary key, business_id bigint, storage_path text);
         create index files_path on files (storage_path);
         alter table recordings add column file_id integer references files (id);
         create index recordings_file on recordings (file_id)",
    )
    .await;
}

async fn errors(rig: &Rig, text: &str) -> Vec<String> {
    let [one] = examined(rig, text).await.try_into().unwrap();
    assert_eq!(one.fitted.is_none(), !one.errors.is_empty(), "{one:?}");
    one.errors
}

pub async fn sql_in_any_field_is_refused_and_changes_nothing(rig: &Rig) {
    with_files(rig).await;
    assert_eq!(errors(rig, &with(&[])).await, Vec::<String>::new());
    let tables = "select count(*) from recordings";
    for (part, _) in PARTS {
        for evil in [
            "id\"; drop table recordings; --",
            "id'; drop table recordings; --",
            "true) or (true",
            "(select 1); drop table recordings",
            "id /* */",
            "$1",
            "no_such_thing",
            "count(*)",
            "id) from recordings; drop table recordings; --",
        ] {
            let found = errors(rig, &with(&[(part, evil)])).await;
            assert!(!found.is_empty(), "{part}: {evil}");
            assert!(found.iter().all(|error| error.starts_with("`deletion[0].")), "{found:?}");
        }
        assert_eq!(rig.number(tables).await, 7, "{part}");
    }
    assert_eq!(rig.number("select count(*) from tikkun_deletions").await, 0);
}

/// Tables and a view that no deletion can have.
const UNFIT: &str = "
    create view recordings_view as select * from recordings;
    create table pairs (a integer, b integer, made timestamp, primary key (a, b));
    create table trees (id integer primary key, parent_id integer references trees (id));
    create table heads (id integer primary key, best_id integer);
    create table tails (id integer primary key, head_id integer references heads (id), body text);
    create table loose (recording_id integer, file_id integer);
    create table odd (id real primary key)";

pub async fn bad_descriptions_are_named_with_their_place(rig: &Rig) {
    with_files(rig).await;
    rig.run(UNFIT).await;
    let simple = |table: &str, id: &str, rest: &str| {
        format!("[[deletion]]\nname = \"x\"\ntable = \"{table}\"\nid = \"{id}\"\n{rest}")
    };
    let cases = [
        (with(&[("table", "recording")]), "`deletion[0].table`: there is no table `recording`"),
        (with(&[("table", "recordings_view")]), "`deletion[0].table`: `recordings_view` is a view"),
        (
            with(&[("table", "tikkun_deletions")]),
            "`deletion[0].table`: `tikkun_deletions` is a table of Tikkun's own",
        ),
        (
            with(&[("tenant", "busines_id")]),
            "`deletion[0].tenant`: there is no column `busines_id` in `recordings`; did you",
        ),
        (with(&[("tenant", "created_at")]), "`deletion[0].tenant`: `recordings.created_at` is of"),
        (with(&[("id", "kind")]), "`deletion[0].id`: `recordings.kind` does not identify a row"),
        (simple("pairs", "a", ""), "`deletion[0].id`: `pairs.a` does not identify a row"),
        (simple("odd", "id", ""), "`deletion[0].id`: `odd.id` is of"),
        (with(&[("only", "no_such_column = 1")]), "`deletion[0].only`: "),
        (with(&[("only", "kind = ")]), "`deletion[0].only`: "),
        (with(&[("only", "true; delete from recordings")]), "`deletion[0].only`: has `;` at character 5"),
        (with(&[("existed", "made")]), "`deletion[0].existed`: there is no column `made`"),
        (with(&[("child", "transcript")]), "`deletion[0].also[0].table`: there is no table `transcript`"),
        (with(&[("by", "recordings_id")]), "`deletion[0].also[0].by`: there is no column `recordings_id`"),
        (
            with(&[("child", "loose"), ("audio", "null")]),
            "`deletion[0].also[0].by`: an index on `loose` (recording_id)",
        ),
        (with(&[("audio", ":requested_at")]), "`deletion[0].also[0].objects[0].key`: has `:requested_at`"),
        (with(&[("from", "files_id")]), "`deletion[0].objects[0].from`: there is no column `files_id`"),
        (
            with(&[("pointed", "pairs")]),
            "`deletion[0].objects[0].table`: `pairs` needs a primary key of one column",
        ),
        (with(&[("files_tenant", "tenant_id")]), "`deletion[0].objects[0].tenant`: there is no column"),
        (simple("trees", "id", ""), "`deletion[0].table`: `trees.parent_id` refers to rows of its own table"),
        (
            simple("recordings", "id", "rows = { mark = \"gone\" }"),
            "`deletion[0].rows.mark`: there is no column `gone`",
        ),
        (
            simple(
                "recordings",
                "id",
                "objects = [{ table = \"files\", from = [\"file_id\"], key = \"storage_path\", tenant = \"business_id\" }]",
            ),
            "`deletion[0].objects[0].tenant`: the deletion itself has no `tenant`",
        ),
    ];
    for (text, expected) in cases {
        let found = errors(rig, &text).await;
        assert!(found.iter().any(|error| error.starts_with(expected)), "{expected}\n{found:#?}\n{text}");
    }
}

pub async fn missing_index_is_told_with_the_statement_that_makes_it(rig: &Rig) {
    recordings(rig).await;
    rig.run("drop index transcripts_recording").await;
    let found = errors(rig, DESCRIBED).await;
    let [error] = found.as_slice() else { panic!("{found:?}") };
    assert!(
        error.starts_with("`deletion[0].also[0].by`: an index on `transcripts` (recording_id) is missing"),
        "{error}"
    );
    let statement = error.split_once("make it with: ").unwrap().1.replace(" concurrently", "");
    rig.run(&statement).await;
    assert_eq!(errors(rig, DESCRIBED).await, Vec::<String>::new());
}

pub async fn cycles_and_undescribed_cascades_are_refused(rig: &Rig) {
    rig.run(
        "create table heads (id integer primary key, best_id integer);
         create table tails (id integer primary key, head_id integer references heads (id));
         create index tails_head on tails (head_id)",
    )
    .await;
    let text = "[[deletion]]\nname = \"heads\"\ntable = \"heads\"\nid = \"id\"\nalso = [{ table = \"tails\", by = \"head_id\" }]";
    assert_eq!(errors(rig, text).await, Vec::<String>::new());
    let refer = if is_postgres(rig) {
        "alter table heads add foreign key (best_id) references tails (id)"
    } else {
        "drop table heads; create table heads (id integer primary key, best_id integer references tails (id))"
    };
    rig.run(refer).await;
    let found = errors(rig, text).await;
    assert!(
        found.iter().any(|error| error.contains("are a cycle: `heads.best_id` refers to `tails`")),
        "{found:?}"
    );
    rig.run(
        "create table fins (id integer primary key, tail_id integer references tails (id) on delete cascade)",
    )
    .await;
    let found = errors(rig, text).await;
    let cascade = "`deletion[0].also[0].table`: `fins.tail_id` refers to `tails` with `on delete cascade`";
    assert!(found.iter().any(|error| error.starts_with(cascade)), "{found:?}");
}

pub async fn bad_description_leaves_the_others_usable(rig: &Rig) {
    recordings(rig).await;
    let other = "[[deletion]]\nname = \"gone\"\ntable = \"gone\"\nid = \"id\"\n";
    let examined = examined(rig, &format!("{other}{DESCRIBED}")).await;
    let usable: Vec<_> = examined.iter().map(|one| (one.name.as_str(), one.fitted.is_some())).collect();
    assert_eq!(usable, [("gone", false), ("recordings", true)]);
}

pub async fn mark_of_a_description_out_of_use_lets_no_object_go(rig: &Rig) {
    recordings(rig).await;
    rig.run("alter table recordings add column is_public boolean; update recordings set is_public = true")
        .await;
    let wrong = "[[deletion]]\nname = \"wrong\"\ntable = \"recordings\"\nid = \"kind\"\nrows = { mark = \"is_public\" }\n";
    let text = format!("{wrong}{DESCRIBED}");
    let [wrong, one] = examined(rig, &text).await.try_into().unwrap();
    assert!(wrong.fitted.is_none());
    let deletion = one.fitted.unwrap();
    let row = begun(rig, &deletion, Some("7")).await;
    ran(rig, &deletion, &row, 9).await;
    assert_eq!(condemned(rig).await, ["a10", "a11", "r1", "r2"], "another tenant has the others");
}

pub async fn trigger_on_a_described_table_is_told(rig: &Rig) {
    recordings(rig).await;
    rig.raw.refuse("delete", "transcripts", "old.id = 99").await;
    let [one] = examined(rig, DESCRIBED).await.try_into().unwrap();
    let told = "`deletion[0].also[0].table`: trigger refuse_delete_transcripts on `transcripts` may keep or change rows";
    assert!(one.fitted.is_some() && one.findings.iter().any(|text| text.starts_with(told)), "{one:?}");
}
