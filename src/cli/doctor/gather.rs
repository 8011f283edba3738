//! Reads everything that the diagnosis needs, through the ports. Each back end has its own time limit, and
//! none delays the others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use super::facts::{Facts, ForeignSchedule, Patient, Queues, Rules, UnknownFunction, Unserved};
use super::holding::{held, lost, overdue, still_overdue};
use crate::blob::BlobStore;
use crate::config::{Loaded, Settings};
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, DELETE_RECEIPTS_ALL};
use crate::job::{BackgroundJobId, JobId, JobRecord, JobState};
use crate::kinds::is_registered;
use crate::maintenance::SCHEDULER_ROLE;
use crate::operations::Elsewhere;
use crate::queue::{Broker, JobFilter};
use crate::runtime::{OpenError, Reach, tracked_deletions};
use crate::store::{ExaminedDeletion, OutboxSummary, Store};
use crate::tracking::TrackedKind;

/// The most waiting jobs read per queue and state, and the most rows. It suffices to name causes, and is quick even
/// with a million jobs.
const LOOK_AT: u32 = 200;

/// Examines the whole service, or what matters for the job `asked`.
pub(super) async fn gather(loaded: &Loaded, limit: Duration, asked: Option<&str>) -> Facts {
    let settings = &loaded.settings;
    let reach = Reach::found(settings, limit).await;
    let diagnostics = settings.diagnostics.enabled;
    let (database, queues, attachments) = futures::join!(
        look(&reach.store, limit, read_database),
        look_at_queues(&reach.broker, limit, diagnostics),
        look(&reach.blobs, limit, async |blobs: &Arc<dyn BlobStore>| {
            blobs.check().await.map(|()| blobs.bulk_refusal())
        }),
    );
    let (database, hindrances) = match database {
        Ok((outbox, hindrances)) => (Ok(outbox), hindrances),
        Err(error) => (Err(error), Vec::new()),
    };
    // A back end that has just failed is not called again.
    let store = reach.store.as_ref().ok().filter(|_| database.is_ok());
    let broker = reach.broker.as_ref().ok().filter(|_| queues.is_ok()).map(|broker| &**broker);
    let patients =
        within(limit, patients((store, broker), &tracked_deletions(settings), diagnostics, asked)).await;
    let (queues, patients) = match patients {
        Ok(patients) => (queues, patients),
        Err(fault) => (queues.and(Err(unserved(&fault))), Vec::new()),
    };
    let queues = match (queues, broker) {
        (Ok(queues), Some(broker)) => {
            let held = within(limit, held(broker, &queues, &patients)).await;
            held.map(|held| Queues { held, ..queues }).map_err(|fault| unserved(&fault))
        }
        (queues, _) => queues,
    };
    let elsewhere = match (store, reach.blobs.as_ref().ok().filter(|_| attachments.is_ok())) {
        // Where we may not look, nothing is known.
        (Some(store), Some(blobs)) if settings.deletion.storage_delete => {
            within(limit, Elsewhere::look(&*store.receipts, &**blobs)).await.ok().flatten()
        }
        _ => None,
    };
    // The timestamps of rows come from the database's clock.
    let now = match store {
        Some(store) => within(limit, store.background_jobs.now()).await.ok(),
        None => None,
    };
    Facts {
        now: now.unwrap_or_else(Utc::now),
        rules: rules(settings),
        warnings: warnings(loaded),
        database,
        hindrances,
        deletions: described(store, settings, limit).await,
        queues,
        attachments,
        elsewhere,
        asked: asked.map(str::to_owned),
        patients,
    }
}

/// The described deletions, compared with the tables.
async fn described(
    store: Option<&Store>,
    settings: &Settings,
    limit: Duration,
) -> Result<Vec<ExaminedDeletion>, String> {
    match store {
        Some(store) if !settings.deletions.is_empty() => {
            let examined = within(limit, store.described.examine(&settings.deletions)).await;
            examined.map_err(|fault| fault.chain())
        }
        _ => Ok(Vec::new()),
    }
}

/// The warnings that are not about queues, because the queues are examined directly.
fn warnings(loaded: &Loaded) -> Vec<String> {
    let told = loaded.warnings.iter().filter(|warning| !warning.of_queues);
    told.map(|warning| warning.text.clone()).collect()
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        deletion_queue: settings.deletion.queue.clone(),
        own_queues: settings.worker.queues.clone(),
        stuck_after: (&settings.deletion).into(),
        cleanup_age: settings.cleanup_age(),
        reconcile_grace: settings.rescuer.reconcile_grace,
        stuck_grace: settings.service.drain_timeout,
        foreign_schedules: foreign_schedules(settings),
    }
}

fn foreign_schedules(settings: &Settings) -> Vec<ForeignSchedule> {
    let diagnostics = settings.diagnostics.enabled;
    let foreign = settings.schedules.iter().filter(|one| !is_registered(&one.kind, diagnostics));
    let foreign = foreign.map(|one| ForeignSchedule {
        name: one.name.clone(),
        function: one.kind.clone(),
        queue: one.queue.clone(),
    });
    foreign.collect()
}

async fn look<P, T>(
    port: &Result<P, OpenError>,
    limit: Duration,
    ask: impl AsyncFnOnce(&P) -> Result<T, Fault>,
) -> Result<T, String> {
    match port {
        Ok(port) => within(limit, ask(port)).await.map_err(|fault| fault.chain()),
        Err(error) => Err(error.to_string()),
    }
}

async fn look_at_queues(
    port: &Result<Arc<dyn Broker>, OpenError>,
    limit: Duration,
    diagnostics: bool,
) -> Result<Queues, Unserved> {
    match port {
        Ok(broker) => {
            within(limit, read_queues(&**broker, diagnostics)).await.map_err(|fault| unserved(&fault))
        }
        Err(error) => Err(Unserved { why: error.to_string(), refuses: false }),
    }
}

fn unserved(fault: &Fault) -> Unserved {
    Unserved { why: fault.chain(), refuses: fault.kind() != FaultKind::Unavailable }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let late = || {
        let text = format!("no answer within {}", humantime::format_duration(limit));
        Err(Fault::new(FaultKind::Unavailable, text))
    };
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| late())
}

async fn read_database(store: &Store) -> Result<(OutboxSummary, Vec<String>), Fault> {
    store.background_jobs.check().await?;
    Ok((store.outbox.summary(None).await?, store.receipts.hindrances().await?))
}

async fn read_queues(broker: &dyn Broker, diagnostics: bool) -> Result<Queues, Fault> {
    broker.prove().await?;
    broker.takes_jobs().await?;
    let overdue = overdue(broker).await?;
    let lost = lost(broker, &overdue).await?;
    let counts = broker.counts().await?;
    let mut unknown = BTreeMap::<_, usize>::new();
    for (queue, counts) in &counts {
        for (state, waiting) in [(JobState::Queued, counts.queued), (JobState::Scheduled, counts.scheduled)] {
            if waiting == 0 {
                continue;
            }
            let filter = JobFilter {
                queue: Some(queue.clone()),
                state: Some(state),
                limit: LOOK_AT,
                ..JobFilter::default()
            };
            for job in
                broker.jobs(&filter).await?.into_iter().filter(|job| !is_registered(&job.kind, diagnostics))
            {
                *unknown.entry((job.queue, job.kind)).or_default() += 1;
            }
        }
    }
    let processes = broker.processes().await?;
    let served = processes.iter().flat_map(|process| &process.queues);
    let queues: BTreeSet<_> = counts.keys().chain(served).cloned().collect();
    Ok(Queues {
        paused: broker.paused().await?,
        counts,
        scheduler: broker.leadership(SCHEDULER_ROLE).await?,
        unknown: unknown
            .into_iter()
            .map(|((queue, function), jobs)| UnknownFunction { queue, function, jobs })
            .collect(),
        lost,
        held: HashSet::new(),
        overdue: still_overdue(overdue, &processes),
        processes,
        risks: broker.risks(&Vec::from_iter(queues)).await?,
    })
}

async fn patients(
    (store, broker): (Option<&Store>, Option<&dyn Broker>),
    tracked: &TrackedKind,
    diagnostics: bool,
    asked: Option<&str>,
) -> Result<Vec<Patient>, Fault> {
    let rows = match store {
        Some(store) => rows(store, asked).await?,
        None => Vec::new(),
    };
    let Some(broker) = broker else {
        return Ok(rows.into_iter().map(|row| Patient { row: Some(row), ..Patient::default() }).collect());
    };
    let patient = |row, entry: Option<JobRecord>| {
        let registered = entry.as_ref().is_none_or(|entry| is_registered(&entry.kind, diagnostics));
        Patient { row, entry, registered }
    };
    if let (true, Some(id)) = (rows.is_empty(), asked) {
        let Some(entry) = broker.job(&JobId::from(id)).await? else { return Ok(Vec::new()) };
        let row = match (store, tracked.row_of(&entry)) {
            (Some(store), Some(row)) => store.background_jobs.get(row).await?,
            _ => None,
        };
        return Ok(vec![patient(row, Some(entry))]);
    }
    let open = carriers(broker, tracked, &rows).await?;
    let mut patients = Vec::with_capacity(rows.len());
    for row in rows {
        let carriers = open.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let entry = entry(broker, carriers, &row).await?;
        patients.push(patient(Some(row), entry));
    }
    Ok(patients)
}

/// The open queue jobs of these rows. The queues are searched, which takes long if many jobs wait, only for a row that
/// needs one and notes none that is open.
async fn carriers(
    broker: &dyn Broker,
    tracked: &TrackedKind,
    rows: &[BackgroundJob],
) -> Result<HashMap<BackgroundJobId, Vec<JobRecord>>, Fault> {
    let by_row = |entries: Vec<JobRecord>| {
        let mut found = HashMap::<_, Vec<_>>::new();
        for (row, entry) in entries.into_iter().filter_map(|entry| Some((tracked.row_of(&entry)?, entry))) {
            found.entry(row).or_default().push(entry);
        }
        found
    };
    let noted: Vec<_> = rows.iter().filter_map(|row| row.note.queue_job.clone()).collect();
    let found = by_row(broker.open_of(&noted).await?);
    if rows.iter().all(|row| !row.needs_entry() || found.contains_key(&row.id)) {
        return Ok(found);
    }
    Ok(by_row(broker.open_jobs(&tracked.kind).await?))
}

async fn rows(store: &Store, asked: Option<&str>) -> Result<Vec<BackgroundJob>, Fault> {
    let jobs = &store.background_jobs;
    match asked.map(str::parse) {
        None => jobs.active(DELETE_RECEIPTS_ALL, LOOK_AT).await,
        Some(Ok(number)) => Ok(jobs.get(BackgroundJobId(number)).await?.into_iter().collect()),
        Some(Err(_)) => Ok(Vec::new()),
    }
}

/// The queue job of a row: an open one, else the one in our note, whatever its state.
async fn entry(
    broker: &dyn Broker,
    carriers: &[JobRecord],
    row: &BackgroundJob,
) -> Result<Option<JobRecord>, Fault> {
    let noted = carriers.iter().find(|entry| Some(&entry.id) == row.note.queue_job.as_ref());
    if let Some(entry) = noted.or_else(|| carriers.first()) {
        return Ok(Some(entry.clone()));
    }
    match &row.note.queue_job {
        Some(id) => broker.job(id).await,
        None => Ok(None),
    }
}
