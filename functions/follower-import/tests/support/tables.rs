//! The five tables of `template.yaml`, in memory.

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        LocalSecondaryIndex, Projection, ProjectionType, ScalarAttributeType,
    },
};

/// Starts an embedded DynamoDB. Returns its URL.
pub async fn start_dynamodb() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()));
    url
}

pub async fn create_tables(db: &Client) {
    let global = |name, hash, range| {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .set_key_schema(Some(schema(hash, range)))
            .projection(projection(ProjectionType::KeysOnly))
            .build()
            .unwrap()
    };
    let by_time = LocalSecondaryIndex::builder()
        .index_name("by_time")
        .set_key_schema(Some(schema("pk", "at_key")))
        .projection(projection(ProjectionType::KeysOnly))
        .build()
        .unwrap();
    let due = [("due", ScalarAttributeType::S), ("due_at", ScalarAttributeType::N)];
    let people = [("people", ScalarAttributeType::S), ("customer_id", ScalarAttributeType::S)];
    let at_key = [("at_key", ScalarAttributeType::S)];
    create_table(db, "platform", &[], None, None).await;
    create_table(db, "credentials", &due, Some(global("due", "due", "due_at")), None).await;
    create_table(db, "customers", &people, Some(global("people", "people", "customer_id")), None).await;
    create_table(db, "timeline", &at_key, None, Some(by_time)).await;
    create_table(db, "work", &[], None, None).await;
}

async fn create_table(
    db: &Client,
    name: &str,
    more: &[(&str, ScalarAttributeType)],
    global: Option<GlobalSecondaryIndex>,
    local: Option<LocalSecondaryIndex>,
) {
    let keys = [("pk", ScalarAttributeType::S), ("sk", ScalarAttributeType::S)];
    let attributes = keys.iter().chain(more).map(|(name, kind)| {
        AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone()).build().unwrap()
    });
    db.create_table()
        .table_name(name)
        .set_attribute_definitions(Some(attributes.collect()))
        .set_key_schema(Some(schema("pk", "sk")))
        .set_global_secondary_indexes(global.map(|index| vec![index]))
        .set_local_secondary_indexes(local.map(|index| vec![index]))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
}

fn schema(hash: &str, range: &str) -> Vec<KeySchemaElement> {
    [(hash, KeyType::Hash), (range, KeyType::Range)]
        .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap())
        .to_vec()
}

fn projection(kind: ProjectionType) -> Projection {
    Projection::builder().projection_type(kind).build()
}
