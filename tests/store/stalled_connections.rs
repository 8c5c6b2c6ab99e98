//! Connections can die silently: a NAT gateway dropped one, or a frozen function slept through its close.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use tokio::time::Instant;

use crate::on_paused_time;

/// Never responds to the first `stalled` requests.
#[derive(Debug, Clone)]
struct StallingConnector {
    requests: Arc<AtomicUsize>,
    stalled: usize,
}

impl HttpConnector for StallingConnector {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let dead = self.requests.fetch_add(1, Ordering::SeqCst) < self.stalled;
        HttpConnectorFuture::new(async move {
            if dead {
                std::future::pending::<()>().await;
            }
            Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from("{}")))
        })
    }
}

/// Whether a read succeeded, after how long, and in how many attempts.
fn read_with_stalled(dead: usize) -> (bool, Duration, usize) {
    on_paused_time(async {
        let line = StallingConnector { requests: Arc::default(), stalled: dead };
        let connector = SharedHttpConnector::new(line.clone());
        let config = shared::aws::dynamodb_config("eu-central-1")
            .endpoint_url("http://dynamodb")
            .allow_no_auth()
            .http_client(http_client_fn(move |_, _| connector.clone()));
        let client = aws_sdk_dynamodb::Client::from_conf(config.build());
        let since = Instant::now();
        let answer = client.list_tables().send().await;
        (answer.is_ok(), since.elapsed(), line.requests.load(Ordering::SeqCst))
    })
}

#[test]
fn a_dead_connection_leaves_time_for_a_second_attempt_within_five_seconds() {
    let (answered, after, asked) = read_with_stalled(1);
    assert!(answered && asked == 2, "{asked} attempts");
    assert!(after < Duration::from_secs(2), "{after:?}");
}

#[test]
fn a_service_that_never_answers_is_given_up_before_wechat_gives_up() {
    let (answered, after, asked) = read_with_stalled(usize::MAX);
    assert!(!answered && asked == 3, "{asked} attempts");
    assert!(after <= shared::aws::OPERATION_TIMEOUT, "{after:?}");
}
