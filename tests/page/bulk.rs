//! Many jobs at once in the page: what is seen is changed, and how far it has come is said.

use super::browser::Browser;
use super::ground::Ground;
use super::process::SECRET;
use crate::api::bulk::{job, state};

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
