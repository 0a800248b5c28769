//! The tables and their indexes, as `template.yaml` declares them; a test compares the two.

use std::time::Duration;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::{CreateTableInput, builders::CreateTableInputBuilder};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
    TimeToLiveSpecification,
};
use tickets_domain::work_queue::INDEXED_FIELDS;
use tickets_domain::{Error, Result};

use crate::dynamodb::DynamoDb;

/// The name of the tickets' table if none is configured.
pub const TICKETS: &str = "Tickets";
/// The name of the keys' table if none is configured.
pub const API_KEYS: &str = "ApiKeys";
/// The name of the history's table if none is configured.
pub const HISTORY: &str = "History";
/// The name of the webhooks' table if none is configured.
pub const WEBHOOKS: &str = "Webhooks";
/// Tickets by customer, then by id.
pub const BY_CUSTOMER: &str = "byCustomer";
/// Tickets by the month of their last change, then by its time.
pub const BY_UPDATED: &str = "byUpdated";
/// Only tickets, by status, then by id: no tombstones, no departures.
pub const BY_STATUS: &str = "byStatus";
/// Entries of the history by the month in which they were recorded, then by the time: the feed of events.
pub const BY_RECORDED: &str = "byRecorded";
/// The partition key of [`BY_RECORDED`]. What is no event does not have it.
pub const RECORDED_MONTH: &str = "recordedMonth";
/// The sort key of [`BY_RECORDED`].
pub const RECORDED: &str = "recorded";
/// The attribute that TTL uses.
pub const EXPIRES: &str = "expires";

/// A key attribute and its type.
pub type KeyAttribute = (&'static str, ScalarAttributeType);

/// An index, which projects only what a filter needs.
#[derive(Debug, Clone)]
pub struct Index {
    pub name: &'static str,
    /// The partition key and the sort key.
    pub key: [KeyAttribute; 2],
    /// The attributes it projects besides keys.
    pub includes: &'static [&'static str],
}

/// The primary key of the tickets' table.
pub const TICKETS_KEY: [KeyAttribute; 2] =
    [("bucket", ScalarAttributeType::S), ("id", ScalarAttributeType::N)];
/// The primary key of the keys' table.
pub const API_KEYS_KEY: [KeyAttribute; 1] = [("keyId", ScalarAttributeType::S)];
/// The primary key of the history's table: the ticket's id, and the version.
pub const HISTORY_KEY: [KeyAttribute; 2] =
    [("ticket", ScalarAttributeType::N), ("version", ScalarAttributeType::N)];
/// The primary key of the webhooks' table: one partition, and the webhook's id.
pub const WEBHOOKS_KEY: [KeyAttribute; 2] =
    [("kind", ScalarAttributeType::S), ("webhookId", ScalarAttributeType::S)];
/// What the stream of the tickets' table contains of each write.
pub const STREAM_VIEW: StreamViewType = StreamViewType::NewAndOldImages;
/// The tickets' indexes.
pub const INDEXES: [Index; 3] = [
    Index {
        name: BY_CUSTOMER,
        key: [("customerID", ScalarAttributeType::N), ("id", ScalarAttributeType::N)],
        includes: &["createdDate", "updatedDate", "deletedDate"],
    },
    Index {
        name: BY_UPDATED,
        key: [("updatedMonth", ScalarAttributeType::S), ("updatedDate", ScalarAttributeType::N)],
        includes: &["createdDate", "customerID", "deletedDate"],
    },
    // Project nothing that changes with every update: each change would cost a unit here too.
    Index {
        name: BY_STATUS,
        key: [("statusShard", ScalarAttributeType::S), ("id", ScalarAttributeType::N)],
        includes: &INDEXED_FIELDS,
    },
];

/// The history's index.
pub const HISTORY_INDEXES: [Index; 1] = [Index {
    name: BY_RECORDED,
    key: [(RECORDED_MONTH, ScalarAttributeType::S), (RECORDED, ScalarAttributeType::N)],
    // What an event shows.
    includes: &[
        "date",
        "change",
        "by",
        "names",
        "customerID",
        "leftCustomerID",
        "status",
        "ticketType",
        "ticketPriority",
        "owner",
    ],
}];

/// Creates the missing tables of a local database, and waits until they can be used. A deployment's tables
/// come from the template.
pub async fn create_tables(dynamodb: &DynamoDb, tickets: &str, api_keys: &str) -> Result<()> {
    create(dynamodb, tickets, ticket_table(tickets).map_err(Error::internal)?).await?;
    create(dynamodb, api_keys, key_table(api_keys).map_err(Error::internal)?).await
}

/// Like [`create_tables`], for the history's table.
pub async fn create_history_table(dynamodb: &DynamoDb, history: &str) -> Result<()> {
    create(dynamodb, history, history_table(history).map_err(Error::internal)?).await
}

/// Like [`create_tables`], for the webhooks' table.
pub async fn create_webhook_table(dynamodb: &DynamoDb, webhooks: &str) -> Result<()> {
    create(dynamodb, webhooks, webhook_table(webhooks).map_err(Error::internal)?).await
}

/// Gives the tickets' table a stream, if it has none. Not part of [`create_tables`], because not every engine
/// has streams.
pub async fn enable_stream(dynamodb: &DynamoDb, tickets: &str) -> Result<()> {
    let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(STREAM_VIEW).build();
    let stream = stream.map_err(Error::internal)?;
    let update = dynamodb.client().update_table().table_name(tickets).stream_specification(stream);
    update.send().await.map(drop).map_err(Error::internal)
}

async fn until_active(dynamodb: &DynamoDb, table: &str) -> Result<()> {
    let mut waits = 0;
    while !is_active(dynamodb, table).await? {
        if waits == 500 {
            return Err(Error::internal(format!("the table {table} is not ready after ten seconds")));
        }
        waits += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn is_active(dynamodb: &DynamoDb, table: &str) -> Result<bool> {
    let describe = dynamodb.client().describe_table().table_name(table);
    let described = describe.send().await.map_err(Error::internal)?;
    Ok(described.table.is_some_and(|table| table.table_status == Some(TableStatus::Active)))
}

/// Lets the database remove expired items.
pub async fn enable_expiry(dynamodb: &DynamoDb, table: &str) -> Result<()> {
    let ttl = TimeToLiveSpecification::builder().attribute_name(EXPIRES).enabled(true).build();
    let update = dynamodb.client().update_time_to_live().table_name(table);
    match update.time_to_live_specification(ttl.map_err(Error::internal)?).send().await {
        // It is already enabled since an earlier start.
        Err(SdkError::ServiceError(error)) if error.err().code() == Some("ValidationException") => Ok(()),
        Err(error) => Err(Error::internal(error)),
        Ok(_) => Ok(()),
    }
}

fn ticket_table(name: &str) -> Result<CreateTableInputBuilder, BuildError> {
    with_indexes(name, &TICKETS_KEY, &INDEXES)
}

fn webhook_table(name: &str) -> Result<CreateTableInputBuilder, BuildError> {
    with_attributes(with_key(CreateTableInput::builder().table_name(name), &WEBHOOKS_KEY)?, &WEBHOOKS_KEY)
}

fn history_table(name: &str) -> Result<CreateTableInputBuilder, BuildError> {
    with_indexes(name, &HISTORY_KEY, &HISTORY_INDEXES)
}

fn with_indexes(
    name: &str,
    key: &[KeyAttribute],
    indexes: &[Index],
) -> Result<CreateTableInputBuilder, BuildError> {
    let mut attributes: Vec<KeyAttribute> = key.to_vec();
    let mut table = with_key(CreateTableInput::builder().table_name(name), key)?;
    for index in indexes {
        attributes.extend(index.key.iter().filter(|attribute| !key.contains(attribute)).cloned());
        let projection = Projection::builder()
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(index.includes.iter().copied().map(String::from).collect()))
            .build();
        let mut definition = GlobalSecondaryIndex::builder().index_name(index.name).projection(projection);
        for element in key_schema(&index.key)? {
            definition = definition.key_schema(element);
        }
        table = table.global_secondary_indexes(definition.build()?);
    }
    with_attributes(table, &attributes)
}

fn key_table(name: &str) -> Result<CreateTableInputBuilder, BuildError> {
    with_attributes(with_key(CreateTableInput::builder().table_name(name), &API_KEYS_KEY)?, &API_KEYS_KEY)
}

fn key_schema(key: &[KeyAttribute]) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |(name, kind): (&KeyAttribute, KeyType)| {
        KeySchemaElement::builder().attribute_name(name.0).key_type(kind).build()
    };
    key.iter().zip([KeyType::Hash, KeyType::Range]).map(element).collect()
}

fn with_key(
    mut table: CreateTableInputBuilder,
    key: &[KeyAttribute],
) -> Result<CreateTableInputBuilder, BuildError> {
    for element in key_schema(key)? {
        table = table.key_schema(element);
    }
    Ok(table)
}

fn with_attributes(
    mut table: CreateTableInputBuilder,
    attributes: &[KeyAttribute],
) -> Result<CreateTableInputBuilder, BuildError> {
    for (name, kind) in attributes {
        let definition =
            AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone()).build()?;
        table = table.attribute_definitions(definition);
    }
    Ok(table.billing_mode(BillingMode::PayPerRequest))
}

/// Creates a table and waits until it can be used. Does not describe an existing one: for that, the embedded
/// engine counts all its items.
async fn create(dynamodb: &DynamoDb, name: &str, table: CreateTableInputBuilder) -> Result<()> {
    match table.send_with(dynamodb.client()).await {
        Err(SdkError::ServiceError(error)) if error.err().is_resource_in_use_exception() => Ok(()),
        Err(error) => Err(Error::internal(error)),
        Ok(_) => until_active(dynamodb, name).await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{self, Answer, ok, refused};

    fn dynamodb(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> (DynamoDb, scripted::Calls) {
        let (tickets, calls) = scripted::tickets(move |operation, _| answer(operation));
        (tickets.dynamodb, calls)
    }

    #[tokio::test(start_paused = true)]
    async fn expiry_that_is_enabled_already_is_no_error() {
        let enable = async |answer: fn() -> Answer| {
            let (dynamodb, calls) = dynamodb(move |_| answer());
            let enabled = enable_expiry(&dynamodb, "Tickets").await;
            let asked = json!({"AttributeName": "expires", "Enabled": true});
            assert_eq!(calls.of("UpdateTimeToLive")[0]["TimeToLiveSpecification"], asked);
            enabled
        };
        assert!(enable(|| ok(json!({}))).await.is_ok());
        assert!(enable(|| refused("ValidationException")).await.is_ok());
        assert!(enable(|| refused("ResourceNotFoundException")).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn tables_that_are_there_are_left_alone() {
        let (there, calls) = dynamodb(|_| refused("ResourceInUseException"));
        create_tables(&there, "Tickets", "ApiKeys").await.unwrap();
        create_history_table(&there, "History").await.unwrap();
        assert_eq!((calls.of("CreateTable").len(), calls.of("DescribeTable").len()), (3, 0));
        let (denied, calls) = dynamodb(|_| refused("AccessDeniedException"));
        assert!(create_tables(&denied, "Tickets", "ApiKeys").await.is_err());
        assert_eq!(calls.of("CreateTable").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_table_is_waited_for_ten_seconds_at_most() {
        let table = |status: &str| ok(json!({"Table": {"TableStatus": status}}));
        let looks = AtomicUsize::new(0);
        let (slow, calls) = dynamodb(move |operation| match operation {
            "DescribeTable" if looks.fetch_add(1, Ordering::Relaxed) < 3 => table("CREATING"),
            _ => table("ACTIVE"),
        });
        create_history_table(&slow, "History").await.unwrap();
        assert_eq!(calls.of("DescribeTable").len(), 4);
        let began = Instant::now();
        let (stuck, _) = dynamodb(move |_| table("CREATING"));
        assert!(create_history_table(&stuck, "History").await.is_err());
        assert_eq!((Instant::now() - began).as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_shows_items_before_and_after() {
        let (dynamodb, calls) = dynamodb(|_| ok(json!({})));
        enable_stream(&dynamodb, "Tickets").await.unwrap();
        let stream = json!({"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"});
        assert_eq!(calls.of("UpdateTable")[0]["StreamSpecification"], stream);
    }
}
