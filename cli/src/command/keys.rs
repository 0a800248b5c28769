//! `tickets keys`: make, list and revoke keys.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tickets_domain::id::CustomerId;
use tickets_domain::{ApiKey, BearerToken, Clock, Error, KeyId, Scope, Timestamp};
use tickets_repository::Keys as Store;
use tickets_repository::api_key::REMEMBERED;

use super::{CommandError, Tables, open, plain_table};

/// Make, list and revoke API keys
#[derive(Debug, Clone, Args)]
pub struct Keys {
    #[command(subcommand)]
    action: Action,
    /// Database to use; without it and --data the one your AWS configuration leads to
    #[arg(long, global = true, env = "AWS_ENDPOINT_URL_DYNAMODB", value_name = "URL")]
    endpoint_url: Option<String>,
    /// Local data directory to use, as `tickets serve` does
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "endpoint_url")]
    data: Option<PathBuf>,
    #[command(flatten)]
    tables: Tables,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Make a key; its secret is shown once
    Create(Create),
    /// List the keys
    List,
    /// Revoke a key; functions forget it within a minute
    Revoke {
        /// The key's id: the part between the underscores
        id: KeyId,
    },
}

#[derive(Debug, Clone, Args)]
struct Create {
    /// What the key may do: read, write, delete
    #[arg(long, value_delimiter = ',', default_value = "read", value_name = "SCOPE,…")]
    scopes: Vec<Scope>,
    /// When it ends: a date or time, or a number of days like 90d
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<Expires>,
    /// The one customer whose tickets exist for it
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// Who has it, for people
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Expires {
    At(Timestamp),
    In(Duration),
}

fn expiry(text: &str) -> Result<Expires, String> {
    const DAY: u64 = 24 * 60 * 60;
    match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) if days > 0 => Ok(Expires::In(Duration::from_secs(u64::from(days) * DAY))),
        _ => text.parse().map(Expires::At).map_err(|error: tickets_domain::time::InvalidTime| {
            format!("{error}, or a number of days like 90d")
        }),
    }
}

impl Keys {
    /// Does what was asked.
    ///
    /// # Errors
    /// Where the database does not do, or there is no such key.
    pub async fn run(self) -> Result<(), CommandError> {
        let opened = open(self.endpoint_url.as_deref(), self.data.as_ref()).await?;
        let clock = Clock::system();
        let store = Store::new(opened.client.clone(), self.tables.api_keys_table, clock.clone());
        match self.action {
            Action::Create(create) => create.run(&store, clock.now()).await,
            Action::List => list(&store, clock.now()).await,
            Action::Revoke { id } => match store.revoke(&id).await {
                Ok(()) => {
                    println!(
                        "revoked {id}; functions that know it forget it within {} s",
                        REMEMBERED.as_secs()
                    );
                    Ok(())
                }
                Err(Error::NotFound) => Err(CommandError::NoSuchKey(id.to_string())),
                Err(error) => Err(error.into()),
            },
        }
    }
}

impl Create {
    async fn run(self, store: &Store, now: Timestamp) -> Result<(), CommandError> {
        let token = BearerToken::generate()?;
        let key = ApiKey {
            customer: self.customer,
            note: self.note,
            expires: self.expires.map(|expires| match expires {
                Expires::At(time) => time,
                Expires::In(duration) => now.plus(duration),
            }),
            ..ApiKey::new(&token, self.scopes, now)
        };
        store.insert(&key).await?;
        // Alone on standard output, for scripts; the rest is for people.
        println!("{}", token.reveal());
        eprintln!(
            "This is the only time the key {} is shown. Send it as: Authorization: Bearer tk_…",
            key.id
        );
        Ok(())
    }
}

async fn list(store: &Store, now: Timestamp) -> Result<(), CommandError> {
    let mut table = plain_table(["KEY", "STATE", "SCOPES", "CUSTOMER", "CREATED", "EXPIRES", "NOTE"]);
    for key in store.list().await? {
        let state = match (key.revoked, key.is_active(now)) {
            (Some(_), _) => "revoked",
            (None, true) => "active",
            (None, false) => "expired",
        };
        let scopes: Vec<_> = key.scopes.iter().map(Scope::to_string).collect();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        table.add_row([
            key.id.to_string(),
            state.into(),
            scopes.join(","),
            or_dash(key.customer.map(|customer| customer.to_string())),
            key.created.to_string(),
            or_dash(key.expires.map(|time| time.to_string())),
            or_dash(key.note),
        ]);
    }
    println!("{table}");
    Ok(())
}
