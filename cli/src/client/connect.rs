//! The API to call, and the key for it.

use std::path::PathBuf;
use std::{fmt, fs};

use clap::Args;
use tickets_domain::BearerToken;
use tickets_http::route::BASE_PATH;

use super::{Client, ClientError};
use crate::data;

/// The API to use, and the key for it.
#[derive(Debug, Clone, Args)]
pub struct Api {
    /// Base URL of the API; the local server's if not given
    #[arg(long, env = "TICKETS_API", value_name = "URL")]
    api: Option<String>,
    /// File with the key; the environment variable TICKETS_KEY is asked first
    #[arg(long, value_name = "FILE", default_value_os_t = PathBuf::from(data::DIRECTORY).join(data::DEV_KEY))]
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
