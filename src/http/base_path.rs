//! The path under which browsers see the page; a proxy in front may strip it or pass it on.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::uri::{PathAndQuery, Uri};
use actix_web::http::{StatusCode, header};

/// A path such as `/tikkun`; empty for the root.
#[derive(Clone, Debug)]
pub struct BasePath(Arc<str>);

impl Default for BasePath {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

impl BasePath {
    /// A path that begins with a slash and does not end with one, or an empty path.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(Arc::from(path))
    }

    /// The `Path` attribute of the page's cookie.
    pub(super) fn of_cookie(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// Strips the path from a request that has it, so that routes are the same with and without it. If the
    /// request is for the path alone, returns a redirect to the page, whose files are next to its address.
    pub(super) fn take_off(&self, request: &mut ServiceRequest) -> Option<HttpResponse> {
        let rest = request.uri().path_and_query()?.as_str().strip_prefix(&*self.0)?;
        if self.0.is_empty() || !(rest.is_empty() || rest.starts_with(['/', '?'])) {
            return None;
        }
        if !rest.starts_with('/') {
            let place = format!("{}/{rest}", self.0);
            let mut answer = HttpResponse::build(StatusCode::PERMANENT_REDIRECT);
            return Some(answer.insert_header((header::LOCATION, place)).finish());
        }
        let path = rest.parse::<PathAndQuery>().ok()?;
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(path);
        let uri = Uri::from_parts(parts).ok()?;
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn asked(base: &str, path: &str) -> (String, Option<String>) {
        let mut request = TestRequest::with_uri(path).to_srv_request();
        let answer = BasePath::new(base).take_off(&mut request);
        let place =
            answer.map(|answer| answer.headers().get(header::LOCATION).unwrap().to_str().unwrap().to_owned());
        assert_eq!(request.match_info().unprocessed(), request.path(), "it is routed by what it says");
        (request.uri().to_string(), place)
    }

    #[test]
    fn what_comes_with_the_path_is_as_what_comes_without() {
        for (path, seen) in [
            ("/ops/tikkun/", "/"),
            ("/ops/tikkun/api/v1/jobs?search=/ops/tikkun/", "/api/v1/jobs?search=/ops/tikkun/"),
            ("/ops/tikkun/api/v1/jobs/a%2Fb", "/api/v1/jobs/a%2Fb"),
            ("/api/v1/jobs", "/api/v1/jobs"),
            ("/ops/tikkuns/", "/ops/tikkuns/"),
        ] {
            assert_eq!(asked("/ops/tikkun", path), (seen.to_owned(), None), "{path}");
            assert_eq!(asked("", path), (path.to_owned(), None), "{path}");
        }
    }

    #[test]
    fn the_path_alone_leads_to_the_page() {
        let (_, place) = asked("/ops/tikkun", "/ops/tikkun");
        assert_eq!(place.as_deref(), Some("/ops/tikkun/"));
        assert_eq!(asked("/ops/tikkun", "/ops/tikkun?x=1").1.as_deref(), Some("/ops/tikkun/?x=1"));
    }
}
