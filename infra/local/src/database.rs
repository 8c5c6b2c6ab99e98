//! The embedded DynamoDB: dynoxide over a SQLite file, reached by the SDK over loopback as AWS's own is.
//!
//! What was acknowledged survives a `kill -9`: SQLite writes before it answers. It leaves the flush to the disk
//! to the system (`synchronous = NORMAL`): a flush a write is a limit of a few hundred writes a second, and a
//! power failure takes no more than the last moments, never the file. Tables are made without streams, which
//! dynoxide would slow down by.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        LocalSecondaryIndex, Projection, ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
    },
};
use dynoxide::Database;
use thiserror::Error;

use crate::template::{IndexSpec, TableSpec};

/// How often expired items are deleted.
const SWEEP: Duration = Duration::from_secs(60);

/// The database could not be opened, or a table not made.
#[derive(Debug, Error)]
#[error("embedded DynamoDB: {0}")]
pub struct DatabaseError(String);

fn failed(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError(error.to_string())
}

/// Opens the database in `dir` (in memory without one) and serves it until the process ends.
///
/// # Errors
/// The file cannot be opened.
pub async fn serve(dir: Option<&Path>) -> Result<SocketAddr, DatabaseError> {
    let database = match dir {
        Some(dir) => Database::new(&dir.join("dynamodb.sqlite").to_string_lossy()).map_err(failed)?,
        None => Database::memory().map_err(failed)?,
    };
    database.disable_bulk_loading().map_err(failed)?; // the one door to `synchronous`: NORMAL
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let swept = database.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            let database = swept.clone();
            let done = tokio::task::spawn_blocking(move || database.sweep_ttl()).await;
            if let Ok(Err(error)) = done {
                tracing::warn!(%error, "expired items stay for now: {error}");
            }
        }
    });
    // on a thread of its own: its calls block, and would hold up what waits for WeChat
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let serve = move || {
        runtime.block_on(async {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => dynoxide::server::serve_on(listener, database).await,
                Err(error) => tracing::error!(%error, "the database ended: {error}"),
            }
        });
    };
    std::thread::Builder::new().name("dynamodb".into()).spawn(serve).map_err(failed)?;
    Ok(address)
}

/// Makes the tables that are not there yet.
///
/// # Errors
/// DynamoDB refused one.
pub async fn create_tables(client: &Client, tables: &[TableSpec]) -> Result<(), DatabaseError> {
    for table in tables {
        match create_table(client, table).await {
            Ok(()) => {}
            Err(error) if error.0.contains("ResourceInUse") || error.0.contains("already exists") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn create_table(client: &Client, table: &TableSpec) -> Result<(), DatabaseError> {
    let mut request = client
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema(&table.key)?));
    for (name, kind) in &table.attributes {
        let definition = AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::from(kind.as_str()))
            .build()
            .map_err(failed)?;
        request = request.attribute_definitions(definition);
    }
    for index in &table.indexes {
        let (keys, projection) = (Some(key_schema(&index.key)?), projection(index));
        if index.global {
            let index = GlobalSecondaryIndex::builder()
                .index_name(&index.name)
                .set_key_schema(keys)
                .projection(projection)
                .build()
                .map_err(failed)?;
            request = request.global_secondary_indexes(index);
        } else {
            let index = LocalSecondaryIndex::builder()
                .index_name(&index.name)
                .set_key_schema(keys)
                .projection(projection)
                .build()
                .map_err(failed)?;
            request = request.local_secondary_indexes(index);
        }
    }
    request.send().await.map_err(|e| failed(shared::error::sdk_error(&e)))?;
    if let Some(ttl) = &table.ttl {
        let ttl =
            TimeToLiveSpecification::builder().attribute_name(ttl).enabled(true).build().map_err(failed)?;
        let request = client.update_time_to_live().table_name(&table.name).time_to_live_specification(ttl);
        request.send().await.map_err(|e| failed(shared::error::sdk_error(&e)))?;
    }
    Ok(())
}

fn projection(index: &IndexSpec) -> Projection {
    Projection::builder().projection_type(ProjectionType::from(index.projection.as_str())).build()
}

fn key_schema(key: &[(String, String)]) -> Result<Vec<KeySchemaElement>, DatabaseError> {
    let element = |(name, kind): &(String, String)| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(KeyType::from(kind.as_str()))
            .build()
            .map_err(failed)
    };
    key.iter().map(element).collect()
}
