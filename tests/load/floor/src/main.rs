//! A function that does nothing but links all clients: the baseline for size, start, calls and memory. It is
//! as lean as AWS's runtime and SDK allow: few root certificates, and rarely needed clients are made lazily.

use std::sync::OnceLock;

use aws_credential_types::Credentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use lambda_http::{Body, Error, Request, Response, run, service_fn};

const ROOTS: &[u8] = include_bytes!("../../../../shared/src/aws/amazon_roots.pem");

struct Clients {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    http: OnceLock<reqwest::Client>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let credentials = Credentials::new("local", "local", None, None, "floor");
    let roots = TrustStore::empty().with_pem_certificate(ROOTS);
    let http = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(TlsContext::builder().with_trust_store(roots).build()?)
        .build_https();
    let dynamodb = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_dynamodb::config::Region::from_static("us-east-1"))
        .credentials_provider(credentials.clone())
        .http_client(http.clone())
        .build();
    let sqs = aws_sdk_sqs::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_sqs::config::Region::from_static("us-east-1"))
        .credentials_provider(credentials)
        .http_client(http)
        .build();
    let clients = Clients {
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
        sqs: aws_sdk_sqs::Client::from_conf(sqs),
        http: OnceLock::new(),
    };
    let clients = &clients;
    run(service_fn(move |request: Request| answer(clients, request))).await
}

async fn answer(clients: &Clients, request: Request) -> Result<Response<Body>, Error> {
    let text = match request.uri().path() {
        "/get" => {
            let key = aws_sdk_dynamodb::types::AttributeValue::S("k".into());
            let got = clients.dynamodb.get_item().table_name("Table").key("pk", key).send().await?;
            format!("{:?}", got.item.is_some())
        }
        "/send" => {
            let sent = clients.sqs.send_message().queue_url("Queue").message_body("{}").send().await?;
            sent.message_id.unwrap_or_default()
        }
        "/fetch" => {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let http = clients.http.get_or_init(reqwest::Client::new);
            http.get("https://api.weixin.qq.com/").send().await?.status().to_string()
        }
        _ => "ok".into(),
    };
    Ok(Response::new(Body::Text(text)))
}
