//! A described deletion on PostgreSQL: processes that are killed in the middle of it, and row security.

use tikkun::config::{Settings, Sources};
use tikkun::queue::open_embedded;
use tikkun::store::{Schema, open_postgres};

use super::ground::Ground;
use super::server::Server;
use crate::service::described::{
    DESCRIBED, ROWS, TABLES, enqueue, left, objects, seed_objects, two_deaths, with_descriptions,
};

#[tokio::test]
async fn described_deletion_outlives_processes_that_are_killed() {
    let ground = Ground::new().await;
    ground.run(TABLES).await;
    ground.run(ROWS).await;
    let attachments = ground.data().join("attachments");
    seed_objects(&attachments);
    enqueue(&*open_embedded(ground.data()).await.unwrap(), "d1", "recordings", 7).await;
    let start = with_descriptions(ground.service(), ground.data(), DESCRIBED);
    let mut last =
        two_deaths(&start, async |sql| ground.number(format!("select ({sql})::bigint")).await).await;
    ground.run("update tikkun_cleanup_outbox set next_try_at = '2020-01-01'").await;
    let owed = "select count(*) from tikkun_cleanup_outbox";
    last.until("the last objects", async |_| (ground.number(owed).await == 0).then_some(())).await;
    assert_eq!(objects(&attachments), left());
}

#[tokio::test]
async fn row_security_that_binds_the_role_is_refused() {
    let server = Server::shared();
    let database = server.database().await;
    let role = format!("bound_in_{database}");
    server.run(&database, TABLES).await;
    server
        .run(
            &database,
            &format!(
                "create role {role} login; grant usage on schema public to {role};
                 grant all on all tables in schema public to {role};
                 alter table transcripts enable row level security"
            ),
        )
        .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), DESCRIBED).unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::none() };
    let deletions = Settings::load(&sources).unwrap().settings.deletions;
    for (settings, bound) in
        [(server.settings_as(&role, &database), true), (server.settings(&database), false)]
    {
        let store = open_postgres(&settings, Schema::Warn).await.unwrap();
        let examined = store.described.examine(&deletions).await.unwrap();
        let found = examined[0].errors.join("; ");
        assert_eq!(examined[0].fitted.is_none(), bound, "{found}");
        let text =
            "`deletion[0].also[0].table`: row security on `transcripts` binds the role of this service";
        assert_eq!(found.starts_with(text), bound, "{found}");
    }
}
