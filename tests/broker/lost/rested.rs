//! Connections that ended while nobody needed them: servers close them (`timeout`), and networks forget them.

use tikkun::job::JobId;
use tikkun::queue::{Broker, JobFilter, RqSettings, open_rq};

use super::super::ground::*;
use super::super::redis_server::Redis;
use super::super::rq::Prefix;
use super::Line;

fn seen() -> JobFilter {
    JobFilter { limit: 9, ..JobFilter::default() }
}

/// What people look at.
async fn looks(broker: &dyn Broker) {
    broker.counts().await.unwrap();
    assert_eq!(broker.search(&seen()).await.unwrap().jobs.len(), 1);
    assert_eq!(broker.attempts(&JobId::from("a")).await.unwrap(), []);
}

#[tokio::test]
async fn connection_that_was_closed_while_nobody_looked_is_no_outage_for_the_next_who_does() {
    let server = Redis::start();
    let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
    let broker = open_rq(&settings).unwrap();
    enqueue(&*broker, &["a"]).await;
    looks(&*broker).await;
    let end_all = || assert_ne!(server.ask(&["CLIENT", "KILL", "TYPE", "normal"]), "0");
    end_all();
    broker.counts().await.unwrap();
    end_all();
    broker.search(&seen()).await.unwrap();
    end_all();
    looks(&*broker).await;
}

#[tokio::test]
async fn connection_that_was_forgotten_while_nobody_looked_is_no_outage_for_the_next_who_does() {
    let (prefix, line) = (Prefix::new(), Line::new().await);
    let broker = line.broker(&prefix);
    enqueue(&*broker, &["a"]).await;
    looks(&*broker).await;
    line.fall_silent();
    looks(&*broker).await;
}
