//! The page's files and their headers: no inline code, nothing from other origins, no framing.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use sha2::{Digest as _, Sha256};

struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! script {
    ($name:literal) => {
        File { path: concat!("/page/", $name), kind: SCRIPT, text: include_str!(concat!("assets/", $name)) }
    };
}

/// All files of the page.
const FILES: &[File] = &[
    File { path: "/", kind: "text/html; charset=utf-8", text: include_str!("assets/index.html") },
    File { path: "/page/app.css", kind: "text/css; charset=utf-8", text: include_str!("assets/app.css") },
    File { path: "/page/mark.svg", kind: "image/svg+xml", text: include_str!("assets/mark.svg") },
    script!("app.js"),
    script!("actions.js"),
    script!("address.js"),
    script!("bulk.js"),
    script!("charts.js"),
    script!("client.js"),
    script!("dialog.js"),
    script!("dom.js"),
    script!("en.js"),
    script!("exact.js"),
    script!("he.js"),
    script!("i18n.js"),
    script!("parts.js"),
    script!("rows.js"),
    script!("state.js"),
    script!("stream.js"),
    script!("times.js"),
    script!("views/certificate.js"),
    script!("views/config.js"),
    script!("views/deletion.js"),
    script!("views/deletions.js"),
    script!("views/job.js"),
    script!("views/jobs.js"),
    script!("views/nowhere.js"),
    script!("views/overview.js"),
    script!("views/signin.js"),
    script!("views/tree.js"),
];

/// Everything is loaded from this origin, and inline code is forbidden.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Changes with every file, so that a browser never mixes two versions.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for file in FILES {
        hash.update(file.text);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
});

/// Adds the routes of the page's files.
pub(in crate::http) fn routes(config: &mut web::ServiceConfig) {
    for file in FILES {
        config.service(
            web::resource(file.path)
                .route(web::get().to(async |request: HttpRequest| answer(&request, file))),
        );
    }
}

fn answer(request: &HttpRequest, file: &'static File) -> HttpResponse {
    let tag = header::EntityTag::new_strong(TAG.clone());
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|given| given.to_str().ok());
    let same = known.is_some_and(|given| given.split(',').any(|one| one.trim() == tag.to_string()));
    let mut answer = if same { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header(header::ETag(tag))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(("Cross-Origin-Opener-Policy", "same-origin"));
    if same { answer.finish() } else { answer.content_type(file.kind).body(file.text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_load_is_small() {
        let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(bytes < 160_000, "the page has {bytes} bytes");
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_is_inline() {
        for file in FILES {
            let elsewhere = file.text.replace("http://www.w3.org/", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{}", file.path);
            assert!(!file.text.contains("innerHTML") && !file.text.contains("style=\""), "{}", file.path);
        }
    }

    #[test]
    fn a_view_is_a_function_of_what_it_is_given() {
        let views = FILES.iter().filter(|file| file.path.starts_with("/page/views/"));
        for file in views.clone() {
            for known in ["state.js", "document", "window", "location", "addEventListener", "Date.now"] {
                assert!(!file.text.contains(known), "{} knows {known}", file.path);
            }
        }
        assert!(views.count() > 7);
    }

    #[test]
    fn both_languages_say_everything() {
        let keys = |path: &str| -> Vec<&str> {
            let file = FILES.iter().find(|file| file.path.ends_with(path)).unwrap();
            // Keys are indented by two spaces; lines with a deeper indentation are variants of a text.
            let keys = file.text.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(':'));
            keys.map(|(key, _)| key)
                .filter(|key| key.chars().all(|c| c == '_' || c.is_alphanumeric()))
                .collect()
        };
        assert!(keys("/en.js").len() > 200);
        assert_eq!(keys("/en.js"), keys("/he.js"));
    }
}
