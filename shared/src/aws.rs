//! The SDK's clients, built so that a function starts fast.
//!
//! Reading the system's 140 root certificates would be the slowest part of a start,
//! so AWS's own endpoints are verified with Amazon Trust Services' five roots alone
//! ([`TrustedRoots::Amazon`]). Where these may not suffice, the system's are read.
//!
//! Every request has a timeout. WeChat waits five seconds for the response to a push, and a connection may
//! be dead without notice, for one after a freeze; so an attempt is abandoned early enough for a second one.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{behavior_version::BehaviorVersion, http::SharedHttpClient};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};

use crate::config::Resources;

/// How often a request is sent in all. One that was not answered may have been applied: `store/owner.rs`.
pub const MAX_ATTEMPTS: u32 = 3;
/// How long one attempt may take. DynamoDB answers in milliseconds; a response that is this late will not
/// come. Two attempts and the wait between them leave 1.9 of WeChat's five seconds. Long polls do not fit in.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long a request may take with all its attempts: the third one is cut short, so that a push still gets its 503.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
/// How long connecting may take, within an attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest wait before the second attempt, and half of the longest before
/// the third; the actual wait is random. The SDK's default is a second.
const INITIAL_BACKOFF: Duration = Duration::from_millis(50);
/// Connections that were idle for longer are not reused: the services close
/// theirs sooner than the SDK's 90 s, and a frozen function does not notice.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The SDK defaults that these clients were tested with. `latest()` would change them unseen with an upgrade.
#[must_use]
pub fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

fn retry_config() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS).with_initial_backoff(INITIAL_BACKOFF)
}

fn timeout_config() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// DynamoDB's client as every function has it, without credentials and HTTP client.
#[must_use]
pub fn dynamodb_config(region: &str) -> aws_sdk_dynamodb::config::Builder {
    aws_sdk_dynamodb::Config::builder()
        .behavior_version(behavior_version())
        .region(aws_sdk_dynamodb::config::Region::new(region.to_owned()))
        .retry_config(retry_config())
        .timeout_config(timeout_config())
}

/// SQS's client as every function has it, without credentials and HTTP client.
#[must_use]
pub fn sqs_config(region: &str) -> aws_sdk_sqs::config::Builder {
    aws_sdk_sqs::Config::builder()
        .behavior_version(behavior_version())
        .region(aws_sdk_sqs::config::Region::new(region.to_owned()))
        .retry_config(retry_config())
        .timeout_config(timeout_config())
}

/// The five roots, as PEM.
const AMAZON_ROOTS: &[u8] = include_bytes!("aws/amazon_roots.pem");

/// The clients; clones share their connections.
#[derive(Clone)]
pub struct AwsClients {
    /// DynamoDB.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
}

impl AwsClients {
    /// Clients for `resources`: its endpoints where it names any, otherwise
    /// AWS's own. `credentials` are those that Lambda puts in the environment.
    #[must_use]
    pub fn new(resources: &Resources, credentials: Credentials) -> Self {
        let http = http_client(resources);
        let dynamodb = dynamodb_config(&resources.region)
            .credentials_provider(credentials.clone())
            .http_client(http.clone());
        let dynamodb = match &resources.dynamodb_url {
            Some(url) => dynamodb.endpoint_url(url),
            None => dynamodb,
        };
        let sqs = sqs_config(&resources.region).credentials_provider(credentials).http_client(http);
        let sqs = match &resources.sqs_url {
            Some(url) => sqs.endpoint_url(url),
            None => sqs,
        };
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
        }
    }
}

/// Which root certificates connections to DynamoDB and SQS are verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrustedRoots {
    /// None: all connections are plain HTTP.
    None,
    /// Amazon Trust Services.
    Amazon,
    /// What the system trusts, or the file that `SSL_CERT_FILE` names.
    System,
}

impl TrustedRoots {
    /// AWS documents that its endpoints chain to Amazon's roots, but not for its partition in
    /// China; an endpoint of the operator's own, or a TLS-inspecting proxy, may use any root.
    fn of(resources: &Resources) -> Self {
        let urls = [&resources.dynamodb_url, &resources.sqs_url];
        if urls.iter().all(|url| url.as_ref().is_some_and(|url| url.starts_with("http://"))) {
            Self::None
        } else if resources.has_custom_ca_bundle
            || resources.region.starts_with("cn-")
            || urls.iter().any(|url| url.is_some())
        {
            Self::System
        } else {
            Self::Amazon
        }
    }
}

fn http_client(resources: &Resources) -> SharedHttpClient {
    let store = match TrustedRoots::of(resources) {
        TrustedRoots::None => return Builder::new().pool_idle_timeout(POOL_IDLE_TIMEOUT).build_http(),
        TrustedRoots::Amazon => TrustStore::empty().with_pem_certificate(AMAZON_ROOTS),
        TrustedRoots::System => TrustStore::default(),
    };
    let https =
        Builder::new().pool_idle_timeout(POOL_IDLE_TIMEOUT).tls_provider(Provider::Rustls(CryptoMode::Ring));
    match TlsContext::builder().with_trust_store(store).build() {
        Ok(context) => https.tls_context(context).build_https(),
        Err(_) => https.build_https(), // the builder checks nothing today; the default trusts the system
    }
}

#[cfg(test)]
mod tests {
    use rustls::{
        RootCertStore,
        pki_types::{CertificateDer, pem::PemObject},
    };
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_embedded_roots_are_amazons_five() {
        let roots: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(AMAZON_ROOTS).collect::<Result<_, _>>().unwrap();
        let prints: Vec<String> = roots
            .iter()
            .map(|root| Sha256::digest(root).iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        // as browsers show them: Amazon Root CA 1 to 4, Starfield Services Root Certificate Authority - G2
        assert_eq!(
            prints,
            [
                "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
                "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
                "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
                "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
                "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
            ]
        );
        let mut store = RootCertStore::empty();
        assert_eq!(store.add_parsable_certificates(roots), (5, 0));
    }

    /// An upgrade of the SDK that changes defaults fails here: read what it changes, then take its version.
    #[test]
    fn the_sdks_defaults_are_those_that_were_tried() {
        assert!(
            behavior_version() == BehaviorVersion::latest(),
            "the SDK has newer defaults than {:?}",
            behavior_version()
        );
    }

    #[test]
    fn every_request_ends_in_time_for_a_second_attempt() {
        let clients = AwsClients::new(&Resources::default(), Credentials::new("a", "b", None, None, "test"));
        let (dynamodb, sqs) = (clients.dynamodb.config(), clients.sqs.config());
        let set = [
            (dynamodb.timeout_config(), dynamodb.retry_config()),
            (sqs.timeout_config(), sqs.retry_config()),
        ];
        for (timeouts, retries) in set {
            let (timeouts, retries) = (timeouts.unwrap(), retries.unwrap());
            let attempt = timeouts.operation_attempt_timeout().unwrap();
            assert!(2 * attempt + retries.initial_backoff() < Duration::from_secs(4));
            assert!(timeouts.operation_timeout().unwrap() < Duration::from_secs(5), "WeChat's patience");
            assert!(timeouts.connect_timeout().unwrap() < attempt);
            assert_eq!(retries.max_attempts(), MAX_ATTEMPTS);
        }
    }

    #[test]
    fn only_aws_itself_is_trusted_by_amazons_roots() {
        let (http, https) = (Some("http://127.0.0.1:8000"), Some("https://dynamodb.example"));
        for (what, region, dynamodb, sqs, own, roots) in [
            ("AWS", "eu-central-1", None, None, false, TrustedRoots::Amazon),
            ("AWS, with a bundle of the operator's", "eu-central-1", None, None, true, TrustedRoots::System),
            ("AWS in China", "cn-north-1", None, None, false, TrustedRoots::System),
            ("an endpoint of the operator's", "eu-central-1", https, None, false, TrustedRoots::System),
            ("one of both on this machine", "eu-central-1", http, None, false, TrustedRoots::System),
            ("both on this machine", "us-east-1", http, http, false, TrustedRoots::None),
        ] {
            let resources = Resources {
                region: region.into(),
                dynamodb_url: dynamodb.map(str::to_owned),
                sqs_url: sqs.map(str::to_owned),
                has_custom_ca_bundle: own,
                ..Resources::default()
            };
            assert_eq!(TrustedRoots::of(&resources), roots, "{what}");
            let _ = http_client(&resources); // panics where a root cannot be read
        }
    }
}
