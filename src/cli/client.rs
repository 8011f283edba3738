//! The HTTP client for a running service: HTTP/1.1 without TLS, which is all that a service offers.
//!
//! Calls have no time limit; the caller must set one.

use actix_web::web::Bytes;
use futures::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::fault::causes;

/// The largest body that [`Answer::json`] reads, in bytes.
const LARGEST: usize = 16 << 20;

/// A name and a value.
pub(super) type Header<'a> = (&'static str, &'a str);

/// Reuses its connections.
#[derive(Clone, Debug)]
pub(super) struct Client(hyper_util::client::legacy::Client<HttpConnector, Empty<Bytes>>);

/// A response whose head has arrived and whose body is not read yet.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub status: u16,
    body: Incoming,
}

impl Client {
    pub(super) fn new() -> Self {
        Self(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http())
    }

    /// Sends a `GET`.
    ///
    /// # Errors
    /// If the address cannot be used, nothing answers there, or the answer is not HTTP.
    pub(super) async fn get(&self, url: &str, headers: &[Header<'_>]) -> Result<Answer, String> {
        self.send(Method::GET, url, headers).await
    }

    /// Sends a `POST` without a body.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub(super) async fn post(&self, url: &str, headers: &[Header<'_>]) -> Result<Answer, String> {
        self.send(Method::POST, url, headers).await
    }

    async fn send(&self, method: Method, url: &str, headers: &[Header<'_>]) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).map_err(|error| causes(&error))?;
        let response = self.0.request(request).await.map_err(|error| causes(&error))?;
        Ok(Answer { status: response.status().as_u16(), body: response.into_body() })
    }
}

impl Answer {
    /// Reads the whole body as JSON.
    ///
    /// # Errors
    /// If the connection breaks, the body is too large, or it is not JSON.
    pub(super) async fn json(self) -> Result<Value, String> {
        let body = Limited::new(self.body, LARGEST).collect().await.map_err(|error| causes(&*error))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
    }

    /// The body as a stream of pieces, until it ends or the connection breaks.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Bytes, String>> + Unpin {
        self.body.into_data_stream().map(|piece| piece.map_err(|error| causes(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_an_error_with_its_cause() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Client::new().get(&format!("http://{free}/healthz"), &[]).await.unwrap_err();
        assert!(error.contains("refused"), "{error}");
    }
}
