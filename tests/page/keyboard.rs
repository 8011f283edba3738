//! The page by keyboard and screen reader: where the focus is, and what is read aloud.

use serde_json::json;
use tikkun::job::{Args, NewJob};

use super::browser::Browser;
use super::ground::Ground;
use super::process::SECRET;

/// Waits until the focus is on the heading that says this.
fn at(browser: &Browser, heading: &str) {
    let script = format!(
        "const at = document.activeElement; return at.nodeName === 'H1' && at.isConnected && at.textContent === {heading:?}"
    );
    browser.until(&format!("the focus on the heading {heading:?}"), &script);
}

#[tokio::test]
async fn a_change_of_view_moves_the_focus_to_its_heading_back_and_forward_too() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    ground.broker().await.enqueue(&[NewJob::new("one", "low", "shop.greet", Args::default())]).await.unwrap();
    let browser = Browser::open(1280, 900);
    let url = format!("http://{}/", service.address);
    browser.sign_in(&url, SECRET, "en");
    at(&browser, "Overview");
    browser.press("nav a[href='#/jobs']", Browser::ENTER);
    at(&browser, "Jobs");
    browser.press("[data-key=one] a", Browser::ENTER);
    // It is called `Job` until it is there; the focus stays on it.
    at(&browser, "greet");
    browser.run("history.back()", &[]);
    at(&browser, "Jobs");
    browser.run("history.forward()", &[]);
    at(&browser, "greet");
    // What happens within a view leaves the focus alone.
    browser.press("nav a[href='#/jobs']", Browser::ENTER);
    at(&browser, "Jobs");
    browser.write("#search", "one");
    browser.until("the filter in the address", "return location.hash.includes('search=one')");
    assert_eq!(browser.run("return document.activeElement.id", &[]), "search");
    browser.press("[data-act=sign-out]", Browser::ENTER);
    at(&browser, "Tikkun");
    browser.end(&[]);
}

#[tokio::test]
async fn the_first_link_skips_to_the_content_of_the_same_view() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "he");
    browser.go(&format!("http://{}/#/config", service.address));
    browser.until("the settings", "return document.querySelector('.settings') !== null");
    browser.press("#skip", Browser::ENTER);
    let found = browser.run("return [location.hash, document.activeElement.id]", &[]);
    assert_eq!(found, json!(["#/config", "main"]));
    browser.end(&[]);
}
