//! A pooler that is added in front of the database while the service runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tikkun::config::PostgresSettings;
use tikkun::store::{Begun, Pass, Schema, open_postgres};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::rig::{TENANT, order, postgres_on};
use super::server::Server;

/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// An address that leads elsewhere when it is told to.
struct Signpost {
    port: u16,
    leads_to: Arc<watch::Sender<u16>>,
}

impl Signpost {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let leads_to = Arc::new(watch::Sender::new(port));
        let told = Arc::clone(&leads_to);
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let mut turned = told.subscribe();
                tokio::spawn(async move {
                    let target = *turned.borrow_and_update();
                    let mut there = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
                        _ = turned.changed() => {}
                    }
                });
            }
        });
        Self { port: own, leads_to }
    }

    /// Cuts every connection, and leads new ones there.
    fn turn(&self, port: u16) {
        self.leads_to.send_replace(port);
    }
}

fn port_of(url: &str) -> u16 {
    url.parse::<PgConnectOptions>().unwrap().get_port()
}

async fn goes_on_behind_a_pooler(line: &str) {
    let server = Server::start();
    let database = server.database().await;
    let direct = server.settings(&database);
    let signpost = Signpost::to(port_of(&server.url(&database))).await;
    let url = server
        .url(&database)
        .replace(&format!(":{}/", port_of(&server.url(&database))), &format!(":{}/", signpost.port));
    let settings = PostgresSettings {
        url: SecretString::from(url),
        acquire_timeout: Duration::from_secs(2),
        ..direct.clone()
    };
    let mut rig = postgres_on(&direct).await;
    let opened = open_postgres(&settings, Schema::Require).await;
    rig.store = opened.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    rig.seed(20).await;
    let job = rig.started().await;
    rig.good_batch(&job, 5, Pass::Forward).await;

    let pooled = server.pooler_with(line, 2, &database);
    signpost.turn(port_of(&pooled));
    let began = Instant::now();
    while let Err(fault) = rig.store.background_jobs.check().await {
        assert!(
            began.elapsed() < DEADLINE,
            "waited in vain for an answer through the pooler: {}",
            fault.chain()
        );
    }
    rig.delete_all(&job, 5).await;
    assert!(rig.live(TENANT).await.is_empty());
    let options: PgConnectOptions = pooled.parse().unwrap();
    let mut shared = PgConnection::connect_with(&options.extra_float_digits(None)).await.unwrap();
    for _ in 0..8 {
        let left =
            sqlx::raw_sql("select name from pg_prepared_statements").fetch_all(&mut shared).await.unwrap();
        assert!(left.is_empty(), "a statement outlived its transaction on a connection that is shared");
    }
}

#[tokio::test]
async fn a_pooler_that_refuses_our_mark_is_worked_through_without_names() {
    goes_on_behind_a_pooler("").await;
}

#[tokio::test]
async fn a_pooler_that_drops_our_mark_is_worked_through_without_names() {
    goes_on_behind_a_pooler("ignore_startup_parameters = options").await;
}

/// An address between here and a server where connections can be forgotten, as a firewall or a failover does it: whatever
/// is said on them is taken, no answer comes, and nobody is told.
struct Firewall {
    port: u16,
    forgotten: Arc<watch::Sender<u32>>,
}

impl Firewall {
    async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let forgotten = Arc::new(watch::Sender::new(0));
        let known = Arc::clone(&forgotten);
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let mut known = known.subscribe();
                known.mark_unchanged();
                tokio::spawn(async move {
                    let mut there = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut here, &mut there) => return,
                        _ = known.changed() => {}
                    }
                    // The server does not hear that this side has given it up.
                    let _ = tokio::io::copy(&mut here, &mut tokio::io::sink()).await;
                    std::future::pending::<()>().await;
                    drop(there);
                });
            }
        });
        Self { port: own, forgotten }
    }

    /// Forgets every connection that is there; new ones lead to the server.
    fn forget(&self) {
        self.forgotten.send_modify(|times| *times += 1);
    }
}

#[tokio::test]
async fn connections_that_are_forgotten_on_the_way_are_given_up() {
    let server = Server::shared();
    let database = server.database().await;
    let direct = server.settings(&database);
    let port = port_of(&server.url(&database));
    let firewall = Firewall::before(port).await;
    let settings = PostgresSettings {
        url: SecretString::from(
            server.url(&database).replace(&format!(":{port}/"), &format!(":{}/", firewall.port)),
        ),
        max_connections: 1,
        acquire_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(3),
        lock_timeout: Duration::from_millis(200),
        ..direct.clone()
    };
    let mut rig = postgres_on(&direct).await;
    let opened = open_postgres(&settings, Schema::Require).await;
    rig.store = opened.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    rig.run(
        "create function wait() returns trigger language plpgsql as
         $$ begin perform pg_sleep(1); return new; end $$;
         create trigger wait before update on receipts for each row execute function wait()",
    )
    .await;
    rig.seed(4).await;
    let job = rig.started().await;
    rig.good_batch(&job, 1, Pass::Forward).await;
    // The only connection is forgotten in a transaction, which keeps its locks.
    let order = order(&job, 1, Pass::Forward);
    let tried = tokio::time::timeout(Duration::from_secs(3), rig.store.receipts.delete_batch(&order));
    let forgotten = async {
        let at_work = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event = 'PgSleep'";
        let mut direct = PgConnection::connect(&server.url(&database)).await.unwrap();
        let began = Instant::now();
        while sqlx::query_scalar::<_, i64>(at_work).fetch_one(&mut direct).await.unwrap() == 0 {
            assert!(began.elapsed() < DEADLINE, "the batch never came to its trigger");
        }
        firewall.forget();
    };
    let (tried, ()) = tokio::join!(tried, forgotten);
    assert!(tried.is_err(), "no answer comes on a connection that is forgotten");
    let began = Instant::now();
    while let Err(fault) = rig.store.receipts.delete_batch(&order).await {
        assert!(began.elapsed() < DEADLINE, "it is still in the way: {}", fault.chain());
    }
    rig.delete_all(&job, 5).await;
    assert!(rig.live(TENANT).await.is_empty());
}

/// Passes everything on but the zone that a session asks for, as some poolers do; its port.
async fn forgets_the_zone(port: u16) -> u16 {
    const ZONE: &[u8] = b"TimeZone\0";
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            tokio::spawn(async move {
                let there = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut from_here, mut to_here) = here.into_split();
                let (mut from_there, mut to_there) = there.into_split();
                let answers = tokio::io::copy(&mut from_there, &mut to_here);
                let asks = async {
                    let mut said = vec![0; 1 << 16];
                    while let Ok(length @ 1..) = from_here.read(&mut said).await {
                        let said = &mut said[..length];
                        if let Some(at) = said.windows(ZONE.len()).position(|some| some == ZONE) {
                            said[at..at + ZONE.len()].copy_from_slice(b"tik.zone\0");
                        }
                        to_there.write_all(said).await?;
                    }
                    std::io::Result::Ok(())
                };
                let _ = tokio::join!(answers, asks);
            });
        }
    });
    own
}

#[tokio::test]
async fn a_pooler_that_drops_our_zone_changes_no_time() {
    let server = Server::shared();
    let database = server.database().await;
    let zoned = |table: &str, column: &str| {
        format!("alter table {table} alter {column} type timestamptz using {column} at time zone 'utc';")
    };
    let columns =
        [("receipts", "created_at"), ("background_jobs", "created_at"), ("background_jobs", "heartbeat_at")];
    let columns: String = columns.iter().map(|(table, column)| zoned(table, column)).collect();
    let defaults = ["receipts", "background_jobs"]
        .map(|table| format!("alter table {table} alter created_at set default now();"))
        .concat();
    let zone = format!("alter database {database} set timezone = 'America/St_Johns'");
    server.run(&database, &format!("{columns}{defaults}{zone}")).await;
    let direct = server.settings(&database);
    let port = port_of(&server.url(&database));
    let url =
        server.url(&database).replace(&format!(":{port}/"), &format!(":{}/", forgets_the_zone(port).await));
    let mut rig = postgres_on(&direct).await;
    let opened =
        open_postgres(&PostgresSettings { url: SecretString::from(url), ..direct }, Schema::Require).await;
    rig.store = opened.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let ago = |minutes| Utc::now() - TimeDelta::minutes(minutes);
    for (id, minutes) in [(1, 300), (2, 121), (3, 118), (4, 1)] {
        let made = ago(minutes).to_rfc3339();
        rig.run(&format!(
            "insert into receipts (id, business_id, created_at) values ({id}, {TENANT}, '{made}')"
        ))
        .await;
    }
    let id = rig.web_row_of(ago(120)).await;
    let Begun::Started(job) = rig.try_begin_of(id, "q1", Some(ago(120))).await else { panic!() };
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(2), 2));
    rig.delete_all(&job, 2).await;
    assert_eq!(rig.live(TENANT).await, [3, 4]);
    let beat = rig.get(id).await.heartbeat_at.unwrap();
    assert!((Utc::now() - beat).abs() < TimeDelta::minutes(2), "{beat}");
}
