//! The commands find the tables in any schema.

use std::process::{Command, Output};

use serde_json::Value;

use super::ground::Ground;

fn tikkun(ground: &Ground<'_>, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tikkun"))
        .env_clear()
        .env("DATABASE_URL", ground.sqlalchemy_url())
        .env("TIKKUN_SERVICE__DATA", ground.data())
        .args(arguments)
        .output()
        .unwrap()
}

fn out(done: &Output) -> String {
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout.clone()).unwrap()
}

#[tokio::test]
async fn commands_work_on_the_applications_database() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    let made: Value = serde_json::from_str(&out(&tikkun(&ground, &["migrate", "--json"]))).unwrap();
    assert_eq!((&made["application_tables"], &made["versions"][0]), (&false.into(), &1.into()));
    assert!(out(&tikkun(&ground, &["migrate"])).contains("are up to date"));
    let mut service = ground.service().set("TIKKUN_DELETION__STORAGE_DELETE", "false").start().await;
    let plan: Value = serde_json::from_str(&out(&tikkun(&ground, &["plan", "7", "--json"]))).unwrap();
    assert_eq!(plan["receipts"], 60);
    let job = service.delete_all(7);
    let watched = out(&tikkun(&ground, &["watch", &job.to_string()]));
    assert!(watched.contains("60"), "{watched}");
    ground.becomes(&mut service, job, "completed").await;
    assert_eq!(
        plan["attachments"],
        ground.number("select 75 - count(*) from attachments where business_id = 7").await
    );
    let listed: Value =
        serde_json::from_str(&out(&tikkun(&ground, &["outbox", "list", "--json", "--limit", "500"])))
            .unwrap();
    assert_eq!(listed.as_array().unwrap().len() as i64, plan["objects"].as_i64().unwrap());
    ground.run("update tikkun_cleanup_outbox set next_try_at = '2026-01-01'").await;
    out(&tikkun(&ground, &["outbox", "drain"]));
    ground.files_and_rows_agree().await;
    let shown = out(&tikkun(&ground, &["config"]));
    assert!(shown.contains("postgresql+psycopg://***@127.0.0.1"), "{shown}");
    out(&tikkun(&ground, &["selftest"]));
    out(&tikkun(&ground, &["doctor"]));
    let refused = tikkun(&ground, &["migrate", "--with-application-tables"]);
    assert!(out(&refused).contains("up to date"), "all of them are there, so none is made");
}
