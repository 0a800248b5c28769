//! A store of objects that speaks S3, over files: exports reach it with the SDK they use in production.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::error_handling::HandleError;
use axum::http::StatusCode;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use thiserror::Error;
use tickets_app::EXPORT_BUCKET;
use tickets_repository::connection::LOCAL_CREDENTIALS;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Why there is no store.
#[derive(Debug, Error)]
pub enum StorageError {
    /// Its directory does not do.
    #[error("cannot keep objects in {path}: {reason}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
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

/// A store being served, with the bucket of exports. Objects are files below its directory.
#[derive(Debug)]
pub struct StorageServer {
    address: SocketAddr,
    directory: PathBuf,
    task: JoinHandle<()>,
    _temporary: Option<TempDir>,
}

impl StorageServer {
    /// Serves the objects in `directory`, or those in a temporary one, at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the directory cannot be written or the address is taken.
    pub async fn start(directory: Option<&Path>, address: SocketAddr) -> Result<Self, StorageError> {
        let failed = |path: &Path, error: &dyn ToString| StorageError::Directory {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let temporary = match directory {
            Some(_) => None,
            None => Some(TempDir::new().map_err(|error| failed(&std::env::temp_dir(), &error))?),
        };
        let directory = directory.or(temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new("."));
        let directory = directory.to_owned();
        // The deployment makes the bucket; here it is a directory.
        std::fs::create_dir_all(directory.join(EXPORT_BUCKET)).map_err(|error| failed(&directory, &error))?;
        let files = FileSystem::new(&directory).map_err(|error| failed(&directory, &format!("{error:?}")))?;
        let mut service = S3ServiceBuilder::new(files);
        let (name, secret) = LOCAL_CREDENTIALS;
        service.set_auth(SimpleAuth::from_single(name, secret));
        let service = HandleError::new(service.build(), async |_| StatusCode::INTERNAL_SERVER_ERROR);

        let listen = |source| StorageError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let router = axum::Router::new().fallback_service(service);
        let serve = async move { axum::serve(listener, router).await };
        let task = tokio::spawn(async {
            let _ = serve.await;
        });
        Ok(Self { address, directory, task, _temporary: temporary })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The directory whose files are the bucket's objects.
    pub fn bucket_directory(&self) -> PathBuf {
        self.directory.join(EXPORT_BUCKET)
    }
}

impl Drop for StorageServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
