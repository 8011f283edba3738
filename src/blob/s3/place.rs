//! The location of a bucket, and a client for it.

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

/// The time limit for connecting.
const CONNECT: Duration = Duration::from_secs(3);
/// The time limit for one answer; a bulk deletion of a thousand keys takes one or two seconds.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The time limit for a call with the SDK's own attempts.
const OPERATION: Duration = Duration::from_secs(20);
/// The SDK's attempts, after broken connections, 500, 502, 503, 504, and codes that mean "slow down".
const TRIES: u32 = 3;
/// The SDK's first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The region that most stores other than Amazon's accept.
const ANY_REGION: &str = "us-east-1";

/// A bucket and how to reach it.
#[derive(Clone, Debug)]
pub struct S3Place {
    /// `r2` or `s3`: the prefix of the settings, and the name in the outbox.
    pub driver: &'static str,
    /// The bucket.
    pub bucket: String,
    /// Its region; `None`: taken from AWS's variables and files.
    pub region: Option<String>,
    /// The endpoint; `None`: Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket is in the URL's path, not in the host name.
    pub path_style: bool,
    /// The access key; `None`: AWS's default chain finds one.
    pub keys: Option<S3Keys>,
    /// The network settings.
    pub way: S3Way,
}

/// The network settings for a store.
#[derive(Clone, Debug, Default)]
pub struct S3Way {
    /// A file of certificate authorities to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy to use.
    pub proxy: Option<ProxySettings>,
}

/// An access key.
#[derive(Clone, Debug)]
pub struct S3Keys {
    /// Its id.
    pub id: SecretString,
    /// Its secret.
    pub secret: SecretString,
    /// The session token of a temporary key; `None` for a permanent one.
    pub token: Option<SecretString>,
}

impl S3Place {
    /// A client for the bucket. It sends no request yet.
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
            // Other stores than Amazon's reject checksums that they do not know.
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

    /// AWS's own configuration, from variables, files and instance roles, if a setting is left to it.
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

/// The endpoint with a slash after its path: without it the SDK joins the bucket's name to the last part.
fn closed(endpoint: &str) -> String {
    match endpoint.split_once("://") {
        Some((_, place)) if place.contains('/') && !place.ends_with('/') => format!("{endpoint}/"),
        _ => endpoint.to_owned(),
    }
}

impl S3Way {
    /// A client that trusts the configured authorities, and no compiled-in ones.
    fn http_client(&self) -> Result<SharedHttpClient, Fault> {
        // Without an authority every certificate is rejected; a store without TLS needs none.
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
