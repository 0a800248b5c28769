//! The API to call, and the key for it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, fs};

use clap::Args;
use reqwest::Url;
use thiserror::Error;
use tickets_http::route::{BASE_PATH, TICKETS};
use tickets_repository::http_client::is_on_this_machine;

use super::{Client, ClientError, Patience};
use crate::data;

/// The URL below which an API has its paths, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

/// Why a text is not the base URL of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidBaseUrl {
    #[error(
        "--api, or TICKETS_API, must begin with http:// or https://, as https://tickets.example{BASE_PATH} does"
    )]
    Scheme,
    #[error(
        "--api, or TICKETS_API, must be a host and a path, as https://tickets.example{BASE_PATH} is, and no more"
    )]
    NotOnlyAPath,
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    /// Parses a base URL. A host alone, and the URL of the tickets, which `tickets serve` prints, name it too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim()).map_err(|_| InvalidBaseUrl::Scheme)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidBaseUrl::Scheme);
        }
        let has_more = url.query().or(url.fragment()).or(url.password()).is_some();
        if has_more || !url.username().is_empty() {
            return Err(InvalidBaseUrl::NotOnlyAPath);
        }
        let base = url.as_str().trim_end_matches('/');
        let base = base.strip_suffix(TICKETS).unwrap_or(base);
        Ok(Self(if url.path() == "/" { format!("{base}{BASE_PATH}") } else { base.to_owned() }))
    }
}

impl BaseUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The API to use, and the key for it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "API")]
pub struct Api {
    /// Base URL of the API; the local server's if not given
    #[arg(long, env = "TICKETS_API", value_name = "URL", default_value_t = local(), hide_default_value = true)]
    api: BaseUrl,
    /// File with the key; the environment variable TICKETS_KEY is asked first
    #[arg(long, value_name = "FILE", default_value_os_t = PathBuf::from(data::DIRECTORY).join(data::DEV_KEY))]
    key_file: PathBuf,
    /// The key itself. It is not an argument because every user of a machine sees those
    #[arg(long, env = "TICKETS_KEY", hide = true, hide_env_values = true)]
    key: Option<Secret>,
}

/// The local server's.
fn local() -> BaseUrl {
    BaseUrl(format!("http://{}{BASE_PATH}", data::ADDRESS))
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
    /// The data directory of the server that this calls, if it is known: the server on this machine has accepted the
    /// development key that lies there.
    pub fn data(&self) -> Option<&Path> {
        let is_its_key = self.key_file.ends_with(data::DEV_KEY) && self.key.is_none();
        self.key_file.parent().filter(|_| is_its_key && is_on_this_machine(self.api.as_str()))
    }

    /// A client of this API, for a command.
    pub fn client(&self) -> Result<Client, ClientError> {
        self.client_of(Patience::Command)
    }

    /// A client of this API that waits no longer than this.
    pub fn client_of(&self, patience: Patience) -> Result<Client, ClientError> {
        let path = &self.key_file;
        let (text, source) = match &self.key {
            Some(Secret(key)) => (key.clone(), "TICKETS_KEY".to_owned()),
            None => match fs::read_to_string(path) {
                Ok(text) => (text, format!("what {} holds", path.display())),
                Err(error) => {
                    return Err(ClientError::NoKey { path: path.clone(), reason: error.to_string() });
                }
            },
        };
        let token = text.trim().parse().map_err(|_| ClientError::InvalidKey(source))?;
        Client::new(self.api.clone(), &token, patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_url_is_taken_in_every_form_in_which_people_have_it() {
        for (given, base) in [
            ("http://127.0.0.1:3000/backend/api/v1/tickets/", "http://127.0.0.1:3000/backend/api/v1"),
            ("http://127.0.0.1:3000/backend/api/v1", "http://127.0.0.1:3000/backend/api/v1"),
            ("https://a.example/backend/api/v1/", "https://a.example/backend/api/v1"),
            ("https://a.example", "https://a.example/backend/api/v1"),
            (" HTTPS://A.example:443/ ", "https://a.example/backend/api/v1"),
            ("http://[::1]:3000", "http://[::1]:3000/backend/api/v1"),
            ("https://a.example/support/tickets", "https://a.example/support"),
            ("https://a.example/mytickets", "https://a.example/mytickets"),
        ] {
            assert_eq!(given.parse::<BaseUrl>().unwrap().as_str(), base, "{given}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_what_one_looks_like() {
        use InvalidBaseUrl::{NotOnlyAPath, Scheme};
        for (given, error) in [
            ("127.0.0.1:3000/backend/api/v1", Scheme),
            ("localhost:3000", Scheme),
            ("tickets.example", Scheme),
            ("/backend/api/v1", Scheme),
            ("ftp://a.example/", Scheme),
            ("https://", Scheme),
            ("", Scheme),
            ("https://a.example/backend/api/v1?limit=1", NotOnlyAPath),
            ("https://a.example/#tickets", NotOnlyAPath),
            ("https://ada@a.example/", NotOnlyAPath),
            ("https://:secret@a.example/", NotOnlyAPath),
        ] {
            assert_eq!(given.parse::<BaseUrl>(), Err(error), "{given}");
        }
        assert!(Scheme.to_string().contains("https://tickets.example/backend/api/v1"));
    }
}
