//! The embedded DynamoDB engine (SQLite inside), which the functions use with their SDK as in production: in
//! this process by [`DatabaseServer::http_client`], from others over HTTP. The engine's own server answers
//! everyone, web pages included; this one only requests that are signed with the run's access key.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use dynoxide::{Database, DynoxideError};
use serde_json::json;
use thiserror::Error;
use tickets_repository::History;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, yield_now};

use crate::access_key::AccessKey;
use crate::server::{self, private, read};
use crate::stream::{self, Feed, StreamError};

/// Why the database does not start.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// Its file cannot be opened.
    #[error("cannot open the database {path}: {reason}")]
    Open {
        path: String,
        /// The engine's message.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// DynamoDB takes requests of up to 16 MB.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// A running database server.
pub struct DatabaseServer {
    database: Database,
    file: Option<String>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl DatabaseServer {
    /// Serves the database in `file`, or one in memory, at `address` for holders of `key`. Port 0 takes a
    /// free port.
    pub async fn start(
        file: Option<&Path>,
        address: SocketAddr,
        key: AccessKey,
    ) -> Result<Self, DatabaseError> {
        let open = |reason: String| DatabaseError::Open {
            path: file.map_or_else(|| "in memory".into(), |path| path.display().to_string()),
            reason,
        };
        let file = file.map(|path| path.to_string_lossy().into_owned());
        let name = file.clone().unwrap_or_else(in_memory);
        let database = Database::new(&name).map_err(|error| open(error.to_string()))?;
        // This sets SQLite's `synchronous` to NORMAL, among defaults: no flush to the disk at every write. A
        // killed process loses nothing. After a power failure the file is whole, but may lack the last writes.
        database.disable_bulk_loading().map_err(|error| open(error.to_string()))?;
        stream::prepare(&name).map_err(|error| open(error.to_string()))?;
        let listen = |source| DatabaseError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let door = Door { database: database.clone(), key };
        let router = private(Router::new().fallback(answer).with_state(door), address);
        let task = tokio::spawn(server::serve(listener, router, std::future::pending()));
        Ok(Self { database, file, address, task })
    }

    /// Whether a table has a stream.
    pub fn has_stream(&self, table: &str) -> Result<bool, StreamError> {
        stream::is_enabled(&self.database, table)
    }

    /// Records every write to the tickets' table in `history`, until the returned feed is dropped.
    pub fn feed(&self, history: History) -> Result<Feed, StreamError> {
        Feed::start(self.database.clone(), self.file.as_deref(), history)
    }

    /// A client for this process: it hands requests to the engine, without a network between.
    pub fn http_client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(InProcess(self.database.clone()));
        http_client_fn(move |_, _| connector.clone())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl fmt::Debug for DatabaseServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseServer({})", self.address)
    }
}

/// The state of the request handler.
#[derive(Clone)]
struct Door {
    database: Database,
    key: AccessKey,
}

async fn answer(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match read(body, MAX_REQUEST).await {
        Ok(body) => body,
        Err(status) => return status.into_response(),
    };
    if parts.method != Method::POST || !door.key.has_signed(&parts, &body) {
        let message = "not signed with the access key of this run, which `tickets db` prints";
        let (status, body) = refusal("UnrecognizedClientException", message);
        return reply(status, body);
    }
    let target = parts.headers.get(TARGET).and_then(|target| target.to_str().ok());
    let (status, body) = run(&door.database, target, &body);
    reply(status, body)
}

/// The header that names the operation.
const TARGET: &str = "x-amz-target";

/// Carries out a request: the status and body of the response.
fn run(database: &Database, target: Option<&str>, body: &[u8]) -> (StatusCode, String) {
    let operation = target.and_then(|target| Some(target.split_once('.')?.1)).unwrap_or_default();
    match call(database, operation, body) {
        Ok(body) => (StatusCode::OK, body),
        Err(Failure::Engine(error)) => {
            let status = StatusCode::from_u16(error.status_code());
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.to_json())
        }
        Err(Failure::Json(error)) => refusal("SerializationException", &error.to_string()),
        Err(Failure::UnknownOperation) => refusal("UnknownOperationException", operation),
    }
}

fn refusal(kind: &str, message: &str) -> (StatusCode, String) {
    let body = json!({"__type": format!("com.amazon.coral.service#{kind}"), "message": message});
    (StatusCode::BAD_REQUEST, body.to_string())
}

fn reply(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/x-amz-json-1.0")], body).into_response()
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
            let (status, body) = run(&database, request.headers().get(TARGET), body);
            yield_now().await;
            match status.as_u16().try_into() {
                Ok(status) => Ok(HttpResponse::new(status, body.into())),
                Err(error) => Err(ConnectorError::other(Box::new(error), None)),
            }
        })
    }
}

/// Why the engine did not carry out an operation.
enum Failure {
    Engine(DynoxideError),
    Json(serde_json::Error),
    UnknownOperation,
}

/// Defines `call`, which carries out one of these operations on a JSON request and returns the JSON response.
macro_rules! operations {
    ($($name:literal => $operation:ident,)*) => {
        fn call(database: &Database, operation: &str, body: &[u8]) -> Result<String, Failure> {
            match operation {
                $($name => {
                    let request = serde_json::from_slice(body).map_err(Failure::Json)?;
                    let response = database.$operation(request).map_err(Failure::Engine)?;
                    serde_json::to_string(&response).map_err(Failure::Json)
                })*
                _ => Err(Failure::UnknownOperation),
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

/// The name of a database in memory that only this process can open, more than once.
fn in_memory() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("file:tickets-{}?mode=memory&cache=shared", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
