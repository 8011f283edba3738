//! The page shows what the API returned and the URL says: numbers, filters, paths, in any number of tabs.

use serde_json::{Number, Value, json};
use tikkun::job::{Args, NewJob};

use super::browser::Browser;
use super::calls::KNOWN;
use super::ground::Ground;
use super::process::SECRET;
use super::wire::Wire;

/// The first whole number that JavaScript has no other name for.
const BIG: i64 = 9_007_199_254_740_993;

#[tokio::test]
async fn numbers_are_shown_as_they_were_given() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let float = |float| Value::Number(Number::from_f64(float).unwrap());
    let given = [json!(BIG), float(1.0), float(-0.0), json!({ "far": -BIG, "one": float(1.0) })];
    let mut args = Args::positional(given);
    args.named.insert("most".to_owned(), json!(u64::MAX));
    let echo = NewJob::new("e", "default", "tikkun.echo", Args::positional([json!([BIG, float(1.0)])]));
    ground.broker().await.enqueue(&[NewJob::new("n", "low", "shop.count", args), echo]).await.unwrap();
    let text = format!("({BIG}, 1.0, -0.0, {{\"far\":-{BIG},\"one\":1.0}}, most={})", u64::MAX);
    let job = service.call("GET", "/api/v1/jobs/n", &[KNOWN]).expect(200).json();
    assert_eq!(job["args_text"], text);
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "en");
    // The echo comes back as its result, too.
    for (id, text, times) in [("n", text, 1), ("e", format!("[{BIG},1.0]"), 2)] {
        browser.go(&format!("http://{}/#/jobs/{id}", service.address));
        let text = text.replace(' ', "");
        let found = "[...document.querySelectorAll('pre')].map((one) => one.textContent.replace(/\\s/g, ''))";
        let script = format!("return {found}.filter((one) => one.includes({text:?})).length === {times}");
        browser.until(&text, &script);
    }
    browser.end(&[]);
}

#[tokio::test]
async fn a_business_with_a_large_number_is_deleted_and_no_neighbour() {
    let ground = Ground::new().await;
    for (small, large, receipts) in [(7, BIG, 3), (8, BIG - 1, 5)] {
        ground.tenant(small, receipts).await;
        for table in ["receipts", "attachments"] {
            ground.run(format!("update {table} set business_id = {large} where business_id = {small}")).await;
        }
    }
    let mut service = ground.service().start().await;
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "en");
    browser.go(&format!("http://{}/#/deletions", service.address));
    browser.write("#tenant", &BIG.to_string());
    browser.click(".lookup button");
    browser.click("[data-act=delete-all]");
    browser.write("#typed", &BIG.to_string());
    browser.click("#dialog-yes");
    let job = browser.until("the deletion's page", "return location.hash.match(/deletions\\/(\\d+)/)?.[1]");
    ground.becomes(&mut service, job.as_str().unwrap().parse().unwrap(), "completed").await;
    assert_eq!((ground.live(BIG).await, ground.live(BIG - 1).await), (0, 5));
    browser.end(&[]);
}

#[tokio::test]
async fn the_ninth_tab_is_as_alive_as_the_first() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_HTTP__PAGE_INTERVAL", "100ms").start().await;
    let url = format!("http://{}/", service.address);
    let browser = Browser::open(1280, 900);
    browser.sign_in(&url, SECRET, "en");
    for _ in 0..8 {
        browser.tab();
        browser.go(&url);
        browser.until(
            "a board that is alive",
            "return document.querySelector('.link')?.textContent.includes('Live')",
        );
        browser.until("all of it", "return document.querySelector('.health-word') !== null");
    }
    service.call("POST", "/api/v1/queues/low/pause", &[KNOWN]).expect(200);
    let tabs = browser.tabs();
    assert_eq!(tabs.len(), 9);
    for tab in &tabs {
        browser.look_at(tab);
        browser.until("news", "return document.querySelector('[data-key=low] .badge') !== null");
    }
    browser.click("[data-act=sign-out]");
    for tab in &tabs {
        browser.look_at(tab);
        browser.until("the sign-in", "return document.querySelector('.signin') !== null");
    }
    browser.end(&["/api/v1/", "401"]);
}

/// Signs in below a path, and finds all that the page is made of there.
fn works_below(url: &str) {
    let browser = Browser::open(1280, 900);
    browser.sign_in(url, SECRET, "en");
    browser.until(
        "a board that is alive",
        "return document.querySelector('.link')?.textContent.includes('Live')",
    );
    browser.click("nav a[href='#/jobs']");
    browser.until("a job", "return document.querySelector('[data-key=one]') !== null");
    browser.go(&format!("{url}#/config"));
    browser.until("the settings", "return document.querySelector('.settings') !== null");
    let drawn = "return [...document.images].every((one) => one.complete && one.naturalWidth > 0)";
    browser.until("the pictures", drawn);
    browser.end(&[]);
}

#[tokio::test]
async fn the_page_works_below_a_path() {
    let ground = Ground::new().await;
    let job = NewJob::new("one", "low", "shop.greet", Args::default());
    ground.broker().await.enqueue(&[job]).await.unwrap();
    let root = ground.service().start().await;
    let stripping = Wire::below(root.address, "/ops/tikkun");
    works_below(&format!("http://{}/ops/tikkun/", stripping.address));
    let service = ground.service().set("TIKKUN_HTTP__BASE_PATH", "/ops/tikkun").start().await;
    works_below(&format!("http://{}/ops/tikkun/", service.address));
    let stripping = Wire::below(service.address, "/ops/tikkun");
    works_below(&format!("http://{}/ops/tikkun/", stripping.address));
    let led = service.call("GET", "/ops/tikkun", &[]).expect(308);
    assert_eq!(led.header("Location"), Some("/ops/tikkun/"));
    service.call("GET", "/ops/tikkun/healthz", &[]).expect(200);
    service.call("GET", "/healthz", &[]).expect(200);
    service.call("GET", "/ops/tikkun/api/jobs/stats", &[]).expect(401);
    service.call("GET", "/ops/tikkun/api/jobs/stats", &[KNOWN]).expect(200);
    let body = json!({ "secret": SECRET });
    let signed_in = super::calls::post(&service, "/ops/tikkun/api/v1/session", &[], &body).expect(200);
    let cookie = signed_in.header("Set-Cookie").unwrap();
    assert!(cookie.contains("; Path=/ops/tikkun;"), "{cookie}");
}

#[tokio::test]
async fn the_address_says_which_jobs_are_shown_and_a_tile_forgets_what_was_filtered_before() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let failing = |id: &str| NewJob::new(id, "default", "tikkun.fail", Args::positional([json!("no luck")]));
    let waiting = NewJob::new("waits", "low", "shop.greet", Args::default());
    ground.broker().await.enqueue(&[failing("one"), failing("two"), waiting]).await.unwrap();
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "en");
    let rows = |keys: &str| {
        let script = format!(
            "return location.hash + [...document.querySelectorAll('.jobs .row')].map((row) => row.dataset.key).sort() === {keys:?}"
        );
        browser.until(keys, &script);
    };
    browser.go(&format!("http://{}/#/jobs", service.address));
    browser.choose("#queue", "low");
    rows("#/jobs?queue=lowwaits");
    browser.write("#search", "wai");
    rows("#/jobs?search=wai&queue=lowwaits");
    browser.reload();
    rows("#/jobs?search=wai&queue=lowwaits");
    browser.click("nav a[href='#/overview']");
    browser.until(
        "two that failed",
        "return document.querySelector('.tile.bad .tile-value')?.textContent === '2'",
    );
    browser.click(".tile.bad");
    rows("#/jobs?state=failedone,two");
    browser.click("[data-key=one] a");
    browser.click(".back a");
    rows("#/jobs?state=failedone,two");
    browser.click("nav a[href='#/jobs']");
    rows("#/jobsone,two,waits");
    browser.end(&[]);
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_answered_by_a_sentence() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let browser = Browser::open(1280, 900);
    browser.sign_in(&format!("http://{}/", service.address), SECRET, "en");
    for broken in ["jobs/%", "%E0%A4%A", "nothing", "constructor", "job", "tree/9", "jobs/a/b"] {
        browser.go(&format!("http://{}/#/{broken}", service.address));
        browser.until(
            &format!("a sentence for #/{broken}"),
            "return document.querySelector('h1')?.textContent === 'There is no such page'",
        );
        browser.click("main a");
        browser.until("the overview", "return document.querySelector('.health-word') !== null");
    }
    browser.end(&[]);
}
