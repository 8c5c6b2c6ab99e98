//! An HTTP client of the API.

use std::{sync::LazyLock, time::Duration};

use reqwest::{Client, Method, StatusCode, header::HeaderMap, redirect};
use serde_json::Value;

/// The one client for browsers, tenants' programs and WeChat. It follows no redirects.
static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    // an error means that the simulated WeChat has installed the same provider
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap()
});

/// The shared client.
#[must_use]
pub fn http_client() -> &'static Client {
    &CLIENT
}

/// An HTTP response, read to its end.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its `Content-Type`.
    pub content_type: String,
    /// Its `Location`.
    pub location: Option<String>,
    /// Its `WWW-Authenticate`.
    pub www_authenticate: Option<String>,
    /// All of its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl HttpResponse {
    /// Sends the request and reads the response.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send(request: reqwest::RequestBuilder) -> Result<Self, reqwest::Error> {
        let response = request.send().await?;
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (content_type, location) = (header("content-type").unwrap_or_default(), header("location"));
        let (status, challenge) = (response.status(), header("www-authenticate"));
        let headers = response.headers().clone();
        Ok(Self {
            status,
            content_type,
            location,
            www_authenticate: challenge,
            headers,
            text: response.text().await?,
        })
    }

    /// The page's `Refresh` header: after how long it reloads, and from where. `url` is the page's own.
    #[must_use]
    pub fn refresh_target(&self, url: &str) -> Option<(Duration, String)> {
        let (seconds, address) = self.headers.get("refresh")?.to_str().unwrap().split_once("; url=").unwrap();
        let address = reqwest::Url::parse(url).unwrap().join(address).unwrap();
        Some((Duration::from_secs(seconds.parse().unwrap()), address.into()))
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as JSON; fails if the status is another.
    #[must_use]
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that it is a problem (RFC 9457) with this status and code; a 401 names its scheme (RFC 9110).
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) {
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        assert_eq!(self.www_authenticate.as_deref(), (status == 401).then_some("Bearer"), "{self:?}");
        let problem = self.expect(status);
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "no {member}: {self:?}");
        }
        assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(status.into()), Some(code)));
    }
}

/// A client with or without an API key.
#[derive(Debug, Clone)]
pub struct ApiClient {
    /// Where the hub is.
    pub url: String,
    /// The key.
    pub key: Option<String>,
}

impl ApiClient {
    /// A request; `path` begins with a slash.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = http_client().request(method, format!("{}{path}", self.url));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> HttpResponse {
        HttpResponse::send(self.request(Method::GET, path)).await.unwrap()
    }

    /// POST.
    pub async fn post(&self, path: &str, body: &Value) -> HttpResponse {
        HttpResponse::send(self.request(Method::POST, path).json(body)).await.unwrap()
    }

    /// POST with an `Idempotency-Key`.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> HttpResponse {
        HttpResponse::send(self.request(Method::POST, path).header("Idempotency-Key", key).json(body))
            .await
            .unwrap()
    }

    /// PUT.
    pub async fn put(&self, path: &str, body: &Value) -> HttpResponse {
        HttpResponse::send(self.request(Method::PUT, path).json(body)).await.unwrap()
    }

    /// PATCH.
    pub async fn patch(&self, path: &str, body: &Value) -> HttpResponse {
        HttpResponse::send(self.request(Method::PATCH, path).json(body)).await.unwrap()
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> HttpResponse {
        HttpResponse::send(self.request(Method::DELETE, path)).await.unwrap()
    }

    /// All items of a list, page by page. Fails when pages never end.
    pub async fn list_all(&self, path: &str) -> Vec<Value> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut found, mut cursor) = (Vec::new(), String::new());
        for _ in 0..2000 {
            let page = self.get(&format!("{path}{joint}limit=200{cursor}")).await.expect(200);
            found.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
        panic!("{path} does not end");
    }
}
