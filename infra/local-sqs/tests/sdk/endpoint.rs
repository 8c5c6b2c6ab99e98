//! The endpoint under test, and what tests ask of it.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::operation::send_message::builders::SendMessageFluentBuilder;
use aws_sdk_sqs::types::{
    Message, MessageSystemAttributeName as System, QueueAttributeName as Name, SendMessageBatchRequestEntry,
};
use local_sqs::{Sqs, server};
use shared::clock::SystemClock;
use shared::random::StdRandom;

/// A client, and a prefix so that no two runs share a queue.
pub struct SqsEndpoint {
    pub client: Client,
    pub run: String,
}

impl SqsEndpoint {
    #[expect(clippy::disallowed_methods, reason = "the one setting of this test")]
    pub async fn start() -> Self {
        let endpoint = match std::env::var("OAHUB_SQS_ENDPOINT") {
            Ok(endpoint) => endpoint,
            Err(_) => {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = format!("http://{}", listener.local_addr().unwrap());
                let sqs = Sqs::open(None, Arc::new(SystemClock), Arc::new(StdRandom::from_system().unwrap()))
                    .unwrap();
                tokio::spawn(server::serve(listener, sqs, std::future::pending()));
                endpoint
            }
        };
        let mut bytes = [0; 4];
        shared::random::Random::fill(&StdRandom::from_system().unwrap(), &mut bytes);
        Self { client: client(endpoint), run: format!("t{}", u32::from_le_bytes(bytes)) }
    }

    pub async fn create_queue(&self, name: &str, attributes: &[(Name, &str)]) -> String {
        let mut request = self.client.create_queue().queue_name(format!("{}-{name}", self.run));
        if name.ends_with(".fifo") {
            request = request.attributes(Name::FifoQueue, "true");
        }
        for (key, value) in attributes {
            request = request.attributes(key.clone(), *value);
        }
        request.send().await.unwrap().queue_url.unwrap()
    }

    pub fn send(&self, url: &str, body: &str) -> SendMessageFluentBuilder {
        self.client.send_message().queue_url(url).message_body(body)
    }

    pub async fn receive(&self, url: &str, max: i32) -> Vec<Message> {
        let request = self.client.receive_message().queue_url(url).max_number_of_messages(max);
        let request = request.message_system_attribute_names(System::All).message_attribute_names("All");
        request.send().await.unwrap().messages.unwrap_or_default()
    }

    /// A long poll for a full batch, with SQS's longest wait.
    pub fn long_poll(&self, url: &str) -> ReceiveMessageFluentBuilder {
        self.client.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(20)
    }

    pub async fn delete(&self, url: &str, message: &Message) {
        let handle = message.receipt_handle.clone().unwrap();
        self.client.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
    }

    pub async fn change_visibility(&self, url: &str, message: &Message, secs: i32) {
        let request = self.client.change_message_visibility().queue_url(url).visibility_timeout(secs);
        request.receipt_handle(message.receipt_handle.clone().unwrap()).send().await.unwrap();
    }

    pub async fn attribute(&self, url: &str, name: Name) -> String {
        let request = self.client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        let answer = request.send().await.unwrap();
        answer.attributes.and_then(|mut all| all.remove(&name)).unwrap_or_default()
    }

    pub async fn queue_with_dead_letters(&self, name: &str, most: u32) -> (String, String) {
        let dead = self.create_queue(&format!("dead-{name}"), &[]).await;
        let arn = self.attribute(&dead, Name::QueueArn).await;
        let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{most}}}"#);
        let url = self.create_queue(name, &[(Name::RedrivePolicy, &policy)]).await;
        (url, dead)
    }
}

pub fn client(endpoint: String) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("test", "test", None))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

pub fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body().unwrap()).collect()
}

pub fn receive_count(message: &Message) -> &str {
    &message.attributes.as_ref().unwrap()[&System::ApproximateReceiveCount]
}

pub fn entries(count: usize, body: &str) -> Vec<SendMessageBatchRequestEntry> {
    let entry = |n: usize| SendMessageBatchRequestEntry::builder().id(format!("e{n}")).message_body(body);
    (0..count).map(|n| entry(n).build().unwrap()).collect()
}

/// The error's code, or "none".
macro_rules! code {
    ($request:expr) => {
        $request.send().await.err().and_then(|e| e.code().map(str::to_owned)).unwrap_or("none".into())
    };
}
pub(crate) use code;
