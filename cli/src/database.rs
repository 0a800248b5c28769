//! The embedded DynamoDB engine (SQLite inside), served over HTTP: the functions reach it with the
//! SDK they use in production.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use dynoxide::Database;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Why there is no database.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// Its file does not open.
    #[error("cannot open the database {path}: {reason}")]
    Open {
        /// The file.
        path: String,
        /// What the engine says.
        reason: String,
    },
    /// Its address is not to be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A database being served.
#[derive(Debug)]
pub struct DatabaseServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl DatabaseServer {
    /// Serves the database in `file`, or one in memory, at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the file does not open or the address is taken.
    pub async fn start(file: Option<&Path>, address: SocketAddr) -> Result<Self, DatabaseError> {
        let opened = match file {
            Some(path) => Database::new(&path.to_string_lossy()),
            None => Database::memory(),
        };
        let database = opened.map_err(|error| DatabaseError::Open {
            path: file.map_or_else(|| "in memory".into(), |path| path.display().to_string()),
            reason: error.to_string(),
        })?;
        let listen = |source| DatabaseError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { address, task: tokio::spawn(dynoxide::server::serve_on(listener, database)) })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
