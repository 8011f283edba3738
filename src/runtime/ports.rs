//! The back ends that the configuration names, opened.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::attachments;
use super::start_error::{OpenError, nothing_at, opened, opened_calmly};
use crate::blob::BlobStore;
use crate::config::{BrokerEngine, Settings, StoreEngine};
use crate::deletion::DeleteReceipts;
use crate::fault::{Fault, FaultKind};
use crate::job::Job as _;
use crate::job::background::DELETE_RECEIPTS_ALL;
use crate::operations::Queues;
use crate::queue::{Broker, RqSettings, open_embedded, open_rq};
use crate::store::{
    Migrated, Schema, Store, TrialData, migrate_postgres, open_postgres, open_sqlite, open_sqlite_trial,
};
use crate::tracking::TrackedKind;

/// Everything outside this process.
#[derive(Clone)]
pub struct Ports {
    /// Where jobs wait.
    pub broker: Arc<dyn Broker>,
    /// Where rows are.
    pub store: Store,
    /// Where objects lie.
    pub blobs: Arc<dyn BlobStore>,
}

/// What most commands need: no disk or bucket of attachments that hangs shall hold them up.
pub struct JobPorts {
    /// Where jobs wait.
    pub broker: Arc<dyn Broker>,
    /// Where rows are.
    pub store: Store,
}

impl JobPorts {
    /// Opens both.
    ///
    /// # Errors
    /// Names the one that cannot be opened, and why.
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        let broker = open_broker(settings).await?;
        let store = open_store(settings).await?;
        Ok(Self { broker, store })
    }

    /// Opens both, but makes no local file that is not there: whoever only looks must not leave an empty data
    /// folder behind.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when a local file is missing.
    pub async fn open_found(settings: &Settings) -> Result<Self, OpenError> {
        let queue = queue_file(settings).map(|file| ("the queue", file));
        let tables = tables_file(settings).map(|file| ("the database", file));
        for (what, file) in queue.into_iter().chain(tables) {
            if !file.is_file() {
                let text = format!(
                    "there is no file {}; name the service's data folder with --data, or run `tikkun serve` first",
                    file.display()
                );
                return Err(OpenError::new(what, Fault::new(FaultKind::Permanent, text)).of_a_file(true));
            }
        }
        Self::open(settings).await
    }
}

/// Each back end by itself, as far as it can be reached: for those who look for what is wrong.
pub struct Reach {
    /// The queue.
    pub broker: Result<Arc<dyn Broker>, OpenError>,
    /// The database, with its schema in place.
    pub store: Result<Store, OpenError>,
    /// The attachments.
    pub blobs: Result<Arc<dyn BlobStore>, OpenError>,
}

impl Reach {
    /// Tries all three for at most `limit` each; makes nothing that is not there, and migrates no tables of
    /// the application.
    pub async fn found(settings: &Settings, limit: Duration) -> Self {
        let (queue, tables) = (queue_file(settings), tables_file(settings));
        let (broker, store, blobs) = futures::join!(
            opened(
                "the queue",
                queue.and_then(|file| missing(file, file.is_file())),
                limit,
                open_queue(settings)
            ),
            opened(
                "the database",
                tables.and_then(|file| missing(file, file.is_file())),
                limit,
                open_tables(settings, Schema::Require)
            ),
            opened("the attachments", None, limit, attachments::found(settings)),
        );
        Self { broker, store, blobs }
    }
}

/// The file of the queue, where it is in one.
pub(super) fn queue_file(settings: &Settings) -> Option<&Path> {
    match &settings.broker.engine {
        BrokerEngine::Embedded { file } => Some(file),
        BrokerEngine::Redis(_) => None,
    }
}

/// The file of the tables, where they are in one.
pub(super) fn tables_file(settings: &Settings) -> Option<&Path> {
    match &settings.store.engine {
        StoreEngine::Sqlite { file } => Some(file),
        StoreEngine::Postgres(_) => None,
    }
}

fn missing(path: &Path, there: bool) -> Option<Fault> {
    (!there).then(|| nothing_at(path))
}

/// Opens the tables for trial rows, for the demonstration and its count.
///
/// # Errors
/// Says why the database cannot be opened.
pub async fn open_trial(settings: &Settings) -> Result<Arc<dyn TrialData>, OpenError> {
    let opened = match &settings.store.engine {
        StoreEngine::Sqlite { file } => open_sqlite_trial(file).await,
        StoreEngine::Postgres(_) => Err(Fault::new(
            FaultKind::Permanent,
            "trial rows are made in a SQLite file only, never beside an application's own",
        )),
    };
    opened.map_err(|fault| OpenError::new("the database for trial rows", fault))
}

fn schema(settings: &Settings) -> Schema {
    match (settings.store.migrate, settings.store.strict_schema) {
        (true, true) => Schema::Migrate,
        (true, false) => Schema::MigrateOrWarn,
        (false, true) => Schema::Require,
        (false, false) => Schema::Warn,
    }
}

pub(super) async fn open_broker(settings: &Settings) -> Result<Arc<dyn Broker>, OpenError> {
    let local = queue_file(settings).is_some();
    open_queue(settings).await.map_err(|fault| OpenError::new("the queue", fault).of_a_file(local))
}

/// The same of a broker that can carry jobs. One that does not answer now is waited for later, where its lease is.
pub(super) async fn open_fit_broker(settings: &Settings) -> Result<Arc<dyn Broker>, OpenError> {
    let broker = open_broker(settings).await?;
    match broker.prove().await {
        Err(fault) if !fault.is_retryable() && queue_file(settings).is_none() => {
            Err(OpenError::new("the queue", fault).of_a_misfit())
        }
        _ => Ok(broker),
    }
}

async fn open_queue(settings: &Settings) -> Result<Arc<dyn Broker>, Fault> {
    opened_calmly(queue_of(settings)).await
}

async fn queue_of(settings: &Settings) -> Result<Arc<dyn Broker>, Fault> {
    match &settings.broker.engine {
        BrokerEngine::Embedded { file } => open_embedded(file.parent().unwrap_or(file)).await,
        BrokerEngine::Redis(redis) => open_rq(&RqSettings {
            url: redis.url.clone(),
            prefix: redis.key_prefix.clone(),
            slots: if settings.service.role.runs_jobs() { settings.worker.slots } else { 0 },
            payload_limit: usize::try_from(redis.payload_limit.0).unwrap_or(usize::MAX),
            expanded_limit: usize::try_from(redis.expanded_limit.0).unwrap_or(usize::MAX),
            whole_hashes: redis.whole_hashes.clone(),
            worker_name: redis.worker_name.clone(),
        }),
    }
}

/// Makes the data folder where the database lies in it. Any other folder that is missing may be a disk that is not
/// there now.
async fn data_folder(settings: &Settings) -> Result<(), OpenError> {
    let data = &settings.service.data;
    if tables_file(settings).and_then(Path::parent) != Some(data.as_path()) {
        return Ok(());
    }
    tokio::fs::create_dir_all(data).await.map_err(|error| {
        let text = format!("make the data folder {}", data.display());
        OpenError::new("the database", Fault::new(FaultKind::Permanent, text).because(error)).of_a_file(true)
    })
}

pub(super) async fn open_store(settings: &Settings) -> Result<Store, OpenError> {
    data_folder(settings).await?;
    let (opened, local) = (open_tables(settings, schema(settings)).await, tables_file(settings).is_some());
    opened.map_err(|fault| OpenError::new("the database", fault).of_a_file(local))
}

async fn open_tables(settings: &Settings, schema: Schema) -> Result<Store, Fault> {
    opened_calmly(async {
        match &settings.store.engine {
            StoreEngine::Sqlite { file } => open_sqlite(file, schema).await,
            StoreEngine::Postgres(postgres) => open_postgres(postgres, schema).await,
        }
    })
    .await
}

/// Brings the tables up to date, as a step of its own. On PostgreSQL those of the application are made only
/// when that is asked for; in a file of our own everything is.
///
/// # Errors
/// Says why the database cannot be opened or brought up to date.
pub async fn migrate(settings: &Settings, application_tables: bool) -> Result<Migrated, OpenError> {
    let migrated = match &settings.store.engine {
        StoreEngine::Sqlite { file } => open_sqlite(file, Schema::Migrate).await.map(|_| Migrated::default()),
        StoreEngine::Postgres(postgres) => migrate_postgres(postgres, application_tables).await,
    };
    let local = tables_file(settings).is_some();
    migrated.map_err(|fault| OpenError::new("the database", fault).of_a_file(local))
}

/// The background jobs whose rows and queue entries are kept together.
#[must_use]
pub fn tracked_deletions(settings: &Settings) -> TrackedKind {
    let deletion = &settings.deletion;
    TrackedKind {
        job_type: DELETE_RECEIPTS_ALL.to_owned(),
        kind: DeleteReceipts::NAME.into(),
        parameter: DeleteReceipts::PARAMETERS.first().copied().unwrap_or_default(),
        queue: deletion.queue.clone(),
        timeout: deletion.timeout,
        result_ttl: deletion.result_ttl,
        failure_ttl: deletion.failure_ttl,
        grace: settings.rescuer.reconcile_grace,
        grace_after_loss: settings.lease.ttl,
        // A leader may miss two looks before another takes its place.
        leadership_ttl: settings.rescuer.reconcile_interval * 3,
    }
}

/// What can be done with queues; the broker may take as long as `deadline` for one answer.
#[must_use]
pub fn queues(settings: &Settings, broker: &Arc<dyn Broker>, deadline: Duration) -> Queues {
    let worker = &settings.worker;
    Queues {
        broker: Arc::clone(broker),
        known: worker.known_queues.iter().chain(&worker.queues).cloned().collect(),
        deadline,
    }
}
