//! The tables to work on: those of a deployment, or local ones.

use std::path::PathBuf;

use aws_config::{BehaviorVersion, SdkConfig};
use clap::Args;
use tickets_app::Config;
use tickets_app::config::TIMES;
use tickets_domain::{Clock, Settings};
use tickets_repository::http_client::{is_on_this_machine, system_http_client};
use tickets_repository::{DynamoDb, Tickets, schema};

use crate::data;
use crate::error::CommandError;
use crate::output::note;
use crate::server::local::{Local, any_port};

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
    /// Whether the database is on this machine: then this shell configures the functions too.
    is_here: bool,
}

impl Opened {
    /// Whether another running process serves this database.
    pub fn is_served(&self) -> bool {
        self.local.as_ref().is_some_and(|local| !local.is_own())
    }

    /// The configuration of the functions that work on a table: what they noted there. If they noted none, that of
    /// this shell, for a database on this machine, or if the shell sets [`TIMES`] and these variables.
    ///
    /// # Errors
    /// [`CommandError::Unconfigured`] if nothing says how the functions are configured.
    pub async fn config(&self, table: &str, needed: &[&'static str]) -> Result<Config, CommandError> {
        let tickets = Tickets::new(self.dynamodb.clone(), table, Clock::system(), Settings::default());
        if let Some(variables) = tickets.noted_configuration().await? {
            return Ok(Config::with(&variables)?);
        }
        let missing = Config::missing(&[&TIMES[..], needed].concat());
        if self.is_here || missing.is_empty() {
            return Ok(Config::from_env()?);
        }
        Err(CommandError::Unconfigured { table: table.to_owned(), missing: missing.join(", ") })
    }
}

/// The database at an endpoint; without one, that of a data directory; without either, the deployed one of
/// the usual AWS configuration.
pub async fn open(endpoint_url: Option<&str>, data: Option<&PathBuf>) -> Result<Opened, CommandError> {
    if let Some(url) = endpoint_url {
        let dynamodb = DynamoDb::new(&sdk_config(Some(url)).await?);
        return Ok(Opened { dynamodb, local: None, is_here: is_on_this_machine(url) });
    }
    match data {
        Some(directory) => {
            let local = Local::open(directory, any_port()).await?;
            Ok(Opened { dynamodb: local.dynamodb(), local: Some(local), is_here: true })
        }
        None => {
            let dynamodb = DynamoDb::new(&sdk_config(None).await?);
            Ok(Opened { dynamodb, local: None, is_here: false })
        }
    }
}

/// The local data directory, if it exists and neither an endpoint nor a table's name points to a deployment: the table
/// of a deployment never has the local name. Says so; `what` and `flag` name the table's content, and its flag.
pub fn local_data(
    endpoint_url: Option<&str>,
    is_local_name: bool,
    what: &str,
    flag: &str,
) -> Option<PathBuf> {
    let is_local = endpoint_url.is_none() && is_local_name;
    let directory = Some(PathBuf::from(data::DIRECTORY)).filter(|directory| is_local && directory.is_dir());
    if directory.is_some() {
        note(format!("the {what} in {}; {flag} names a deployment's", data::DIRECTORY));
    }
    directory
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tickets_app::config::PRESETS;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[tokio::test]
    async fn what_functions_noted_comes_before_this_shell_and_without_it_a_deployment_is_refused() {
        let local = Local::in_memory(any_port()).await.unwrap();
        let opened = |is_here| Opened { dynamodb: local.dynamodb(), local: None, is_here };
        let error = opened(false).config(schema::TICKETS, &PRESETS).await.unwrap_err().to_string();
        for name in PRESETS.iter().chain(&TIMES) {
            assert!(error.contains(name), "{name}: {error}");
        }
        let error = opened(false).config(schema::TICKETS, &[]).await.unwrap_err().to_string();
        assert!(error.contains("set SETTLE_SECONDS, TOMBSTONE_DAYS as the deployment"), "{error}");
        let here = opened(true).config(schema::TICKETS, &PRESETS).await.unwrap();
        assert_eq!(here.settings.keep_tombstones, 90 * DAY);

        let tickets = Tickets::new(local.dynamodb(), schema::TICKETS, Clock::system(), Settings::default());
        let deployed = Config::from_lookup(|name| match name {
            "TOMBSTONE_DAYS" => Some("365".to_owned()),
            "SETTLE_SECONDS" => Some("300".to_owned()),
            "TICKET_STATUSES" => Some("new, done".to_owned()),
            _ => None,
        });
        tickets.note_configuration(&deployed.unwrap().variables()).await.unwrap();
        for is_here in [true, false] {
            let config = opened(is_here).config(schema::TICKETS, &PRESETS).await.unwrap();
            assert_eq!(config.settings.keep_tombstones, 365 * DAY);
            assert_eq!(config.settings.settle, Duration::from_secs(300));
            assert_eq!(config.presets.status.values(), ["new", "done"]);
        }
    }
}
