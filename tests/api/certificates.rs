//! The certificate of a deletion, as the API answers it.

use tikkun::certificate::{PublicKey, verify};

use super::calls::{KNOWN, code};
use super::ground::Ground;
use super::process::Service;

const KEY: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

#[tokio::test]
async fn a_deletion_has_a_certificate_that_anybody_can_verify() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 40).await;
    let mut service = ground
        .service()
        .set("TIKKUN_CERTIFICATE__KEY", KEY)
        .set("TIKKUN_DELETION__BATCH", "5")
        .set("TIKKUN_RESCUER__INTERVAL", "100ms")
        .start()
        .await;
    let job = service.delete_all(7);
    let path = format!("/api/v1/deletions/{job}/certificate");
    assert_eq!(code(&service.call("GET", &path, &[KNOWN]).expect(404)), "no_certificate");
    let row = ground.completed(&mut service, job, &tenant).await;
    ground.drained(&mut service).await;
    let look = async |service: &Service| {
        let answer = service.call("GET", &path, &[KNOWN]);
        Some(answer).filter(|answer| answer.status == 200 && answer.json()["certificate"]["final"] == true)
    };
    let answer = service.until("the final certificate", look).await;
    let verified = verify(&answer.body, &[PublicKey::read(PUBLIC).unwrap()], None).unwrap();
    let line = service.says("the chain has").await;
    assert!(line.contains("issued") && line.contains("signed"), "{line}");
    assert!(!service.lines(&verified.head).is_empty(), "the head is logged: {}", verified.head);
    let certificate = &answer.json()["certificate"];
    assert_eq!(certificate["deletion"]["tenant"], "7");
    assert_eq!(certificate["tables"][0]["rows"], row.succeeded);
    assert_eq!((&certificate["objects"]["owed"], &certificate["counts_missing"]), (&0.into(), &false.into()));
    assert!(certificate["objects"]["deleted"].as_i64().unwrap() > 0, "{certificate}");
    let metrics = service.get("/metrics").body;
    assert!(metrics.contains("tikkun_certificates_total{state=\"final\"} 1"), "{metrics}");

    assert_eq!(code(&service.call("GET", &path, &[]).expect(401)), "unauthorized");
    let nobodys = "/api/v1/deletions/99/certificate";
    assert_eq!(code(&service.call("GET", nobodys, &[KNOWN]).expect(404)), "job_not_found");
    assert!(service.lines(KEY).is_empty());
    let shown = service.call("GET", "/api/v1/config", &[KNOWN]).expect(200).body;
    assert!(shown.contains("certificate.key") && !shown.contains(KEY), "{shown}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_issued_hinders_no_deletion_and_comes_later() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 40).await;
    let mut service = ground.service().set("TIKKUN_RESCUER__INTERVAL", "50ms").start().await;
    ground.run("alter table tikkun_certificates rename to away").await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    service.says("certificates of deletions cannot be issued").await;
    ground.run("alter table away rename to tikkun_certificates").await;
    ground.certified(&mut service).await;
    let path = format!("/api/v1/deletions/{job}/certificate");
    let sealed = service.call("GET", &path, &[KNOWN]).expect(200).json();
    assert!(sealed["signature"].is_null() && sealed["certificate"]["key"].is_null(), "{sealed}");
    service.says("unsigned").await;
    assert_eq!(service.lines("certificates of deletions cannot be issued").len(), 1, "told once");
}
