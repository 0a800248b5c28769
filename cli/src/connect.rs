//! How commands reach the API, the tables of a deployment, and local data.

use std::path::PathBuf;
use std::{fmt, fs};

use aws_config::{BehaviorVersion, SdkConfig};
use clap::Args;
use tickets_app::Config;
use tickets_domain::BearerToken;
use tickets_http::route::BASE_PATH;
use tickets_repository::client::{is_on_this_machine, system_http_client};
use tickets_repository::{DynamoDb, schema};

use crate::client::{Client, ClientError};
use crate::error::CommandError;
use crate::local::{DATA, Local, any_port};

/// The API to use, and the key for it.
#[derive(Debug, Clone, Args)]
pub struct Api {
    /// Base URL of the API; the local server's if not given
    #[arg(long, env = "TICKETS_API", value_name = "URL")]
    api: Option<String>,
    /// File with the key; the environment variable TICKETS_KEY is asked first
    #[arg(long, value_name = "FILE", default_value_os_t = PathBuf::from(DATA).join("dev-key"))]
    key_file: PathBuf,
    /// The key itself. It is not an argument because every user of a machine sees those
    #[arg(long, env = "TICKETS_KEY", hide = true, hide_env_values = true)]
    key: Option<Secret>,
}

/// A key as it was given, valid or not. `Debug` does not show it.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Api {
    /// A client of this API.
    pub fn client(&self) -> Result<Client, ClientError> {
        let no_key = |reason: String| ClientError::NoKey { path: self.key_file.clone(), reason };
        let text = match &self.key {
            Some(Secret(key)) => key.clone(),
            None => fs::read_to_string(&self.key_file).map_err(|error| no_key(error.to_string()))?,
        };
        let token: BearerToken = text.trim().parse().map_err(|_| no_key("it holds no key".into()))?;
        let local = || format!("http://127.0.0.1:3000{BASE_PATH}");
        Client::new(&self.api.clone().unwrap_or_else(local), &token)
    }
}

/// The names of the tables
#[derive(Debug, Clone, Args)]
pub struct Tables {
    /// Name of the table of tickets
    #[arg(long, global = true, env = "TICKETS_TABLE", default_value = schema::TICKETS, value_name = "NAME")]
    pub tickets_table: String,
    /// Name of the table of keys
    #[arg(long, global = true, env = "API_KEYS_TABLE", default_value = schema::API_KEYS, value_name = "NAME")]
    pub api_keys_table: String,
}

/// An open database: its connection, and the local server that it may need.
#[derive(Debug)]
pub struct Opened {
    pub dynamodb: DynamoDb,
    /// The local data, if the database is there.
    pub local: Option<Local>,
}

impl Opened {
    /// Whether another running process serves this database.
    pub fn is_served(&self) -> bool {
        self.local.as_ref().is_some_and(|local| !local.is_own())
    }
}

/// The database at an endpoint; without one, that of a data directory; without either, the deployed one of
/// the usual AWS configuration.
pub async fn open(endpoint_url: Option<&str>, data: Option<&PathBuf>) -> Result<Opened, CommandError> {
    if let Some(url) = endpoint_url {
        return Ok(Opened { dynamodb: DynamoDb::new(&sdk_config(Some(url)).await?), local: None });
    }
    match data {
        Some(directory) => {
            let local = Local::open(directory, any_port()).await?;
            Ok(Opened { dynamodb: local.dynamodb(), local: Some(local) })
        }
        None => Ok(Opened { dynamodb: DynamoDb::new(&sdk_config(None).await?), local: None }),
    }
}

/// The SDK's configuration with this user's AWS credentials: a profile, SSO, or any other source that the AWS
/// CLI knows. For an endpoint on this machine, credentials from the environment or dummy ones, as in a
/// function.
pub async fn sdk_config(endpoint_url: Option<&str>) -> Result<SdkConfig, CommandError> {
    if let Some(url) = endpoint_url.filter(|url| is_on_this_machine(url)) {
        return Ok(Config::from_env()?.sdk_config(Some(url))?);
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(system_http_client());
    if let Some(url) = endpoint_url {
        loader = loader.endpoint_url(url);
    }
    let sdk_config = loader.load().await;
    if sdk_config.region().is_none() || sdk_config.credentials_provider().is_none() {
        return Err(CommandError::NoRegion);
    }
    Ok(sdk_config)
}
