//! The data directory. One process at a time opens it; others use that process's database server.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use aws_config::SdkConfig;
use thiserror::Error;
use tickets_domain::{ApiKey, BearerToken, Clock, KeyStore, Meter, Scope, Settings};
use tickets_repository::deployment::FormatError;
use tickets_repository::{DynamoDb, History, Keys, Tickets, schema};

use super::access_key::AccessKey;
use super::database::{DatabaseError, DatabaseServer};
use super::stream::{Feed, StreamError};
use crate::{data, private};

/// Why local data cannot be used.
#[derive(Debug, Error)]
pub enum LocalError {
    /// A file cannot be used.
    #[error("cannot use {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// Another process uses the directory, but its database is not served yet.
    #[error("{0} is in use by another process that is just starting; try again")]
    InUse(PathBuf),
    /// The key file does not hold a key.
    #[error("{0} holds no key; remove it to get a new one")]
    NoKey(PathBuf),
    /// The database does not start.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The stream of changes cannot be read.
    #[error("cannot read the stream of changes: {0}")]
    Stream(#[from] StreamError),
    /// The system has no randomness.
    #[error("no randomness for a key: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The tables cannot be created.
    #[error("cannot prepare the database: {0}")]
    Tables(#[from] tickets_domain::Error),
    /// A newer program has written the data.
    #[error(transparent)]
    Format(FormatError),
}

impl From<FormatError> for LocalError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Tickets(error) => error.into(),
            newer @ FormatError::Newer(_) => Self::Format(newer),
        }
    }
}

/// A local database, with its tables.
#[derive(Debug)]
pub struct Local {
    /// The data directory, unless the database is in memory.
    directory: Option<PathBuf>,
    pub url: String,
    /// The access key of the database.
    pub key: AccessKey,
    /// The server, and the directory's lock, if this process opened the database.
    own: Option<(DatabaseServer, Option<File>)>,
}

impl Local {
    /// A database in memory, served at `address`.
    pub async fn in_memory(address: SocketAddr) -> Result<Self, LocalError> {
        let key = AccessKey::generate()?;
        let server = DatabaseServer::start(None, address, key.clone()).await?;
        Self::prepared(None, server.url(), key, Some((server, None))).await
    }

    /// The database in a directory: served by this process at `address`, or by another one that opened it
    /// before.
    pub async fn open(directory: &Path, address: SocketAddr) -> Result<Self, LocalError> {
        let file = |path: PathBuf| move |source| LocalError::File { path, source };
        private::directory(directory).map_err(file(directory.into()))?;
        let path = directory.join(data::LOCK);
        let mut lock = private::open(&path).map_err(file(path.clone()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                lock.read_to_string(&mut text).map_err(file(path))?;
                let [url, id, secret] = text.lines().collect::<Vec<_>>()[..] else {
                    return Err(LocalError::InUse(directory.into()));
                };
                let key = AccessKey { id: id.into(), secret: secret.into() };
                let directory = Some(directory.into());
                return Ok(Self { directory, url: url.into(), key, own: None });
            }
            Err(TryLockError::Error(source)) => return Err(file(path)(source)),
        }
        lock.set_len(0).map_err(file(path.clone()))?;
        let database = directory.join(data::DATABASE);
        // Create the file before SQLite does, which would let others read it. SQLite gives its other files
        // the same permissions.
        private::open(&database).map_err(file(database.clone()))?;
        let key = AccessKey::generate()?;
        let server = DatabaseServer::start(Some(&database), address, key.clone()).await?;
        let url = server.url();
        let text = format!("{url}\n{}\n{}\n", key.id, key.secret);
        let published = lock.try_clone().map_err(file(path.clone()))?;
        let own = Some((server, Some(lock)));
        let local = Self::prepared(Some(directory.into()), url, key, own).await?;
        // Enable the stream also for a process that does not feed the history: the next one that does feeds
        // its writes.
        local.enable_stream().await?;
        // Only now: a process that reads the address must find the tables.
        (&published).write_all(text.as_bytes()).map_err(file(path))?;
        Ok(local)
    }

    async fn prepared(
        directory: Option<PathBuf>,
        url: String,
        key: AccessKey,
        own: Option<(DatabaseServer, Option<File>)>,
    ) -> Result<Self, LocalError> {
        let local = Self { directory, url, key, own };
        let dynamodb = local.dynamodb();
        schema::create_tables(&dynamodb, schema::TICKETS, schema::API_KEYS).await?;
        let tickets = Tickets::new(dynamodb.clone(), schema::TICKETS, Clock::system(), Settings::default());
        tickets.check_format().await?;
        schema::create_history_table(&dynamodb, schema::HISTORY).await?;
        schema::create_webhook_table(&dynamodb, schema::WEBHOOKS).await?;
        for table in [schema::TICKETS, schema::HISTORY] {
            schema::enable_expiry(&dynamodb, table).await?;
        }
        Ok(local)
    }

    /// The SDK's configuration for the database, with the access key.
    pub fn sdk_config(&self) -> SdkConfig {
        let sdk_config = self.key.sdk_config(&self.url);
        match &self.own {
            Some((server, _)) => sdk_config.into_builder().http_client(server.http_client()).build(),
            None => sdk_config,
        }
    }

    pub fn dynamodb(&self) -> DynamoDb {
        DynamoDb::new(&self.sdk_config())
    }

    /// Records every write to the tickets' table in the history, until the returned feed is dropped. `None`
    /// if another process opened the database: it does so itself.
    pub async fn feed(&self) -> Result<Option<Feed>, LocalError> {
        let Some((server, _)) = &self.own else { return Ok(None) };
        self.enable_stream().await?;
        // The function that records uses nothing of the settings.
        let (clock, settings) = (Clock::system(), Settings::default());
        Ok(Some(server.feed(History::new(self.dynamodb(), schema::HISTORY, clock, settings))?))
    }

    /// Gives the tickets' table a stream, if it has none.
    async fn enable_stream(&self) -> Result<(), LocalError> {
        if let Some((server, _)) = &self.own
            && !server.has_stream(schema::TICKETS)?
        {
            schema::enable_stream(&self.dynamodb(), schema::TICKETS).await?;
        }
        Ok(())
    }

    /// The absolute path of the directory of exports, which is created if missing. `None` if data are in memory.
    pub fn exports(&self) -> Result<Option<PathBuf>, LocalError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = directory.join(data::EXPORTS);
        let failed = |source| LocalError::File { path: path.clone(), source };
        private::directory(&path).map_err(failed)?;
        if self.is_own() {
            remove_unfinished(&path).map_err(failed)?;
        }
        std::path::absolute(&path).map(Some).map_err(failed)
    }

    /// A development key with every scope, kept in the data directory. In memory, a new key each time.
    pub async fn development_key(&self, keys: &Keys, clock: &Clock) -> Result<BearerToken, LocalError> {
        let token = match &self.directory {
            Some(directory) => kept_token(&directory.join(data::DEV_KEY))?,
            None => BearerToken::generate()?,
        };
        store_development_key(keys, &token, clock).await?;
        Ok(token)
    }

    /// Whether this process opened the database.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }
}

/// Removes the files that killed processes left half-written. `object_store` calls them as the object, with `#` and a
/// number, and renames them when they are complete. An erasure would not find them.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if kind.is_dir() {
            remove_unfinished(&path)?;
        } else if name.rsplit_once('#').is_some_and(|(_, number)| number.parse::<u64>().is_ok()) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

pub fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Stores a key with every scope, unless it is stored already.
pub async fn store_development_key(
    keys: &Keys,
    token: &BearerToken,
    clock: &Clock,
) -> Result<(), LocalError> {
    if keys.find(&token.id, &Meter::default()).await?.is_none() {
        let key =
            ApiKey { note: Some("development key".into()), ..ApiKey::new(token, Scope::ALL, clock.now()) };
        keys.insert(&key).await?;
    }
    Ok(())
}

fn kept_token(path: &Path) -> Result<BearerToken, LocalError> {
    let failed = |source| LocalError::File { path: path.into(), source };
    match private::read(path).map_err(failed)? {
        Some(text) => text.trim().parse().map_err(|_| LocalError::NoKey(path.into())),
        None => {
            let token = BearerToken::generate()?;
            private::write(path, &format!("{}\n", token.reveal())).map_err(failed)?;
            Ok(token)
        }
    }
}
