//! What the client needs from HTTP: one request, one response. Tests and the simulation replace it.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use thiserror::Error;

/// The longest response that is read, in bytes. A page of 10,000 openids is about 320
/// KB; the rest leaves room for lists of articles. Media is not fetched this way.
pub const MAX_RESPONSE_BODY_BYTES: usize = 8 * 1024 * 1024;

/// Longest duration of one call, with a margin: no call begins where less time is left.
pub const MAX_CALL_DURATION: Duration = Duration::from_millis(10_500);

/// Sends requests to WeChat.
pub trait Transport: Send + Sync {
    /// Sends one request and reads its whole response.
    ///
    /// # Errors
    /// [`TransportError`], which says whether the call may have happened.
    fn send<'a>(&'a self, request: WeChatRequest) -> BoxFuture<'a, Result<WeChatResponse, TransportError>>;
}

/// Fails every call: for functions that never call WeChat.
#[derive(Debug, Clone, Copy)]
pub struct NoTransport;

impl Transport for NoTransport {
    fn send<'a>(&'a self, _: WeChatRequest) -> BoxFuture<'a, Result<WeChatResponse, TransportError>> {
        let why = "this function is built without a way to call it";
        Box::pin(std::future::ready(Err(TransportError::NotSent(why.into()))))
    }
}

/// The two methods that WeChat's APIs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads; WeChat also uses it for some deletions.
    Get,
    /// Everything with a JSON body.
    Post,
}

/// One request. Its `Debug` shows neither query values nor the body: both carry tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct WeChatRequest {
    /// GET or POST.
    pub method: Method,
    /// The whole URL, query included, percent-encoded.
    pub url: String,
    /// JSON in UTF-8; `None` for no body.
    pub body: Option<Vec<u8>>,
}

impl fmt::Debug for WeChatRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let names = query.split('&').filter(|pair| !pair.is_empty());
        let names = names.map(|pair| pair.split_once('=').map_or("***", |(name, _)| name));
        f.debug_struct("WeChatRequest")
            .field("method", &self.method)
            .field("path", &path)
            .field("query", &names.collect::<Vec<_>>())
            .field("body_bytes", &self.body.as_ref().map(Vec::len))
            .finish()
    }
}

/// One response. Its `Debug` shows only the length of the body.
#[derive(Clone, PartialEq, Eq)]
pub struct WeChatResponse {
    /// The HTTP status. WeChat returns 200 for its own errors too.
    pub status: u16,
    /// At most [`MAX_RESPONSE_BODY_BYTES`] bytes.
    pub body: Vec<u8>,
}

impl fmt::Debug for WeChatResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeChatResponse")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// No usable response. The texts never contain a URL or a body.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum TransportError {
    /// The call surely did not happen: no connection, no address, no client.
    #[error("WeChat was not reached: {0}")]
    NotSent(String),
    /// The call may have happened: retry only what is safe to retry.
    #[error("WeChat did not answer: {0}")]
    Unanswered(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_of_a_request_or_an_answer_prints() {
        let request = WeChatRequest {
            method: Method::Post,
            url: "https://api.weixin.qq.com/cgi-bin/x?access_token=hidden1&next_openid=&hidden2".into(),
            body: Some(b"hidden3".to_vec()),
        };
        let response = WeChatResponse { status: 200, body: b"hidden4".to_vec() };
        let printed = format!("{request:?} {response:?}");
        assert!(!printed.contains("hidden"), "{printed}");
        assert!(printed.contains("/cgi-bin/x") && printed.contains("access_token"), "{printed}");
    }
}
