//! What listens: the gateway, the simulated WeChat, and the ports of DynamoDB and SQS.

use std::{future, net::SocketAddr, sync::Arc};

use local_sqs::Sqs;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use wechat_simulator::Simulator;

use super::start_error::StartError;
use crate::{
    database::{self, Database},
    gateway::{self, Gateway},
};

/// Serves DynamoDB and SQS over HTTP until the tasks are aborted.
pub fn serve_aws(
    dynamodb: TcpListener,
    database: &Database,
    queues: TcpListener,
    sqs: &Sqs,
    services: &mut JoinSet<()>,
) {
    let (database, sqs) = (database.clone(), sqs.clone());
    services.spawn(async move {
        if let Err(error) = local_sqs::server::serve(queues, sqs, future::pending()).await {
            tracing::error!(%error, "SQS ended: {error}");
        }
    });
    services.spawn(async move {
        if let Err(error) = database::server::serve(dynamodb, database, future::pending()).await {
            tracing::error!(%error, "DynamoDB ended: {error}");
        }
    });
}

/// Serves the gateway until the system stops.
pub fn serve_gateway(
    gateway: Gateway,
    listener: TcpListener,
    stopped: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    let service = gateway::router(Arc::new(gateway)).into_make_service_with_connect_info::<SocketAddr>();
    let until = until_stopped(stopped.clone());
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the gateway ended: {error}");
        }
    });
}

/// Serves the simulated WeChat until the system stops.
pub fn serve_simulator(
    simulator: Simulator,
    listener: TcpListener,
    stopped: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    let until = until_stopped(stopped.clone());
    tasks.spawn(async move {
        if let Err(error) = wechat_simulator::serve(listener, simulator, until).await {
            tracing::error!(%error, "the simulated WeChat ended: {error}");
        }
    });
}

/// A free port of the loopback interface.
pub async fn bind_loopback() -> Result<TcpListener, StartError> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let refuse = |error| StartError::Io { what: "a port of 127.0.0.1".into(), error };
    TcpListener::bind(address).await.map_err(refuse)
}

/// Where a listener listens.
pub fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Io { what: "a listening address".into(), error })
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if stopped.changed().await.is_err() {
            return;
        }
    }
}
