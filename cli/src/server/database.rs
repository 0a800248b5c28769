//! The embedded DynamoDB engine (SQLite inside), which the functions use with their SDK as in production: in
//! this process by [`DatabaseServer::http_client`], from others over HTTP. The engine's own server answers
//! everyone, web pages included; this one only requests that are signed with the run's access key.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::config::SharedHttpClient;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use thiserror::Error;
use tickets_engine::{Database, TARGET};
use tickets_repository::History;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::access_key::AccessKey;
use super::http::{discard, private, read, serve};
use super::stream::{self, Feed, StreamError};

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
        let state = HandlerState { database: database.clone(), key };
        let router = private(Router::new().fallback(answer).with_state(state), address);
        let task = tokio::spawn(serve(listener, router, std::future::pending()));
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
        tickets_engine::http_client(&self.database)
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
struct HandlerState {
    database: Database,
    key: AccessKey,
}

async fn answer(State(state): State<HandlerState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // The signature covers the body, but only who knows this run's access key can name it.
    let is_named = state.key.is_named_in(&parts);
    let body = if is_named { read(body, MAX_REQUEST).await } else { discard(body, MAX_REQUEST).await };
    let body = match body {
        Ok(body) => body,
        Err(status) => return status.into_response(),
    };
    if parts.method != Method::POST || !state.key.has_signed(&parts, &body) {
        let message = "not signed with the access key of this run, which `tickets db` prints";
        let (status, body) = tickets_engine::refused("UnrecognizedClientException", message);
        return reply(status, body);
    }
    let target = parts.headers.get(TARGET).and_then(|target| target.to_str().ok());
    let (status, body) = tickets_engine::answer(&state.database, target, &body);
    reply(status, body)
}

fn reply(status: u16, body: impl IntoResponse) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/x-amz-json-1.0")], body).into_response()
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
