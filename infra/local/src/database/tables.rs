//! Creates the template's tables through the SDK, as CloudFormation does; without streams, which would slow
//! dynoxide down.

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        LocalSecondaryIndex, Projection, ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
    },
};

use super::error::{DatabaseError, failed};
use crate::template::{IndexSpec, TableSpec};

/// Creates the tables that do not exist.
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
    request.send().await.map_err(|e| failed(shared::error::sdk_error_text(&e)))?;
    if let Some(ttl) = &table.ttl {
        let ttl =
            TimeToLiveSpecification::builder().attribute_name(ttl).enabled(true).build().map_err(failed)?;
        let request = client.update_time_to_live().table_name(&table.name).time_to_live_specification(ttl);
        request.send().await.map_err(|e| failed(shared::error::sdk_error_text(&e)))?;
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
