//! A transport for tests: returns prepared responses and records requests.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use serde_json::Value;

use super::{
    Client,
    transport::{Transport, TransportError, WeChatRequest, WeChatResponse},
};

/// Returns responses in order; when they run out, [`TransportError::NotSent`].
#[derive(Default)]
pub struct FakeTransport {
    responses: Mutex<VecDeque<Result<WeChatResponse, TransportError>>>,
    requests: Mutex<Vec<WeChatRequest>>,
}

impl FakeTransport {
    /// A client that receives `bodies` as its responses, each with 200, and the fake behind it.
    pub fn client(bodies: &[&str]) -> (Client, Arc<Self>) {
        Self::with_responses(
            bodies.iter().map(|body| Ok(WeChatResponse { status: 200, body: body.as_bytes().to_vec() })),
        )
    }

    /// A client that receives `answers`, and the fake behind it.
    pub fn with_responses(
        answers: impl IntoIterator<Item = Result<WeChatResponse, TransportError>>,
    ) -> (Client, Arc<Self>) {
        let fake = Arc::new(Self { responses: Mutex::new(answers.into_iter().collect()), ..Self::default() });
        (Client::new(fake.clone(), "https://api.test/".into()), fake)
    }

    /// The one request that was made: its URL after the host, and its body.
    pub fn single_request(&self) -> (String, Value) {
        let asked = self.requests.lock().unwrap();
        assert_eq!(asked.len(), 1, "one call is one request");
        let body = asked[0].body.as_deref().map(|body| serde_json::from_slice(body).unwrap());
        let url = asked[0].url.strip_prefix("https://api.test").unwrap();
        (format!("{:?} {url}", asked[0].method), body.unwrap_or(Value::Null))
    }

    /// Whether no request was made.
    pub fn has_no_request(&self) -> bool {
        self.requests.lock().unwrap().is_empty()
    }

    /// The bytes of the last request's body.
    pub fn last_body(&self) -> Vec<u8> {
        self.requests.lock().unwrap().last().unwrap().body.clone().unwrap()
    }
}

impl Transport for FakeTransport {
    fn send<'a>(&'a self, request: WeChatRequest) -> BoxFuture<'a, Result<WeChatResponse, TransportError>> {
        self.requests.lock().unwrap().push(request);
        let answer = self.responses.lock().unwrap().pop_front();
        Box::pin(async move { answer.unwrap_or_else(|| Err(TransportError::NotSent("no answer".into()))) })
    }
}

/// Reads a sample file.
pub fn sample(name: &str) -> String {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/wechat/samples/");
    std::fs::read_to_string(format!("{samples}{name}.json")).unwrap()
}
