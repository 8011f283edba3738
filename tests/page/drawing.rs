//! The page redraws only what changed, while relative times go on counting.

use serde_json::json;

use super::browser::Browser;
use super::ground::Ground;
use super::process::SECRET;

/// Elements that are made within some seconds, and whether the counted times went on.
const DRAWN: &str = "
    const told = arguments[arguments.length - 1], make = document.createElement;
    const times = () => [...document.querySelectorAll('time[data-counted]')].map((one) => one.textContent).join();
    const before = times();
    let made = 0, news = 0;
    document.createElement = function (...names) { made += 1; return make.apply(this, names); };
    addEventListener('board-queues', () => { news += 1; });
    fetch('/api/v1/session').then((answer) => answer.json()).then((session) =>
        fetch('/api/v1/queues/low/pause', { method: 'POST', headers: { 'X-CSRF-Token': session.csrf_token } }));
    setTimeout(() => { document.createElement = make; told([made, times() !== before, news > 0]); }, 4000);";

#[tokio::test]
async fn nothing_is_drawn_while_nothing_changes_and_the_times_go_on() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "en");
    browser.go(&format!("http://{}/#/tree", service.address));
    browser.until("the tree", "return document.querySelector('.tree time') !== null");
    let drawn = browser.run_until_told(DRAWN);
    assert_eq!(
        drawn,
        json!([0, true, true]),
        "elements made, times went on, another part of the board had news"
    );
    browser.end(&[]);
}
