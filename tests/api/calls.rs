//! Calls of `/api/v1`, and what every answer must have.

use serde_json::Value;

use super::client::{Answer, call_with_body};
use super::process::{SECRET, Service};

pub const KNOWN: (&str, &str) = ("X-Internal-Secret", SECRET);

pub fn post(service: &Service, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    call_with_body(service.address, ("POST", path), headers, body.to_string().as_bytes())
}

/// Waits for so many lines of the log that hold `text`, and answers all of them.
pub async fn audited(service: &mut Service, text: &str, times: usize) -> Vec<String> {
    let enough = |lines: &Vec<String>| lines.len() >= times;
    let what = format!("{times} times the line `{text}`");
    service.until(&what, async |service| Some(service.lines(text)).filter(enough)).await
}

/// A problem's code, after a look at its form.
pub fn code(answer: &Answer) -> String {
    assert_eq!(answer.header("Content-Type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{answer:?}");
    for part in ["type", "title", "detail"] {
        assert!(!problem[part].as_str().unwrap().is_empty(), "{answer:?}");
    }
    problem["code"].as_str().unwrap().to_owned()
}
