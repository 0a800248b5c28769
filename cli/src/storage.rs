//! An S3-compatible object store over files, so that exports use it with their SDK as in production. It
//! answers only requests that are signed with the run's access key.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aws_config::SdkConfig;
use axum::error_handling::HandleError;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use thiserror::Error;
use tickets_app::EXPORT_BUCKET;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::access_key::AccessKey;
use crate::server::{private, serve};

/// Why the store does not start.
#[derive(Debug, Error)]
pub enum StorageError {
    /// Its directory cannot be used.
    #[error("cannot keep objects in {path}: {reason}")]
    Directory { path: PathBuf, reason: String },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// A running store with the bucket of exports. Objects are files below its directory.
#[derive(Debug)]
pub struct StorageServer {
    key: AccessKey,
    address: SocketAddr,
    directory: PathBuf,
    task: JoinHandle<()>,
    _temporary: Option<TempDir>,
}

impl StorageServer {
    /// Serves the objects in `directory`, or in a temporary one, at `address` for holders of `key`. Port 0
    /// takes a free port.
    pub async fn start(
        directory: Option<&Path>,
        address: SocketAddr,
        key: AccessKey,
    ) -> Result<Self, StorageError> {
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
        // In a deployment the template creates the bucket. Here it is a directory.
        for path in [directory.clone(), directory.join(EXPORT_BUCKET)] {
            crate::private::directory(&path).map_err(|error| failed(&path, &error))?;
        }
        let files = FileSystem::new(&directory).map_err(|error| failed(&directory, &format!("{error:?}")))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(key.id.clone(), key.secret.clone()));
        let service = HandleError::new(service.build(), async |_| StatusCode::INTERNAL_SERVER_ERROR);

        let listen = |source| StorageError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let router =
            axum::Router::new().fallback_service(service).layer(middleware::from_fn(refuse_climbing));
        let task = tokio::spawn(serve(listener, private(router, address), std::future::pending()));
        Ok(Self { key, address, directory, task, _temporary: temporary })
    }

    /// The SDK's configuration for the store, with the access key.
    pub fn sdk_config(&self) -> SdkConfig {
        self.key.sdk_config(self.url())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The directory whose files are the bucket's objects.
    pub fn bucket_directory(&self) -> PathBuf {
        self.directory.join(EXPORT_BUCKET)
    }
}

/// Refuses keys with `..` between slashes. S3 takes them, but here an object is a file, and `FileSystem`
/// would panic.
async fn refuse_climbing(request: Request, next: Next) -> Response {
    let headers = request.headers().get("x-amz-copy-source").and_then(|source| source.to_str().ok());
    let climbs = |path: &str| {
        let path = percent_decode_str(path).decode_utf8_lossy();
        path.split(['/', '\\', '?']).any(|part| part == "..")
    };
    match climbs(request.uri().path()) || headers.is_some_and(climbs) {
        true => (StatusCode::BAD_REQUEST, "a key with .. has no place in a store of files\n").into_response(),
        false => next.run(request).await,
    }
}

impl Drop for StorageServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
