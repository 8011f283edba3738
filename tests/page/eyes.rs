//! The page as users see it: a deletion makes progress, buttons work, and a broken stream reconnects.

use std::time::Duration;

use serde_json::json;
use tikkun::job::{Args, NewJob, Retries};

use super::browser::Browser;
use super::calls::audited;
use super::ground::Ground;
use super::process::{SECRET, Service};
use super::wire::Wire;

/// The bar's own value, as a screen reader hears it.
const BAR: &str = "return Number(document.querySelector('.progress-card [role=progressbar]')?.getAttribute('aria-valuenow') ?? 0)";

/// A deletion that takes long enough to be looked at, on a page that is signed in.
async fn a_deletion(ground: &Ground, service: &Service, browser: &Browser, language: &str) -> i64 {
    ground.tenant(789, 3000).await;
    browser.sign_in(&format!("http://{}/", service.address), SECRET, language);
    let job = service.delete_all(789);
    browser.go(&format!("http://{}/#/deletions/{job}", service.address));
    job
}

fn slow(ground: &Ground) -> super::process::Start {
    ground.service().set("TIKKUN_DELETION__BATCH", "10").set("TIKKUN_DELETION__THROTTLE", "100ms")
}

fn bar(browser: &Browser) -> f64 {
    browser.run(BAR, &[]).as_f64().unwrap()
}

fn moves(browser: &Browser) -> f64 {
    let before = bar(browser);
    browser.until("the bar to move", &format!("{} > {before}", BAR)).as_bool().unwrap();
    bar(browser)
}

fn words(browser: &Browser, css: &str, text: &str) {
    let script = format!("return document.querySelector({css:?})?.textContent.includes({text:?})");
    browser.until(&format!("`{text}` in `{css}`"), &script);
}

async fn a_deletion_moves_and_obeys(language: &str, texts: [&str; 4]) {
    let [title, paused, running, cancelled] = texts;
    let ground = Ground::new().await;
    let mut service = slow(&ground).start().await;
    let browser = Browser::open(1280, 900);
    let job = a_deletion(&ground, &service, &browser, language).await;
    words(&browser, ".progress-card h2", title);
    moves(&browser);
    moves(&browser);
    browser.click("#act-pause");
    words(&browser, ".head-side .badge", paused);
    ground.becomes(&mut service, job, "paused").await;
    browser.click("#act-resume");
    words(&browser, ".head-side .badge", running);
    moves(&browser);
    browser.click("#act-cancel");
    browser.click("#dialog-yes");
    words(&browser, ".head-side .badge", cancelled);
    ground.becomes(&mut service, job, "cancelled").await;
    let direction = browser.run("return document.documentElement.dir", &[]);
    assert_eq!(direction, if language == "he" { "rtl" } else { "ltr" });
    let audited = audited(&mut service, "/api/v1/deletions", 3).await;
    assert_eq!(audited.len(), 3, "{audited:?}");
    assert!(audited.iter().all(|line| line.contains("Dana")), "{audited:?}");
    browser.end(&[]);
}

#[tokio::test]
async fn a_deletion_moves_and_obeys_in_english() {
    a_deletion_moves_and_obeys("en", ["Deleting receipts", "paused", "running", "cancelled"]).await;
}

#[tokio::test]
async fn a_deletion_moves_and_obeys_in_hebrew() {
    a_deletion_moves_and_obeys("he", ["מוחק קבלות", "מושהית", "רצה", "בוטלה"]).await;
}

#[tokio::test]
async fn a_broken_stream_recovers_by_itself() {
    let ground = Ground::new().await;
    let service = slow(&ground).start().await;
    let wire = Wire::to(service.address);
    let browser = Browser::open(1280, 900);
    ground.tenant(789, 3000).await;
    browser.sign_in(&format!("http://{}/", wire.address), SECRET, "en");
    let job = service.delete_all(789);
    browser.go(&format!("http://{}/#/deletions/{job}", wire.address));
    moves(&browser);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    wire.cut();
    words(&browser, ".link", "Reconnecting");
    let before = bar(&browser);
    wire.mend();
    words(&browser, ".link", "Live");
    assert!(moves(&browser) > before);
    // What the browser itself says of the stream that was broken, and of the calls that asked whether it can come back.
    browser.end(&[
        "/api/v1/events - Failed to load resource: net::ERR_",
        "/api/v1/session - Failed to load resource: net::ERR_",
    ]);
}

#[tokio::test]
async fn a_dry_run_says_what_would_go_and_the_deletion_wants_the_number_typed() {
    let ground = Ground::new().await;
    ground.tenant(789, 40).await;
    let mut service = ground.service().start().await;
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "en");
    browser.go(&format!("http://{}/#/deletions", service.address));
    browser.write("#tenant", "789");
    browser.click(".lookup button");
    words(&browser, ".figures", "40");
    browser.click("[data-act=delete-all]");
    assert_eq!(browser.run("return document.querySelector('#dialog-yes').disabled", &[]), true);
    browser.write("#typed", "789");
    browser.click("#dialog-yes");
    let job = browser.until("the deletion's page", "return location.hash.match(/deletions\\/(\\d+)/)?.[1]");
    ground.becomes(&mut service, job.as_str().unwrap().parse().unwrap(), "completed").await;
    words(&browser, ".head-side .badge", "completed");
    browser.end(&[]);
}

async fn a_running_job_is_stopped(language: &str, texts: [&str; 3]) {
    let [running, stopped, again] = texts;
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let sleep = NewJob::new("long", "default", "tikkun.sleep", Args::positional([json!(600)]));
    ground.broker().await.enqueue(&[sleep]).await.unwrap();
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, language);
    browser.go(&format!("http://{}/#/jobs/long", service.address));
    words(&browser, ".attempt .badge", running);
    browser.click("#act-stop");
    browser.click("#dialog-no");
    browser.click("#act-stop");
    browser.click("#dialog-yes");
    words(&browser, ".head-side .badge", stopped);
    words(&browser, ".attempt .badge", stopped);
    words(&browser, "#act-retry", again);
    let audited = audited(&mut service, "/api/v1/jobs/long/stop", 1).await;
    assert!(audited.len() == 1 && audited[0].contains("Dana"), "{audited:?}");
    browser.end(&[]);
}

#[tokio::test]
async fn a_running_job_is_stopped_in_english() {
    a_running_job_is_stopped("en", ["running", "stopped", "Run once more"]).await;
}

#[tokio::test]
async fn a_running_job_is_stopped_in_hebrew() {
    a_running_job_is_stopped("he", ["רץ", "נעצר", "הרצה נוספת"]).await;
}

#[tokio::test]
async fn a_job_shows_every_attempt_and_opens_the_errors_before_the_last_on_demand() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let retries = Some(Retries { left: 1, intervals: vec![Duration::from_millis(1)] });
    let args = Args::positional([json!("the mail server said 421")]);
    let failing = NewJob { retries, ..NewJob::new("f", "default", "tikkun.fail", args) };
    ground.broker().await.enqueue(&[failing]).await.unwrap();
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "en");
    browser.go(&format!("http://{}/#/jobs/f", service.address));
    browser.until("two attempts", "return document.querySelectorAll('.attempt').length === 2");
    words(&browser, ".attempt > pre", "421");
    words(&browser, ".attempt summary", "421");
    browser.click(".attempt summary");
    browser.until("the error before", "return document.querySelector('.attempt details').open");
    browser.end(&[]);
}

#[tokio::test]
async fn no_time_left_is_told_before_there_is_enough_to_go_by() {
    for (language, estimating) in [("en", "estimating"), ("he", "מעריך")] {
        let ground = Ground::new().await;
        let service = slow(&ground).set("TIKKUN_HTTP__PAGE_INTERVAL", "100ms").start().await;
        let browser = Browser::open(1280, 900);
        a_deletion(&ground, &service, &browser, language).await;
        words(&browser, ".facts", estimating);
        let told = format!(
            "return [...document.querySelectorAll('.facts dd')].length > 1 && !document.querySelector('.facts').textContent.includes({estimating:?})"
        );
        browser.until("the time left, once it can be told", &told);
        browser.end(&[]);
    }
}
