//! A transport for tests: returns prepared responses and records requests.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use serde_json::Value;

use super::{
    Client,
    transport::{Request, Response, Transport, TransportError},
};

/// Returns responses in order; when they run out, [`TransportError::NotSent`].
#[derive(Default)]
pub struct Fake {
    answers: Mutex<VecDeque<Result<Response, TransportError>>>,
    asked: Mutex<Vec<Request>>,
}

impl Fake {
    /// A client that receives `bodies` as its responses, each with 200, and the fake behind it.
    pub fn client(bodies: &[&str]) -> (Client, Arc<Self>) {
        Self::with(bodies.iter().map(|body| Ok(Response { status: 200, body: body.as_bytes().to_vec() })))
    }

    /// A client that receives `answers`, and the fake behind it.
    pub fn with(answers: impl IntoIterator<Item = Result<Response, TransportError>>) -> (Client, Arc<Self>) {
        let fake = Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() });
        (Client::new(fake.clone(), "https://api.test/".into()), fake)
    }

    /// The one request that was made: its URL after the host, and its body.
    pub fn asked(&self) -> (String, Value) {
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "one call is one request");
        let body = asked[0].body.as_deref().map(|body| serde_json::from_slice(body).unwrap());
        let url = asked[0].url.strip_prefix("https://api.test").unwrap();
        (format!("{:?} {url}", asked[0].method), body.unwrap_or(Value::Null))
    }

    /// Whether no request was made.
    pub fn nothing_asked(&self) -> bool {
        self.asked.lock().unwrap().is_empty()
    }

    /// The bytes of the last request's body.
    pub fn last_body(&self) -> Vec<u8> {
        self.asked.lock().unwrap().last().unwrap().body.clone().unwrap()
    }
}

impl Transport for Fake {
    fn send<'a>(&'a self, request: Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.asked.lock().unwrap().push(request);
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move { answer.unwrap_or_else(|| Err(TransportError::NotSent("no answer".into()))) })
    }
}

/// Reads a sample file.
pub fn sample(name: &str) -> String {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/wechat/samples/");
    std::fs::read_to_string(format!("{samples}{name}.json")).unwrap()
}
