//! The two tables and their indexes, as `template.yaml` declares them; a test compares the two.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
};
use tickets_domain::{Error, Result};

/// The name of the tickets' table where none is configured.
pub const TICKETS: &str = "Tickets";
/// The name of the keys' table where none is configured.
pub const API_KEYS: &str = "ApiKeys";
/// Tickets by customer, then by id.
pub const BY_CUSTOMER: &str = "byCustomer";
/// Tickets by the month of their last change, then by its time.
pub const BY_UPDATED: &str = "byUpdated";
/// The attribute TTL goes by.
pub const EXPIRES: &str = "expires";

/// A key attribute and its type.
pub type KeyAttribute = (&'static str, ScalarAttributeType);

/// An index, which projects as little as answers the filter.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Its partition and sort key.
    pub key: [KeyAttribute; 2],
    /// What it includes besides keys.
    pub includes: [&'static str; 3],
}

/// The tickets' base key.
pub const TICKETS_KEY: [KeyAttribute; 2] =
    [("bucket", ScalarAttributeType::S), ("id", ScalarAttributeType::N)];
/// The keys' base key.
pub const API_KEYS_KEY: [KeyAttribute; 1] = [("keyId", ScalarAttributeType::S)];
/// The tickets' indexes.
pub const INDEXES: [Index; 2] = [
    Index {
        name: BY_CUSTOMER,
        key: [("customerID", ScalarAttributeType::N), ("id", ScalarAttributeType::N)],
        includes: ["createdDate", "updatedDate", "deletedDate"],
    },
    Index {
        name: BY_UPDATED,
        key: [("updatedMonth", ScalarAttributeType::S), ("updatedDate", ScalarAttributeType::N)],
        includes: ["createdDate", "customerID", "deletedDate"],
    },
];

/// Creates the tables that are not there yet, for a local database: a deployment's come from the template.
///
/// # Errors
/// Where the database does not answer, or refuses.
pub async fn create_tables(client: &Client, tickets: &str, api_keys: &str) -> Result<()> {
    create(ticket_table(client, tickets).map_err(Error::internal)?).await?;
    create(key_table(client, api_keys).map_err(Error::internal)?).await?;
    let ttl = TimeToLiveSpecification::builder().attribute_name(EXPIRES).enabled(true).build();
    let enabled = client
        .update_time_to_live()
        .table_name(tickets)
        .time_to_live_specification(ttl.map_err(Error::internal)?)
        .send()
        .await;
    match enabled {
        // A second start finds it enabled.
        Err(SdkError::ServiceError(error)) if error.err().code() == Some("ValidationException") => Ok(()),
        Err(error) => Err(Error::internal(error)),
        Ok(_) => Ok(()),
    }
}

fn ticket_table(client: &Client, name: &str) -> Result<CreateTableFluentBuilder, BuildError> {
    let mut attributes: Vec<KeyAttribute> = TICKETS_KEY.to_vec();
    let mut table = with_key(client.create_table().table_name(name), &TICKETS_KEY)?;
    for index in INDEXES {
        attributes.extend(index.key.iter().filter(|attribute| !TICKETS_KEY.contains(attribute)).cloned());
        let projection = Projection::builder()
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(index.includes.map(String::from).to_vec()))
            .build();
        let mut definition = GlobalSecondaryIndex::builder().index_name(index.name).projection(projection);
        for element in key_schema(&index.key)? {
            definition = definition.key_schema(element);
        }
        table = table.global_secondary_indexes(definition.build()?);
    }
    with_attributes(table, &attributes)
}

fn key_table(client: &Client, name: &str) -> Result<CreateTableFluentBuilder, BuildError> {
    with_attributes(with_key(client.create_table().table_name(name), &API_KEYS_KEY)?, &API_KEYS_KEY)
}

fn key_schema(key: &[KeyAttribute]) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |(name, kind): (&KeyAttribute, KeyType)| {
        KeySchemaElement::builder().attribute_name(name.0).key_type(kind).build()
    };
    key.iter().zip([KeyType::Hash, KeyType::Range]).map(element).collect()
}

fn with_key(
    mut table: CreateTableFluentBuilder,
    key: &[KeyAttribute],
) -> Result<CreateTableFluentBuilder, BuildError> {
    for element in key_schema(key)? {
        table = table.key_schema(element);
    }
    Ok(table)
}

fn with_attributes(
    mut table: CreateTableFluentBuilder,
    attributes: &[KeyAttribute],
) -> Result<CreateTableFluentBuilder, BuildError> {
    for (name, kind) in attributes {
        let definition =
            AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone()).build()?;
        table = table.attribute_definitions(definition);
    }
    Ok(table.billing_mode(BillingMode::PayPerRequest))
}

async fn create(table: CreateTableFluentBuilder) -> Result<()> {
    match table.send().await {
        Err(SdkError::ServiceError(error)) if error.err().is_resource_in_use_exception() => Ok(()),
        Err(error) => Err(Error::internal(error)),
        Ok(_) => Ok(()),
    }
}
