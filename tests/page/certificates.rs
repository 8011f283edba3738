//! The certificate of a deletion, on the page and on paper.

use std::path::Path;

use super::browser::Browser;
use super::calls::KNOWN;
use super::ground::Ground;
use super::process::{SECRET, Service};

/// What is shown beside the certificate.
const BESIDE: &str = "
    return [...document.querySelectorAll('.top, .back, .progress-card, .certificate button')]
        .filter((one) => one.checkVisibility()).length";

#[tokio::test]
async fn a_certificate_is_shown_in_both_languages_and_printed_alone() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(789, 60).await;
    let mut service = ground
        .service()
        .set("TIKKUN_CERTIFICATE__KEY", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        .set("TIKKUN_RESCUER__INTERVAL", "100ms")
        .start()
        .await;
    let job = service.delete_all(789);
    ground.completed(&mut service, job, &tenant).await;
    let path = format!("/api/v1/deletions/{job}/certificate");
    let is_there = async |service: &Service| {
        let answer = service.call("GET", &path, &[KNOWN]);
        Some(answer).filter(|answer| answer.status == 200)
    };
    let sealed = service.until("the certificate", is_there).await.json();
    let browser = Browser::open(1000, 1400);
    let base = format!("http://{}/", service.address);
    browser.sign_in(&base, SECRET, "en");
    browser.go(&format!("{base}#/deletions/{job}"));
    browser.until("the deletion", "return document.querySelector('[data-act=certificate]') !== null");
    browser.click("[data-act=certificate]");
    for (language, title) in [("en", "Certificate of deletion"), ("he", "תעודה למחיקה")] {
        browser.choose("#language", language);
        let script = format!(
            "return document.querySelector('.certificate h2')?.textContent.startsWith({title:?}) ?? false"
        );
        browser.until(title, &script);
        let text = browser.run("return document.querySelector('.certificate').textContent", &[]);
        for part in ["hash", "signature"] {
            let value = sealed[part].as_str().unwrap();
            assert!(text.as_str().unwrap().contains(value), "no {part} in {text}");
        }
        let raw = browser.run(
            "return [...document.querySelectorAll('.certificate dt')].map((one) => one.textContent)
                 .filter((one) => /_|\\{/.test(one))",
            &[],
        );
        assert_eq!(raw.as_array().unwrap().len(), 0, "names without words: {raw}");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        browser.picture(&folder.join(format!("certificate-{language}.png")));
        assert!(browser.run(BESIDE, &[]).as_i64().unwrap() > 2);
        browser.paper(true);
        assert_eq!(browser.run(BESIDE, &[]), 0, "on paper there is the certificate alone");
        browser.picture(&folder.join(format!("certificate-{language}-paper.png")));
        browser.paper(false);
    }
    browser.end(&[]);
}
