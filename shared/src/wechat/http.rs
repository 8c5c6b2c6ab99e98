//! The production transport: reqwest over rustls, built on the first call
//! so that a cold start that never calls WeChat does not pay for it.

use std::{error::Error, sync::OnceLock, time::Duration};

use futures::future::BoxFuture;

use super::transport::{
    MAX_RESPONSE_BODY_BYTES, Method, Transport, TransportError, WeChatRequest, WeChatResponse,
};

/// Longest wait for a connection. Below half of [`TOTAL_TIMEOUT`], so that a slow handshake still leaves
/// time for the answer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(4500);
/// Longest wait for a whole response, connection included.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept. Short, because a Lambda that was frozen wakes with dead ones.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept to the API host. One Lambda instance has ten calls in flight;
/// a machine that runs several batches at once would reconnect for every other call.
pub const MAX_IDLE_CONNECTIONS: usize = 128;

/// HTTP(S) with a pool of idle connections. Redirects are not followed: the query carries a token.
///
/// `https` honours `HTTPS_PROXY`, which deployments with a fixed egress proxy set. Plain
/// `http` is the simulator on this machine: it needs no proxy and no root certificates.
#[derive(Default)]
pub struct HttpTransport {
    https: OnceLock<Result<reqwest::Client, String>>,
    http: OnceLock<Result<reqwest::Client, String>>,
}

impl HttpTransport {
    /// Does not connect yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn client(&self, url: &str) -> Result<&reqwest::Client, TransportError> {
        let client = if url.starts_with("http://") {
            self.http.get_or_init(|| build(builder().no_proxy().tls_certs_only([])))
        } else {
            self.https.get_or_init(|| build(builder()))
        };
        client.as_ref().map_err(|why| TransportError::NotSent(why.clone()))
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
        .redirect(reqwest::redirect::Policy::none())
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, String> {
    // Fails only when the process already has a provider, which is then used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder.build().map_err(|why| error_text(&why.without_url()))
}

impl Transport for HttpTransport {
    fn send<'a>(&'a self, request: WeChatRequest) -> BoxFuture<'a, Result<WeChatResponse, TransportError>> {
        Box::pin(async move {
            let client = self.client(&request.url)?;
            let call = match request.method {
                Method::Get => client.get(&request.url),
                Method::Post => client.post(&request.url),
            };
            let call = match request.body {
                Some(body) => call.header("content-type", "application/json; charset=utf-8").body(body),
                None => call,
            };
            let mut answer = call.send().await.map_err(classify)?;
            let status = answer.status().as_u16();
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(classify)? {
                if body.len().saturating_add(chunk.len()) > MAX_RESPONSE_BODY_BYTES {
                    return Err(TransportError::Unanswered(format!(
                        "more than {MAX_RESPONSE_BODY_BYTES} bytes"
                    )));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(WeChatResponse { status, body })
        })
    }
}

/// The call surely did not happen only if the connection failed or the request could not be built.
fn classify(why: reqwest::Error) -> TransportError {
    let unsent = why.is_connect() || why.is_builder();
    let text = error_text(&why.without_url());
    if unsent { TransportError::NotSent(text) } else { TransportError::Unanswered(text) }
}

/// The error and its causes: reqwest's own text alone is "error sending request". Bounded, as causes nest.
fn error_text(why: &reqwest::Error) -> String {
    let causes = std::iter::successors(why.source(), |cause| (*cause).source()).take(5);
    causes.fold(why.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    fn get(url: String) -> WeChatRequest {
        WeChatRequest { method: Method::Get, url, body: None }
    }

    /// A server for one connection that reads the request's head, sends `answer` and closes.
    fn one_shot_server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/cgi-bin/x?access_token=hidden", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[tokio::test]
    async fn an_error_tells_whether_the_call_may_have_happened_and_hides_the_query() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let transport = HttpTransport::new();
        for (what, url, sent) in [
            ("a refused connection", format!("http://{closed}/x?access_token=hidden"), false),
            ("a host without an address", "http://oahub.invalid/x?access_token=hidden".into(), false),
            ("a refused TLS connection", format!("https://{closed}/x?access_token=hidden"), false),
            ("not a URL", "no-url?access_token=hidden".into(), false),
            ("a connection that closes before the answer", one_shot_server(""), true),
            (
                "an answer that breaks off",
                one_shot_server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"),
                true,
            ),
            (
                "more than we read",
                one_shot_server("HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\nab"),
                true,
            ),
        ] {
            let why = transport.send(get(url)).await.unwrap_err();
            assert_eq!(matches!(why, TransportError::Unanswered(_)), sent, "{what}: {why}");
            assert!(!why.to_string().contains("hidden"), "{what}: {why}");
        }
    }

    #[tokio::test]
    async fn an_answer_comes_as_it_is_and_redirects_are_not_followed() {
        let transport = HttpTransport::new();
        let ok = one_shot_server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
        assert_eq!(
            transport.send(get(ok)).await.unwrap(),
            WeChatResponse { status: 200, body: b"{}".to_vec() }
        );
        let moved = one_shot_server(
            "HTTP/1.1 302 Found\r\nlocation: http://oahub.invalid/\r\ncontent-length: 0\r\n\r\n",
        );
        assert_eq!(transport.send(get(moved)).await.unwrap().status, 302);
    }
}
