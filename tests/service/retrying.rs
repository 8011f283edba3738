//! Receipts that a deletion could not change are shown, and are deleted once the cause is removed.

use serde_json::json;

use super::ground::Ground;

#[tokio::test]
async fn failed_rows_are_named_and_retried_alone() {
    let ground = Ground::new().await;
    ground.tenant(7, 40).await;
    ground
        .run(
            "create trigger sealed before update on receipts when old.id in (70003, 70017)
             begin select raise(abort, 'this row is sealed'); end",
        )
        .await;
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    service
        .until("the first deletion", async |_| (ground.row(job).await.status == "completed").then_some(()))
        .await;
    let (rows, retry) = (
        format!("/api/receipts/jobs/{job}/failed_rows"),
        format!("/api/receipts/jobs/{job}/retry_failed_rows"),
    );
    let told = service.owner(7, "GET", &rows).expect(200).json();
    assert_eq!((&told["job_id"], &told["failed_count"]), (&json!(job), &json!(2)), "{told}");
    let ids: Vec<_> = told["rows"].as_array().unwrap().iter().map(|row| row["receipt_id"].clone()).collect();
    assert_eq!(ids, [json!(70003), json!(70017)]);
    assert!(told["rows"][0]["reason"].as_str().unwrap().contains("this row is sealed"), "{told}");
    service.owner(8, "GET", &rows).expect(404);
    service.owner(8, "POST", &retry).expect(404);
    let whole = format!("/api/receipts/jobs/{job}/retry");
    assert_eq!(service.owner(7, "POST", &whole).expect(400).json()["code"], "not_retryable");

    // It arrives after the request, so a retry of that must leave it alone.
    ground.run("insert into receipts (business_id) values (7)").await;
    ground.run("drop trigger sealed").await;
    let told = service.owner(7, "POST", &retry).expect(202).json();
    assert_eq!((&told["total"], &told["status"]), (&json!(2), &json!("queued")), "{told}");
    let again = told["job_id"].as_i64().unwrap();
    service.until("the retry", async |_| (ground.row(again).await.status == "completed").then_some(())).await;
    assert_eq!(
        ground.number("select count(*) from receipts where business_id = 7 and is_deleted is not true").await,
        1
    );
    assert_eq!(ground.number(&format!("select succeeded from background_jobs where id = {again}")).await, 2);
    assert_eq!(service.owner(7, "GET", &rows).expect(200).json()["rows"], json!([]));
    assert_eq!(service.owner(7, "POST", &retry).expect(200).json()["total"], 0);
}

#[tokio::test]
async fn a_cancelled_deletion_is_retried_for_what_it_left() {
    let ground = Ground::new().await;
    ground.tenant(7, 40).await;
    let service = ground.service().set("RQ_QUEUES", "high").start().await;
    let job = service.delete_all(7);
    let retry = format!("/api/receipts/jobs/{job}/retry");
    assert_eq!(service.owner(7, "POST", &retry).expect(400).json()["code"], "not_retryable");
    service.owner(7, "POST", &format!("/api/receipts/jobs/{job}/cancel")).expect(200);
    ground.run("insert into receipts (business_id) values (7)").await;
    let told = service.owner(7, "POST", &retry).expect(202).json();
    assert_eq!(told["total"], 40, "{told}");
    let again = told["job_id"].as_i64().unwrap();
    assert_eq!(service.owner(7, "POST", &retry).expect(200).json()["job_id"], again, "it is active");
    let member =
        [("X-Internal-Secret", super::process::SECRET), ("X-Business-Id", "7"), ("X-User-Role", "member")];
    service.call("POST", &retry, &member).expect(403);
    drop(service);
    let mut service = ground.service().start().await;
    service.until("the retry", async |_| (ground.row(again).await.status == "completed").then_some(())).await;
    assert_eq!(
        ground.number("select count(*) from receipts where business_id = 7 and is_deleted is not true").await,
        1
    );
}
