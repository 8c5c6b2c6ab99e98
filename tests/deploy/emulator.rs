//! ministack, running, and requests to it.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use oahub_tests::{
    api::{HttpResponse, http_client},
    process::TempDirectory,
    wait::until,
};
use reqwest::Method;
use serde_json::Value;

/// The emulator. Dropping it ends its processes and removes its files.
pub struct Emulator {
    /// Where it is.
    pub url: String,
    /// Where its Python is.
    pub program: PathBuf,
    /// For files that the test creates.
    pub directory: TempDirectory,
    child: Child,
}

impl Emulator {
    /// Starts an empty emulator.
    pub async fn start(program: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let directory = TempDirectory::new();
        let log = std::fs::File::create(directory.path().join("ministack.log")).unwrap();
        let child = Command::new(program)
            .envs([("GATEWAY_PORT", port.to_string()), ("AWS_ENDPOINT_URL", url.clone())])
            .envs([("BIND_HOST", "127.0.0.1"), ("MINISTACK_HOST", "127.0.0.1")])
            .envs([("SFTP_ENABLED", "0"), ("IOT_MTLS_ENABLED", "0")])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        until("ministack", async || http_client().get(&url).send().await.ok()).await;
        Self { url, program: program.to_owned(), directory, child }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("ministack.log")).unwrap_or_default()
    }

    fn request(&self, service: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
        // the emulator ignores the signature; the credential's scope selects the service
        let credential =
            format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request");
        http_client()
            .request(method, format!("{}{path}", self.url))
            .header("Authorization", format!("{credential}, SignedHeaders=host, Signature=none"))
    }

    async fn send_ok(&self, what: &str, request: reqwest::RequestBuilder) -> String {
        let answer = HttpResponse::send(request).await.unwrap();
        assert!(answer.status.is_success(), "{what}: {answer:?}\n{}", self.log());
        answer.text
    }

    /// A request of the query protocol; its XML.
    pub async fn query(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        let mut url = reqwest::Url::parse("http://form/").unwrap();
        url.query_pairs_mut().append_pair("Action", action).extend_pairs(parameters);
        let request = self.request(service, Method::POST, "/");
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        self.send_ok(action, request.body(url.query().unwrap().to_owned())).await
    }

    /// A request of the JSON protocol.
    pub async fn target(&self, service: &str, target: &str, body: &Value) -> Value {
        let request = self.request(service, Method::POST, "/").header("X-Amz-Target", target);
        let request = request.header("Content-Type", "application/x-amz-json-1.1");
        serde_json::from_str(&self.send_ok(target, request.body(body.to_string())).await).unwrap()
    }

    /// A request of a REST service with JSON.
    pub async fn rest(&self, service: &str, path: &str, body: &Value) -> Value {
        let request = self.request(service, Method::POST, path).json(body);
        serde_json::from_str(&self.send_ok(path, request).await).unwrap()
    }

    /// Puts an object, or a bucket.
    pub async fn put(&self, path: &str, body: Vec<u8>) {
        self.send_ok(path, self.request("s3", Method::PUT, path).body(body)).await;
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // SIGTERM, so that it ends the functions' processes
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
