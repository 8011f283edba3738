//! The appearance and accessibility (axe-core) of every view, in both languages and both colour schemes.
//!
//! `SCREENSHOTS=write` writes the screenshots of README and docs/page.md to `docs/screenshots`.

use std::path::{Path, PathBuf};

use serde_json::json;
use tikkun::job::{Args, NewJob};

use super::browser::Browser;
use super::ground::Ground;
use super::process::SECRET;

/// Views, and what tells that they are there.
const VIEWS: [(&str, &str); 7] = [
    ("overview", ".spark"),
    ("jobs", "tbody tr"),
    ("jobs/fail-in-receipts-1", ".timeline li"),
    ("deletions", ".deletion"),
    ("deletions/1", ".rate-chart"),
    ("tree", ".tree .node"),
    ("config", "tbody tr"),
];

/// Those that docs/page.md shows.
const SHOWN: [(&str, &str); 3] = [("overview", "overview"), ("deletions/1", "deletion"), ("tree", "tree")];

fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::env::var("SCREENSHOTS").is_ok_and(|wish| wish == "write") {
        return root.join("docs/screenshots");
    }
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots")
}

/// What axe-core finds that is serious or worse, in words.
fn findings(browser: &Browser, axe: &str) -> Vec<String> {
    browser.run(axe, &[]);
    let found = browser.run_until_told(
        "const told = arguments[arguments.length - 1];
         axe.run(document).then((found) => told(found.violations
            .filter((one) => ['serious', 'critical'].includes(one.impact))
            .map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).slice(0, 3).join(' | ')}`)),
            (error) => told([String(error)]))",
    );
    found.as_array().unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn every_view_is_fit_for_all_eyes_and_the_console_stays_silent() {
    let axe = std::fs::read_to_string(Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe/package/axe.min.js"))
        .expect("axe-core: tests/run fetches it");
    let ground = Ground::new().await;
    ground.tenant(789, 4000).await;
    let service = ground
        .service()
        .set("TIKKUN_DIAGNOSTICS__ENABLED", "true")
        .set("TIKKUN_DELETION__BATCH", "20")
        .set("TIKKUN_DELETION__THROTTLE", "400ms")
        .set("RQ_QUEUES", "high,default,receipts,maintenance")
        .failing("scheduler.tick=2*off->1*panic(the clock fell off the wall)->off")
        .start()
        .await;
    let broker = ground.broker().await;
    let jobs = |kind: &str, count: i32, queue: &str, args: Args| -> Vec<NewJob> {
        let name = kind.rsplit('.').next().unwrap();
        (1..=count)
            .map(|i| NewJob::new(format!("{name}-in-{queue}-{i}"), queue, kind, args.clone()))
            .collect()
    };
    let text = Args::positional([json!("hello")]);
    broker.enqueue(&jobs("tikkun.echo", 40, "default", text.clone())).await.unwrap();
    let failing = Args::positional([json!("the mail server said 421: try again later")]);
    broker.enqueue(&jobs("tikkun.fail", 1, "receipts", failing)).await.unwrap();
    broker.enqueue(&jobs("tikkun.echo", 7, "broadcasts", text)).await.unwrap();
    let browser = Browser::open(1280, 900);
    let base = format!("http://{}/", service.address);
    browser.sign_in(&base, SECRET, "en");
    assert_eq!(service.delete_all(789), 1);
    let mut found = Vec::new();
    for language in ["en", "he"] {
        for theme in ["light", "dark"] {
            browser.choose("#language", language);
            browser.choose("#theme", theme);
            for (view, sign) in VIEWS {
                browser.go(&format!("{base}#/{view}"));
                browser.until(view, &format!("return document.querySelector({sign:?}) !== null"));
                let seen = findings(&browser, &axe);
                found.extend(seen.into_iter().map(|one| format!("{language} {theme} {view}: {one}")));
                let name = SHOWN.iter().find(|(shown, _)| *shown == view).map(|(_, name)| *name);
                if let Some(name) = name {
                    browser.picture(&folder().join(format!("{name}-{language}-{theme}.png")));
                } else if folder().starts_with(env!("CARGO_TARGET_TMPDIR")) {
                    let name = view.replace('/', "-");
                    browser.picture(&folder().join(format!("more-{name}-{language}-{theme}.png")));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    browser.end(&[]);
}

#[tokio::test]
async fn a_narrow_screen_scrolls_in_one_direction_only_and_signing_in_is_fit_for_all_eyes() {
    let axe = std::fs::read_to_string(Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe/package/axe.min.js"))
        .expect("axe-core: tests/run fetches it");
    let ground = Ground::new().await;
    ground.tenant(789, 300).await;
    let slow = ground.service().set("TIKKUN_DELETION__BATCH", "10").set("TIKKUN_DELETION__THROTTLE", "1s");
    let service = slow.set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let args = Args::positional([json!("the mail server said 421: try again later")]);
    let failing = NewJob::new("2f1d0d4c-7b5a-4a44-9d44-0c1c44b1d7a2", "receipts", "tikkun.fail", args);
    ground.broker().await.enqueue(&[failing]).await.unwrap();
    let browser = Browser::open(360, 780);
    let base = format!("http://{}/", service.address);
    browser.go(&base);
    browser.until("the sign-in", "return document.querySelector('#secret') !== null");
    assert_eq!(findings(&browser, &axe), Vec::<String>::new());
    browser.sign_in(&base, SECRET, "he");
    let job = "jobs/2f1d0d4c-7b5a-4a44-9d44-0c1c44b1d7a2";
    let deletion = format!("deletions/{}", service.delete_all(789));
    for view in ["overview", "jobs", job, "deletions", &deletion, "tree", "config"] {
        browser.go(&format!("{base}#/{view}"));
        browser.until(
            view,
            "return document.querySelector('h1') !== null && document.querySelector('.loading') === null",
        );
        let over = browser.run("return document.documentElement.scrollWidth - innerWidth", &[]);
        assert!(over.as_i64().unwrap() <= 0, "{view} is {over} pixels too wide");
        browser.picture(
            &Path::new(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("screenshots/narrow-{}.png", &view.replace('/', "-"))),
        );
    }
    browser.end(&[]);
}

#[tokio::test]
async fn the_page_is_as_light_or_dark_as_the_system_until_somebody_chooses() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let browser = Browser::open(1280, 900);
    browser.go(&format!("http://{}/", service.address));
    let is = |paper: &str| {
        let script = format!("return getComputedStyle(document.body).backgroundColor === {paper:?}");
        browser.until(paper, &script);
    };
    let (light, dark) = ("rgb(245, 244, 240)", "rgb(17, 21, 27)");
    browser.system("light");
    is(light);
    browser.system("dark");
    is(dark);
    browser.choose("#theme", "light");
    is(light);
    browser.system("light");
    browser.choose("#theme", "dark");
    is(dark);
    browser.choose("#theme", "auto");
    is(light);
    browser.end(&[]);
}
