//! How pushes reach the hub: over HTTP, or by a function call in tests.

use std::future::Future;
use std::pin::Pin;

/// The hub's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubResponse {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// The hub's response, or why there is none.
pub type HubFuture<'a> = Pin<Box<dyn Future<Output = Result<HubResponse, String>> + Send + 'a>>;

/// How pushes reach the hub: over HTTP, or by a function call in tests.
pub trait HubTransport: Send + Sync {
    /// Posts an XML body to a URL with its query.
    fn post(&self, url: String, body: String) -> HubFuture<'_>;
}

/// Over HTTP.
pub struct HttpHub(reqwest::Client);

impl HttpHub {
    /// A separate client, without proxies: the hub is local.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        // Another part of the process may have installed the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().map(Self)
    }
}

impl HubTransport for HttpHub {
    fn post(&self, url: String, body: String) -> HubFuture<'_> {
        let sent = self.0.post(url).header("content-type", "text/xml").body(body).send();
        Box::pin(async move {
            let answer = sent.await.map_err(|error| error.without_url().to_string())?;
            let status = answer.status().as_u16();
            let body = answer.text().await.map_err(|error| error.without_url().to_string())?;
            Ok(HubResponse { status, body })
        })
    }
}

/// No hub: every push fails. For tests that only call the API.
pub struct NoHub;

impl HubTransport for NoHub {
    fn post(&self, _: String, _: String) -> HubFuture<'_> {
        Box::pin(async { Err("no hub".to_owned()) })
    }
}
