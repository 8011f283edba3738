//! Ten thousand jobs in the list: loaded by scrolling, shown with few rows, and not redrawn by changes
//! elsewhere.

use std::time::{Duration, Instant};

use serde_json::Value;
use tikkun::job::{Args, NewJob};

use super::browser::Browser;
use super::ground::Ground;
use super::process::SECRET;

const JOBS: usize = 10_000;
/// More rows than a window of this size shows, with those that are kept ready around it.
const ROWS: i64 = 80;

fn rows(browser: &Browser) -> i64 {
    browser.run("return document.querySelectorAll('.jobs tbody tr').length", &[]).as_i64().unwrap()
}

fn loaded(browser: &Browser) -> usize {
    let told = browser.run("return document.querySelector('.toolbar [role=status]').textContent", &[]);
    told.as_str().unwrap().chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

/// What one change of the board does to the list: rows that are new, rows that were touched.
const TOUCHED: &str = "
    const told = arguments[arguments.length - 1], rows = new Set();
    let added = 0;
    new MutationObserver((changes) => changes.forEach((change) => {
        added += [...change.addedNodes].filter((node) => node.nodeName === 'TR').length;
        const at = change.target.nodeType === 1 ? change.target : change.target.parentElement;
        if (at?.closest('tr')) rows.add(at.closest('tr'));
    })).observe(document.querySelector('.jobs tbody'), { subtree: true, childList: true, attributes: true, characterData: true });
    const frame = () => new Promise(requestAnimationFrame);
    addEventListener('board-queues', async () => { await frame(); await frame(); await frame(); told([added, rows.size]); }, { once: true });
    fetch('/api/v1/session').then((answer) => answer.json()).then((session) =>
        fetch('/api/v1/queues/low/pause', { method: 'POST', headers: { 'X-CSRF-Token': session.csrf_token } }));";

#[tokio::test]
async fn ten_thousand_jobs_are_held_by_few_rows_and_no_change_elsewhere_draws_them_anew() {
    let ground = Ground::new().await;
    let service = ground.service().set("RQ_QUEUES", "maintenance").start().await;
    let job = |i: usize| NewJob::new(format!("job-{i}"), "default", "shop.greet", Args::default());
    let broker = ground.broker().await;
    for thousand in 0..10 {
        let jobs: Vec<_> = (thousand * 1000..(thousand + 1) * 1000).map(job).collect();
        broker.enqueue(&jobs).await.unwrap();
    }
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "en");
    browser.go(&format!("http://{}/#/jobs", service.address));
    browser.until("the first jobs", "return document.querySelector('.jobs .row') !== null");
    let began = Instant::now();
    while loaded(&browser) < JOBS {
        browser.run("scrollTo(0, document.documentElement.scrollHeight)", &[]);
        let there = rows(&browser);
        assert!(there <= ROWS, "{there} rows in the document, {} jobs loaded", loaded(&browser));
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited for {JOBS} jobs, {} came",
            loaded(&browser)
        );
    }
    browser.run("scrollTo(0, document.documentElement.scrollHeight)", &[]);
    browser.until("the oldest job", "return document.querySelector('[data-key=job-0]') !== null");
    browser.run("scrollTo(0, document.documentElement.scrollHeight / 2)", &[]);
    browser.until("one from the middle", "return document.querySelector('[data-key=job-5000]') !== null");
    let there = rows(&browser);
    assert!(there <= ROWS, "{there} rows in the document");
    let Value::Array(touched) = browser.run_until_told(TOUCHED) else { panic!("two numbers") };
    assert_eq!(touched[0], 0, "no row is drawn anew");
    assert!(touched[1].as_i64().unwrap() <= there, "{touched:?}");
    browser.run("scrollTo(0, 0)", &[]);
    browser.until("the newest job", "return document.querySelector('[data-key=job-9999]') !== null");
    browser.end(&[]);
}
