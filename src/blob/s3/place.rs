//! Where a bucket lies, and a client that reaches it.

use std::path::PathBuf;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::RuntimeComponents;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient,
};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::{ProxyConfig, ProxyError};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use secrecy::{ExposeSecret, SecretString};

use crate::config::{ProxySettings, trusted_roots};
use crate::fault::{Fault, FaultKind};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for one answer: a bulk deletion of a thousand keys takes a second or two.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Longest wait for an answer with the SDK's own tries.
const OPERATION: Duration = Duration::from_secs(20);
/// Tries of the SDK: connections that break, 500, 502, 503, 504, codes that mean "slow down".
const TRIES: u32 = 3;
/// Its first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A store that is not Amazon's mostly answers to this region.
const ANY_REGION: &str = "us-east-1";

/// A bucket and the way to it.
#[derive(Clone, Debug)]
pub struct S3Place {
    /// `r2` or `s3`: what the settings that lead here are called, and what the outbox remembers.
    pub driver: &'static str,
    /// The bucket.
    pub bucket: String,
    /// Its region; none: as AWS's variables and files say.
    pub region: Option<String>,
    /// The endpoint; none: Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path, not in the host's name.
    pub path_style: bool,
    /// The access key; none: AWS's own chain looks for one.
    pub keys: Option<S3Keys>,
    /// How the store is reached.
    pub way: S3Way,
}

/// The way to a store.
#[derive(Clone, Debug, Default)]
pub struct S3Way {
    /// A file of authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy between.
    pub proxy: Option<ProxySettings>,
}

/// An access key.
#[derive(Clone, Debug)]
pub struct S3Keys {
    /// Its id.
    pub id: SecretString,
    /// Its secret.
    pub secret: SecretString,
    /// What belongs to a key that is lent for a while; none: it is for good.
    pub token: Option<SecretString>,
}

impl S3Place {
    /// A client for the bucket. Nothing is asked of the store yet.
    pub(super) async fn client(&self) -> Result<Client, Fault> {
        let http = self.way.http_client()?;
        let own = self.own_chain(&http).await;
        let region = self.region(own.as_ref())?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(OPERATION)
            .build();
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES).with_initial_backoff(FIRST_PAUSE))
            // Stores that are not Amazon's refuse checksums that they do not know.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .force_path_style(self.path_style)
            .region(region);
        let config = match &self.endpoint {
            Some(endpoint) => config.endpoint_url(closed(endpoint)),
            None => config,
        };
        let config = match &self.keys {
            Some(S3Keys { id, secret, token }) => config.credentials_provider(Credentials::new(
                id.expose_secret(),
                secret.expose_secret(),
                token.as_ref().map(|token| token.expose_secret().to_owned()),
                None,
                "tikkun",
            )),
            None => config.credentials_provider(
                own.as_ref().and_then(SdkConfig::credentials_provider).ok_or_else(|| {
                    Fault::new(FaultKind::Permanent, "open the bucket: AWS's own chain knows no credentials")
                })?,
            ),
        };
        Ok(Client::from_conf(config.build()))
    }

    /// What AWS's own variables, files and instance roles say, where a setting leaves it to them.
    async fn own_chain(&self, http: &SharedHttpClient) -> Option<SdkConfig> {
        let is_needed = self.keys.is_none() || (self.region.is_none() && self.endpoint.is_none());
        if !is_needed {
            return None;
        }
        let chain = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
        let chain = match &self.region {
            Some(region) => chain.region(Region::new(region.clone())),
            None => chain,
        };
        Some(chain.load().await)
    }

    fn region(&self, own: Option<&SdkConfig>) -> Result<Region, Fault> {
        if let Some(region) = &self.region {
            return Ok(Region::new(region.clone()));
        }
        if let Some(region) = own.and_then(SdkConfig::region) {
            return Ok(region.clone());
        }
        if self.endpoint.is_some() {
            return Ok(Region::from_static(ANY_REGION));
        }
        let text = format!(
            "open the bucket `{}`: its region is not known; set `attachments.s3_region` or AWS_REGION",
            self.bucket
        );
        Err(Fault::new(FaultKind::Permanent, text))
    }
}

/// An endpoint whose path, if it has one, ends with a slash: the SDK would write the bucket's name to its last part.
fn closed(endpoint: &str) -> String {
    match endpoint.split_once("://") {
        Some((_, place)) if place.contains('/') && !place.ends_with('/') => format!("{endpoint}/"),
        _ => endpoint.to_owned(),
    }
}

impl S3Way {
    /// A client that trusts what the configuration says, and nothing that was compiled in.
    fn http_client(&self) -> Result<SharedHttpClient, Fault> {
        // Without an authority every certificate is refused; a store without TLS needs none.
        let roots = trusted_roots(self.ca_file.as_deref()).unwrap_or_default();
        let trust = TrustStore::empty().with_pem_certificate(roots);
        let cannot = || Fault::new(FaultKind::Permanent, "make a client for the store");
        let tls = TlsContext::builder().with_trust_store(trust).build();
        let tls = tls.map_err(|error| cannot().because(error))?;
        let proxy = self.proxy.as_ref().map(proxy).transpose().map_err(|error| cannot().because(error))?;
        let client = aws_smithy_http_client::Builder::new();
        Ok(client.build_with_connector_fn(move |settings, components| {
            let mut connector = Connector::builder();
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.set_proxy_config(proxy.clone());
            connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone()).build()
        }))
    }
}

fn proxy(told: &ProxySettings) -> Result<ProxyConfig, ProxyError> {
    let config = ProxyConfig::all(told.url.as_str())?.no_proxy(&told.except);
    Ok(match &told.login {
        Some((user, password)) => config.with_basic_auth(user, password.expose_secret()),
        None => config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> S3Place {
        let keys = S3Keys { id: "hunter2".into(), secret: "hunter2".into(), token: Some("hunter2".into()) };
        S3Place {
            driver: "s3",
            bucket: "b".into(),
            region: None,
            endpoint: Some("http://127.0.0.1:9".into()),
            path_style: true,
            keys: Some(keys),
            way: S3Way::default(),
        }
    }

    #[test]
    fn keys_never_show() {
        let shown = format!("{:?}", place());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[tokio::test]
    async fn a_store_that_is_not_amazons_needs_no_region() {
        let client = place().client().await.unwrap();
        assert_eq!(client.config().region().map(Region::as_ref), Some(ANY_REGION));
    }
}
