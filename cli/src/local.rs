//! The data directory: one process at a time has it open; others find that process' database.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use aws_sdk_dynamodb::Client;
use thiserror::Error;
use tickets_domain::{ApiKey, BearerToken, Clock, KeyStore, Scope};
use tickets_repository::{Connection, Keys, schema};

use crate::database::{DatabaseError, DatabaseServer};

/// Where data is kept if nothing else is said.
pub const DATA: &str = ".tickets";

/// Why local data cannot be used.
#[derive(Debug, Error)]
pub enum LocalError {
    /// A file does not do.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory is in use by a process that does not say where its database is.
    #[error("{0} is in use by another process that is just starting; try again")]
    InUse(PathBuf),
    /// The key file holds something else.
    #[error("{0} holds no key; remove it to get a new one")]
    NoKey(PathBuf),
    /// The database does not do.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The system has no randomness to give.
    #[error("no randomness for a key: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The tables do not do.
    #[error("cannot prepare the database: {0}")]
    Tables(#[from] tickets_domain::Error),
}

/// A local database, with its tables.
#[derive(Debug)]
pub struct Local {
    /// Where it is.
    pub url: String,
    /// The server and the directory's lock, where they are this process'.
    _own: Option<(DatabaseServer, Option<File>)>,
}

impl Local {
    /// A database in memory, at a free port.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn in_memory(address: SocketAddr) -> Result<Self, LocalError> {
        let server = DatabaseServer::start(None, address).await?;
        Self::prepared(server.url(), Some((server, None))).await
    }

    /// The database in a directory: opened and served at `address`, or that of the process which has it open.
    ///
    /// # Errors
    /// Where neither does.
    pub async fn open(directory: &Path, address: SocketAddr) -> Result<Self, LocalError> {
        let file = |path: PathBuf| move |source| LocalError::File { path, source };
        fs::create_dir_all(directory).map_err(file(directory.into()))?;
        let path = directory.join("lock");
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = lock.map_err(file(path.clone()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let url = fs::read_to_string(&path).map_err(file(path))?;
                return if url.is_empty() {
                    Err(LocalError::InUse(directory.into()))
                } else {
                    Ok(Self { url, _own: None })
                };
            }
            Err(TryLockError::Error(source)) => return Err(file(path)(source)),
        }
        lock.set_len(0).map_err(file(path.clone()))?;
        let server = DatabaseServer::start(Some(&directory.join("tickets.db")), address).await?;
        let url = server.url();
        let local = Self::prepared(url.clone(), None).await?;
        // Only now: whoever reads it finds the tables there.
        lock.write_all(url.as_bytes()).map_err(file(path))?;
        Ok(Self { _own: Some((server, Some(lock))), ..local })
    }

    async fn prepared(url: String, own: Option<(DatabaseServer, Option<File>)>) -> Result<Self, LocalError> {
        let local = Self { url, _own: own };
        schema::create_tables(&local.client().await, schema::TICKETS, schema::API_KEYS).await?;
        Ok(local)
    }

    /// A client of it.
    pub async fn client(&self) -> Client {
        Connection::to(&self.url).open()
    }

    /// Whether it is this process'.
    pub fn is_own(&self) -> bool {
        self._own.is_some()
    }
}

/// Any port of this machine's loopback address.
pub fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A development key with every scope, kept in `file`; without one, a new key each time.
///
/// # Errors
/// Where the file or the table does not do.
pub async fn development_key(
    keys: &Keys,
    file: Option<&Path>,
    clock: &Clock,
) -> Result<BearerToken, LocalError> {
    let token = match file {
        Some(path) => kept_token(path)?,
        None => BearerToken::generate()?,
    };
    store_development_key(keys, &token, clock).await?;
    Ok(token)
}

/// Stores a key with every scope, if it is not there.
///
/// # Errors
/// Where the table does not do.
pub async fn store_development_key(
    keys: &Keys,
    token: &BearerToken,
    clock: &Clock,
) -> Result<(), LocalError> {
    if keys.find(&token.id).await?.is_none() {
        let key =
            ApiKey { note: Some("development key".into()), ..ApiKey::new(token, Scope::ALL, clock.now()) };
        keys.insert(&key).await?;
    }
    Ok(())
}

fn kept_token(path: &Path) -> Result<BearerToken, LocalError> {
    let failed = |source| LocalError::File { path: path.into(), source };
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| LocalError::NoKey(path.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = BearerToken::generate()?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let written = options.open(path).and_then(|mut file| writeln!(file, "{}", token.reveal()));
            written.map_err(failed)?;
            Ok(token)
        }
        Err(error) => Err(failed(error)),
    }
}
