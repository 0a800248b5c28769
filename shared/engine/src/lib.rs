//! The embedded DynamoDB engine (SQLite inside) as the SDK meets DynamoDB: named operations on JSON. Local servers
//! and tests use it; nothing that is deployed does.

use std::fmt;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use dynoxide::DynoxideError;
use serde::{Deserializer, Serializer};
use serde_json::json;
use thiserror::Error;
use tokio::task::yield_now;

pub use dynoxide::Database;

/// The header that names the operation, after the API's version and a dot.
pub const TARGET: &str = "x-amz-target";

/// Why the engine did not carry out an operation.
#[derive(Debug, Error)]
pub enum Refusal {
    /// DynamoDB's own errors.
    #[error(transparent)]
    Operation(#[from] DynoxideError),
    /// The input is not what the operation takes.
    #[error(transparent)]
    Input(#[from] serde_json::Error),
    /// DynamoDB has no such operation, or the engine none that is needed here.
    #[error("unknown operation {0}")]
    Unknown(String),
}

impl Refusal {
    /// The status and body of DynamoDB's response.
    pub fn response(&self) -> (u16, String) {
        match self {
            Self::Operation(error) => (error.status_code(), error.to_json()),
            Self::Input(error) => refused("SerializationException", &error.to_string()),
            Self::Unknown(operation) => refused("UnknownOperationException", operation),
        }
    }
}

/// The status and body of a refusal of this kind.
pub fn refused(kind: &str, message: &str) -> (u16, String) {
    let body = json!({"__type": format!("com.amazon.coral.service#{kind}"), "message": message});
    (400, body.to_string())
}

/// Carries out the operation of a request: the status and body of the response.
pub fn answer(database: &Database, target: Option<&str>, body: &[u8]) -> (u16, Vec<u8>) {
    let operation = target.and_then(|target| Some(target.split_once('.')?.1)).unwrap_or_default();
    let mut input = serde_json::Deserializer::from_slice(body);
    let mut output = Vec::new();
    match call(database, operation, &mut input, &mut serde_json::Serializer::new(&mut output)) {
        Ok(()) => (200, output),
        Err(refusal) => {
            let (status, body) = refusal.response();
            (status, body.into_bytes())
        }
    }
}

/// Defines `call`, which knows these operations.
macro_rules! operations {
    ($($name:literal => $operation:ident,)*) => {
        /// Carries out an operation: reads its input, and writes its output.
        pub fn call<'a, I, O>(
            database: &Database,
            operation: &str,
            input: I,
            output: O,
        ) -> Result<O::Ok, Refusal>
        where
            I: Deserializer<'a, Error = serde_json::Error>,
            O: Serializer<Error = serde_json::Error>,
        {
            use serde::{Deserialize, Serialize};
            match operation {
                $($name => Ok(database.$operation(Deserialize::deserialize(input)?)?.serialize(output)?),)*
                _ => Err(Refusal::Unknown(operation.to_owned())),
            }
        }
    };
}

operations! {
    "BatchGetItem" => batch_get_item,
    "BatchWriteItem" => batch_write_item,
    "CreateTable" => create_table,
    "DeleteItem" => delete_item,
    "DeleteTable" => delete_table,
    "DescribeTable" => describe_table,
    "DescribeTimeToLive" => describe_time_to_live,
    "GetItem" => get_item,
    "ListTables" => list_tables,
    "PutItem" => put_item,
    "Query" => query,
    "Scan" => scan,
    "TransactGetItems" => transact_get_items,
    "TransactWriteItems" => transact_write_items,
    "UpdateItem" => update_item,
    "UpdateTable" => update_table,
    "UpdateTimeToLive" => update_time_to_live,
}

/// A client of the SDK whose requests the engine answers, without a network between.
pub fn http_client(database: &Database) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(InProcess(database.clone()));
    http_client_fn(move |_, _| connector.clone())
}

/// The engine as an HTTP connection of the SDK.
struct InProcess(Database);

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let database = self.0.clone();
        HttpConnectorFuture::new(async move {
            // Others have a turn before and after, as with a network: a caller may be gone by either.
            yield_now().await;
            // The SDK sends JSON from memory. Of a stream the engine would say that it is no JSON.
            let body = request.body().bytes().unwrap_or_default();
            let (status, body) = answer(&database, request.headers().get(TARGET), body);
            yield_now().await;
            match status.try_into() {
                Ok(status) => Ok(HttpResponse::new(status, body.into())),
                Err(error) => Err(ConnectorError::other(Box::new(error), None)),
            }
        })
    }
}
