//! Jobs in Python on the page.

use serde_json::json;

use super::browser::Browser;
use crate::python_jobs::ground::{Ground, Rq};
use crate::service::process::SECRET;

#[test]
fn a_python_job_is_followed_to_its_traceback() {
    let mut ground = Ground::new(Rq::Three);
    let id = ground.enqueue("default", "follows", &json!(["words"]), &json!({}));
    let mut run = ground.run(&[], &ground.worker(&["default"]));
    ground.until(&id, "started", &mut run);
    run.get_until("/readyz", |answer| answer.status == 200);
    let url = format!("http://{}/", run.address().unwrap());
    let browser = Browser::open(1280, 900);
    browser.sign_in(&url, SECRET, "en");
    browser.until("the process", "return document.body.innerText.includes('Python processes')");
    browser.go(&format!("{url}#/jobs/{id}"));
    for (word, far) in [("one", 25), ("two", 50)] {
        ground.redis.ask(&["RPUSH", "words", word]);
        let log = format!("return document.querySelector('.log')?.innerText.includes('heard {word}')");
        browser.until("its log to grow", &log);
        let bar = format!(
            "return document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') == '{far}'"
        );
        browser.until("its bar to move", &bar);
    }
    ground.redis.ask(&["RPUSH", "words", "fail"]);
    let told = "return document.body.innerText.includes('Traceback (most recent call last)')
        && document.body.innerText.includes('ValueError: no <b>luck</b> at fail')";
    browser.until("its traceback", told);
    browser.end(&[]);
}
