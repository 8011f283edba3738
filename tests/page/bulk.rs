//! Many jobs at once: what was confirmed and nothing else, in steps that always say how far they have come.

use serde_json::{Value, json};
use tikkun::job::{Args, NewJob};

use super::api::{KNOWN, code, post};
use super::browser::Browser;
use super::ground::Ground;
use super::process::{SECRET, Service};

const BULK: &str = "/api/v1/jobs/bulk";

/// A job of a queue that nobody serves, with an id as long as some applications make them.
fn job(name: &str, i: usize) -> NewJob {
    NewJob::new(format!("{name}-{i:0>100}"), "low", "shop.greet", Args::default())
}

fn state(service: &Service, id: &str) -> String {
    let job = service.call("GET", &format!("/api/v1/jobs/{id}"), &[KNOWN]).expect(200).json();
    job["state"].as_str().unwrap().to_owned()
}

/// Sends one step after the other until all is done; answers the last one, and how many there were.
fn all_steps(service: &Service, wish: &Value, first: &Value) -> (Value, usize) {
    let (mut at, mut steps) = (first.clone(), 0);
    while at["done"] == false {
        let mut next = wish.clone();
        next["confirm"] = at["confirm"].clone();
        let before = at["changed"].as_u64().unwrap();
        at = post(service, BULK, &[KNOWN], &next).expect(200).json();
        let in_step = at["results"].as_array().unwrap().iter().filter(|one| one["changed"] == true).count();
        assert_eq!(at["changed"].as_u64().unwrap(), before + in_step as u64, "it says how far it has come");
        steps += 1;
        assert!(steps < 1000, "it comes to an end: {at}");
    }
    (at, steps)
}

#[tokio::test]
async fn more_jobs_than_a_request_holds_are_changed_in_steps_and_none_that_came_later() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let broker = ground.broker().await;
    let jobs: Vec<_> = (0..1500).map(|i| job("old", i)).collect();
    broker.enqueue(&jobs).await.unwrap();
    broker.enqueue(&[job("other", 0)]).await.unwrap();
    let wish = json!({ "action": "cancel", "queue": "low", "search": "old-" });
    let first = post(&service, BULK, &[KNOWN], &wish).expect(200).json();
    assert_eq!(
        (&first["done"], &first["complete"]),
        (&json!(false), &json!(false)),
        "there are more than it names"
    );
    assert_eq!(first["ids"].as_array().unwrap().len(), 1000);
    broker.enqueue(&[job("old-but-late", 0)]).await.unwrap();
    let (last, steps) = all_steps(&service, &wish, &first);
    assert_eq!(
        (&last["changed"], &last["refused"], &last["complete"]),
        (&json!(1500), &json!(0), &json!(true))
    );
    assert!(steps >= 2, "{steps} steps");
    for (name, i, expected) in [("old", 0, "canceled"), ("old", 1499, "canceled"), ("other", 0, "queued")] {
        assert_eq!(state(&service, job(name, i).id.as_str()), expected, "{name} {i}");
    }
    assert_eq!(
        state(&service, job("old-but-late", 0).id.as_str()),
        "queued",
        "it came after the confirmation"
    );
    let again = json!({ "action": "retry", "queue": "low", "search": "old-" });
    let first = post(&service, BULK, &[KNOWN], &again).expect(200).json();
    let (last, _) = all_steps(&service, &again, &first);
    assert_eq!(last["changed"], 1500);
}

#[tokio::test]
async fn how_many_match_is_told_for_a_queue_however_many_there_are() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    ground.broker().await.enqueue(&(0..1200).map(|i| job("many", i)).collect::<Vec<_>>()).await.unwrap();
    let wish = json!({ "action": "cancel", "queue": "low" });
    let first = post(&service, BULK, &[KNOWN], &wish).expect(200).json();
    assert_eq!((&first["matching"], &first["complete"]), (&json!(1200), &json!(false)));
    let none = json!({ "action": "retry", "queue": "low" });
    let first = post(&service, BULK, &[KNOWN], &none).expect(200).json();
    assert_eq!((&first["matching"], &first["complete"]), (&json!(0), &json!(true)));
}

#[tokio::test]
async fn a_confirmation_of_one_filter_is_none_of_another() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    ground.broker().await.enqueue(&[job("a", 1), job("b", 1)]).await.unwrap();
    let shown = json!({ "action": "cancel", "queue": "low", "search": "a-0" });
    let first = post(&service, BULK, &[KNOWN], &shown).expect(200).json();
    for other in [
        json!({ "action": "cancel", "queue": "low" }),
        json!({ "action": "retry", "queue": "low", "search": "a-0" }),
        json!({ "action": "cancel", "queue": "low", "search": "a-0", "ids": [job("b", 1).id.as_str()] }),
    ] {
        let mut other = other;
        other["confirm"] = first["confirm"].clone();
        assert_eq!(code(&post(&service, BULK, &[KNOWN], &other).expect(409)), "not_confirmed", "{other}");
    }
    let user = ("X-User-Id", "5");
    let mut stolen = shown.clone();
    stolen["confirm"] = first["confirm"].clone();
    assert_eq!(code(&post(&service, BULK, &[KNOWN, user], &stolen).expect(409)), "not_confirmed");
    all_steps(&service, &shown, &first);
    assert_eq!(state(&service, job("a", 1).id.as_str()), "canceled");
    assert_eq!(state(&service, job("b", 1).id.as_str()), "queued");
}

#[tokio::test]
async fn the_page_changes_what_is_seen_and_says_how_far_it_came() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let broker = ground.broker().await;
    broker.enqueue(&(0..1200).map(|i| job("mine", i)).collect::<Vec<_>>()).await.unwrap();
    broker.enqueue(&[job("theirs", 0)]).await.unwrap();
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "en");
    browser.go(&format!("http://{}/#/jobs?queue=low&state=queued", service.address));
    browser.write("#search", "mine-");
    browser.until("the filter in the address", "return location.hash.includes('search=mine-')");
    browser.until("only mine", "return document.querySelector('.jobs .row') && !document.querySelector('.jobs').textContent.includes('theirs')");
    browser.click("[data-act=bulk][data-action=cancel]");
    browser.click("#dialog-yes");
    browser.until(
        "what was done",
        "return document.querySelector('#toasts').textContent.includes('1,200 of 1,200')",
    );
    assert_eq!(state(&service, job("mine", 1199).id.as_str()), "canceled");
    assert_eq!(state(&service, job("theirs", 0).id.as_str()), "queued");
    browser.end(&[]);
}

#[tokio::test]
async fn a_step_that_went_wrong_is_told_and_gone_on_with() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    ground.broker().await.enqueue(&(0..1200).map(|i| job("mine", i)).collect::<Vec<_>>()).await.unwrap();
    let wire = super::wire::Wire::to(service.address);
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", wire.address), SECRET, "en");
    browser.go(&format!("http://{}/#/jobs?queue=low", wire.address));
    browser.click("[data-act=bulk][data-action=cancel]");
    browser.until("the question", "return document.querySelector('#dialog-yes') !== null");
    wire.cut();
    browser.click("#dialog-yes");
    browser.until(
        "what went wrong",
        "return document.querySelector('#dialog').textContent.includes('0 jobs were changed so far')",
    );
    wire.mend();
    browser.click("#bulk-go");
    browser.until(
        "what was done",
        "return document.querySelector('#toasts').textContent.includes('1,200 of 1,200')",
    );
    assert_eq!(state(&service, job("mine", 0).id.as_str()), "canceled");
    browser.end(&["Failed to load resource: net::ERR_"]);
}
