//! `tickets keys`: makes, lists, rotates and revokes API keys.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use console::Style;
use tickets_domain::id::CustomerId;
use tickets_domain::{ApiKey, BearerToken, Clock, Error, KeyId, RateLimit, Scope, Timestamp};
use tickets_repository::key_cache::REMEMBERED;
use tickets_repository::{Keys as Store, schema};

use crate::error::CommandError;
use crate::operator::connect::{Tables, local_data, open};
use crate::output::{Table, Text, note, print, sanitize};

/// Make, list, rotate and revoke API keys
#[derive(Debug, Clone, Args)]
pub struct Keys {
    #[command(subcommand)]
    action: Action,
    /// Database to use; without this and --data, the one in .tickets if that exists and no table is named,
    /// else that of your AWS configuration
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
    /// Give a key a new secret, shown once; the old one stays valid for a while. All else stays, id and limit
    /// included
    Rotate(Rotate),
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
    /// When it ends: a date or time, a number of days like 90d, or never
    #[arg(long, env = "TICKETS_KEY_EXPIRES", default_value = "never", value_name = "WHEN", value_parser = expiry)]
    expires: Expires,
    /// How often it may be used, in each second, minute or hour: 10/s, 600/m, 5000/h; unlimited if not given
    #[arg(long, value_name = "LIMIT")]
    limit: Option<RateLimit>,
    /// The only customer whose tickets the key can see
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// Who has the key: a note for people
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Who makes the key, as `keys list` shows it; the user of this machine if not given
    #[arg(long, env = "USER", hide_env = true, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, Clone, Args)]
struct Rotate {
    /// The key's id: the part between the underscores
    id: KeyId,
    /// How long the old secret still lasts, in minutes, hours or days like 30m, 24h, 7d; 0m if it has leaked
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = duration)]
    old_lasts: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Expires {
    Never,
    At(Timestamp),
    In(Duration),
}

fn expiry(text: &str) -> Result<Expires, String> {
    match (text, duration(text)) {
        ("never", _) => Ok(Expires::Never),
        (_, Ok(duration)) if !duration.is_zero() => Ok(Expires::In(duration)),
        _ => text.parse().map(Expires::At).map_err(|error: tickets_domain::time::InvalidTime| {
            format!("{error}, a number of days like 90d, or never")
        }),
    }
}

/// Parses a number of minutes, hours or days.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [('m', 60), ('h', 60 * 60), ('d', 24 * 60 * 60)];
    let parsed = units.into_iter().find_map(|(unit, seconds)| {
        let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Duration::from_secs(u64::from(number) * seconds))
    });
    parsed.ok_or_else(|| "must be a number of minutes, hours or days like 30m, 24h or 7d".to_owned())
}

impl Expires {
    /// The time at which a key made now ends.
    ///
    /// # Errors
    /// If that time has passed.
    fn after(self, now: Timestamp) -> Result<Option<Timestamp>, CommandError> {
        match self {
            Self::Never => Ok(None),
            Self::In(duration) => Ok(Some(now.plus(duration))),
            Self::At(time) if now < time => Ok(Some(time)),
            Self::At(time) => Err(CommandError::Usage(format!(
                "--expires {time} has passed: nobody could use the key; name a time to come, or a number of days like 90d"
            ))),
        }
    }
}

impl Keys {
    pub async fn run(self) -> Result<(), CommandError> {
        let is_local_name = self.tables.api_keys_table == schema::API_KEYS;
        let data = self
            .data
            .or_else(|| local_data(self.endpoint_url.as_deref(), is_local_name, "keys", "--api-keys-table"));
        let opened = open(self.endpoint_url.as_deref(), data.as_ref()).await?;
        let clock = Clock::system();
        let store = Store::new(opened.dynamodb.clone(), self.tables.api_keys_table, clock.clone());
        match self.action {
            Action::Create(create) => create.run(&store, clock.now()).await,
            Action::List => list(&store, clock.now()).await,
            Action::Rotate(rotate) => rotate.run(&store, clock.now()).await,
            Action::Revoke { id } => match store.revoke(&id).await {
                Ok(()) => {
                    let seconds = REMEMBERED.as_secs();
                    Ok(print(format!("revoked {id}; functions that know it forget it within {seconds} s"))?)
                }
                Err(Error::NotFound) => Err(CommandError::NoSuchKey(id)),
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
            limit: self.limit,
            note: self.note,
            created_by: self.by,
            expires: self.expires.after(now)?,
            ..ApiKey::new(&token, self.scopes, now)
        };
        store.insert(&key).await?;
        show(&token)?;
        Ok(())
    }
}

impl Rotate {
    async fn run(self, store: &Store, now: Timestamp) -> Result<(), CommandError> {
        let (token, ends) = (BearerToken::renew(self.id)?, now.plus(self.old_lasts));
        match store.rotate(&token, ends).await {
            Ok(()) => {}
            Err(Error::NotFound) => return Err(CommandError::NoSuchKey(token.id)),
            Err(error) => return Err(error.into()),
        }
        show(&token)?;
        if self.old_lasts.is_zero() {
            note(format!("The old secret ends within {} s, when functions forget it.", REMEMBERED.as_secs()));
        } else {
            note(format!("The old secret works until {ends}; any older one has ended."));
        }
        Ok(())
    }
}

/// Prints a key: the key alone on standard output, for scripts, and an explanation on standard error.
fn show(token: &BearerToken) -> Result<(), CommandError> {
    print(token.reveal())?;
    note(format!(
        "This is the only time the key {} is shown. Send it as: Authorization: Bearer tk_…",
        token.id
    ));
    Ok(())
}

async fn list(store: &Store, now: Timestamp) -> Result<(), CommandError> {
    let mut table = Table::new(
        ["KEY", "STATE", "SCOPES", "CUSTOMER", "LIMIT", "CREATED", "BY", "EXPIRES", "LAST USED", "NOTE"],
        &["BY", "CREATED", "LAST USED", "LIMIT", "EXPIRES", "CUSTOMER", "SCOPES"],
    );
    let list = store.list().await?;
    for key in list.keys {
        let (state, style) = match (key.revoked, key.is_active(now)) {
            (Some(_), _) => ("revoked", Style::new().dim()),
            (None, true) => ("active", Style::new().green()),
            (None, false) => ("expired", Style::new().yellow()),
        };
        let scopes: Vec<_> = key.scopes.iter().map(Scope::to_string).collect();
        let or_dash = |text: Option<String>| Text::new(sanitize(text.as_deref().unwrap_or("-")));
        table.push([
            Text::new(&key.id),
            Text::default().styled(style, state),
            Text::new(scopes.join(",")),
            or_dash(key.customer.map(|customer| customer.to_string())),
            or_dash(key.limit.map(|limit| limit.to_string())),
            Text::new(key.created),
            or_dash(key.created_by),
            or_dash(key.expires.map(|time| time.to_string())),
            or_dash(key.last_used.map(|time| time.to_string())),
            or_dash(key.note),
        ]);
    }
    for id in &list.broken {
        table.push([Text::new(sanitize(id)), Text::default().styled(Style::new().red(), "broken")]);
    }
    table.print()?;
    if !list.broken.is_empty() {
        note("A broken key lets nobody in: revoke it, and make another one.");
    }
    Ok(())
}
