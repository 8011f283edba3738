//! A pooler that comes to stand before the database while the service runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tikkun::config::PostgresSettings;
use tikkun::store::{Pass, Schema, open_postgres};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::rig::{TENANT, postgres_on};
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
