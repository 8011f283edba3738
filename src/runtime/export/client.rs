//! The HTTP client for the collector. It blocks, because only the exporter's own thread uses it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

use crate::fault::causes;

/// The time limit of one response; OTEL_EXPORTER_OTLP_TIMEOUT limits all attempts together.
const ANSWER: Duration = Duration::from_secs(10);

/// The error of the last attempt to reach the collector.
pub(super) type LastError = Arc<Mutex<Option<String>>>;

/// The client, with the runtime for its connections.
pub(super) struct BlockingClient {
    runtime: Runtime,
    client: HyperClient<HttpsConnector<HttpConnector>>,
    last_error: LastError,
}

impl BlockingClient {
    /// A client that trusts the machine's certificate authorities.
    ///
    /// # Errors
    /// If no runtime can be created, or the machine's certificates cannot be read.
    pub(super) fn new(last_error: LastError) -> std::io::Result<Self> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
        let connector = connector.https_or_http().enable_http1().build();
        let client = HyperClient::new(connector, ANSWER, None);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, client, last_error })
    }
}

impl fmt::Debug for BlockingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingClient").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for BlockingClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.runtime.block_on(self.client.send_bytes(request));
        *self.last_error.lock() = answer.as_ref().err().map(|error| causes(&**error));
        answer
    }
}
