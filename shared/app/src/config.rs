//! The configuration, which is read from the environment only here.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_dynamodb::config::{Credentials, Region};
use thiserror::Error;
use tickets_domain::Settings;
use tickets_domain::preset::{InvalidPreset, Preset};
use tickets_domain::{PresetLists, Presets};
use tickets_http::cors::{InvalidOrigin, Origins};
use tickets_http::log;
use tickets_repository::deployment::Variables;
use tickets_repository::schema;

/// The variables of the presets.
pub const PRESETS: [&str; 5] =
    ["TICKET_TYPES", "TICKET_STATUSES", "CLOSED_STATUSES", "TICKET_PRIORITIES", "TICKET_OWNERS"];
/// The variables that say how long the settle window is, and how long a tombstone lasts.
pub const TIMES: [&str; 2] = ["SETTLE_SECONDS", "TOMBSTONE_DAYS"];
/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// A deployment's configuration, from the environment that the template sets.
#[derive(Debug, Clone)]
pub struct Config {
    /// `TICKETS_TABLE`.
    pub tickets_table: String,
    /// `API_KEYS_TABLE`.
    pub api_keys_table: String,
    /// `HISTORY_TABLE`.
    pub history_table: String,
    /// `WEBHOOKS_TABLE`.
    pub webhooks_table: String,
    /// `TICKET_TYPES`, `TICKET_STATUSES`, `CLOSED_STATUSES`, `TICKET_PRIORITIES`, `TICKET_OWNERS`:
    /// comma-separated.
    pub presets: Presets,
    /// `SETTLE_SECONDS`, `TOMBSTONE_DAYS`.
    pub settings: Settings,
    /// `CORS_ORIGINS`: comma-separated, `*` for any; empty for none.
    pub cors_origins: Origins,
    /// `SERVE_DOCS`: whether the deployment shows its description as a page.
    pub serve_docs: bool,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, or `AWS_ENDPOINT_URL`: a database other than the region's own.
    pub endpoint_url: Option<String>,
    /// Where exports go; only the export needs it.
    pub exports: Option<Exports>,
    /// `AWS_ENDPOINT_URL_S3`, or `AWS_ENDPOINT_URL`: an object store other than the region's own.
    pub s3_endpoint_url: Option<String>,
    /// `WEBHOOK_FAILING_DAYS`: how long a receiver may fail before its webhook is disabled.
    pub longest_failing: Duration,
    /// `WEBHOOKS_TO_THIS_MACHINE`: whether receivers on this machine get events, by http. For emulators of AWS only.
    pub webhooks_to_this_machine: bool,
    /// `AWS_REGION`, or `AWS_DEFAULT_REGION`: set by Lambda.
    pub region: Option<Region>,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`: set by Lambda.
    pub credentials: Option<Credentials>,
    /// `POWERTOOLS_METRICS_NAMESPACE` and `POWERTOOLS_SERVICE_NAME`, as in Powertools for AWS Lambda, and
    /// `AWS_LAMBDA_FUNCTION_NAME`, set by Lambda.
    pub log: log::Settings,
    /// `AWS_CA_BUNDLE`, as in the AWS SDKs: a file of roots to trust instead of Amazon's.
    pub ca_bundle: Option<PathBuf>,
}

/// Where exports go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exports {
    /// `EXPORT_BUCKET`: a bucket of S3, by its name.
    Bucket(String),
    /// `EXPORT_DIR`: an absolute path on a developer's machine. It wins over a bucket.
    Directory(PathBuf),
}

/// A variable whose value is refused.
#[derive(Debug, Error)]
pub enum InvalidConfig {
    /// A list of values is invalid.
    #[error("the values configured for {0}: {1}")]
    Preset(&'static str, InvalidPreset),
    /// A number is invalid or out of range.
    #[error("{name} must be a whole number from {least} to {most}, not {value:?}")]
    Number {
        name: &'static str,
        value: String,
        /// The least allowed value.
        least: u64,
        /// The greatest allowed value.
        most: u64,
    },
    /// A text that no browser sends as an origin.
    #[error("CORS_ORIGINS: {0}")]
    Origin(#[from] InvalidOrigin),
    /// A flag is neither true nor false.
    #[error("{name} must be true or false, not {value:?}")]
    Flag { name: &'static str, value: String },
    /// The directory of exports would depend on where the function was started.
    #[error("EXPORT_DIR must be an absolute path, not {0:?}")]
    RelativePath(PathBuf),
    /// Nothing says where exports go.
    #[error("EXPORT_BUCKET, or on a developer's machine EXPORT_DIR, has to be set")]
    NoExports,
    /// There are no credentials.
    #[error("AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY have to be set")]
    Nobody,
    /// The file of roots cannot be read.
    #[error("AWS_CA_BUNDLE: cannot read {}: {source}", path.display())]
    CaBundle {
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file of roots has no certificates, or unreadable ones.
    #[error("AWS_CA_BUNDLE: {} has to have certificates in PEM, and only readable ones", .0.display())]
    NoRoots(PathBuf),
}

impl Config {
    /// Reads the configuration from the process' environment.
    pub fn from_env() -> Result<Self, InvalidConfig> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place for configuration")]
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The same, with variables that come before those of the environment.
    pub fn with(variables: &Variables) -> Result<Self, InvalidConfig> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place for configuration")]
        Self::from_lookup(|name| variables.get(name).cloned().or_else(|| std::env::var(name).ok()))
    }

    /// Which of these variables the environment lacks.
    pub fn missing(names: &[&'static str]) -> Vec<&'static str> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place for configuration")]
        names.iter().copied().filter(|name| std::env::var(name).is_err()).collect()
    }

    /// What decides what is written to the table, and how it is listed: [`TIMES`] and [`PRESETS`]. Functions note it
    /// in the table, for operators' commands.
    pub fn variables(&self) -> Variables {
        let list = |preset: &Preset| preset.values().join(", ");
        let Presets { ticket_type, status, closed, priority, owner } = &self.presets;
        let presets = PRESETS.into_iter().zip([ticket_type, status, closed, priority, owner].map(list));
        let Settings { settle, keep_tombstones, .. } = &self.settings;
        let times = [settle.as_secs(), keep_tombstones.as_secs() / DAY].map(|number| number.to_string());
        presets.chain(TIMES.into_iter().zip(times)).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Reads the configuration through `lookup`. An empty value counts as none, except for a list that may be
    /// empty.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidConfig> {
        let text = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let or = |name: &str, default: &str| text(name).unwrap_or_else(|| default.to_owned());
        let number = |name: &'static str, default: u64, least: u64, most: u64| match text(name) {
            None => Ok(default),
            Some(value) => match value.trim().parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(InvalidConfig::Number { name, value, least, most }),
            },
        };
        let flag = |name: &'static str| match text(name).as_deref().map(str::trim) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(value) => Err(InvalidConfig::Flag { name, value: value.to_owned() }),
        };
        let default = PresetLists::default();
        let presets = Presets::parse(&PresetLists {
            types: &or("TICKET_TYPES", default.types),
            statuses: &or("TICKET_STATUSES", default.statuses),
            // Set and empty means that no status is a closed one.
            closed: &lookup("CLOSED_STATUSES").unwrap_or_else(|| default.closed.to_owned()),
            priorities: &or("TICKET_PRIORITIES", default.priorities),
            owners: &or("TICKET_OWNERS", default.owners),
        })
        .map_err(|(field, error)| InvalidConfig::Preset(field, error))?;
        let settings = Settings::default();
        Ok(Self {
            tickets_table: or("TICKETS_TABLE", schema::TICKETS),
            api_keys_table: or("API_KEYS_TABLE", schema::API_KEYS),
            history_table: or("HISTORY_TABLE", schema::HISTORY),
            webhooks_table: or("WEBHOOKS_TABLE", schema::WEBHOOKS),
            presets,
            settings: Settings {
                settle: Duration::from_secs(number("SETTLE_SECONDS", settings.settle.as_secs(), 4, 300)?),
                keep_tombstones: Duration::from_secs(DAY * number("TOMBSTONE_DAYS", 90, 1, 3650)?),
                ..settings
            },
            cors_origins: or("CORS_ORIGINS", "").parse()?,
            serve_docs: flag("SERVE_DOCS")?,
            endpoint_url: text("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| text("AWS_ENDPOINT_URL")),
            exports: exports(&text)?,
            s3_endpoint_url: text("AWS_ENDPOINT_URL_S3").or_else(|| text("AWS_ENDPOINT_URL")),
            longest_failing: Duration::from_secs(24 * 60 * 60 * number("WEBHOOK_FAILING_DAYS", 5, 1, 30)?),
            webhooks_to_this_machine: flag("WEBHOOKS_TO_THIS_MACHINE")?,
            region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")).map(Region::new),
            credentials: credentials(&text),
            log: log::Settings {
                namespace: or("POWERTOOLS_METRICS_NAMESPACE", "Tickets"),
                service: or("POWERTOOLS_SERVICE_NAME", "tickets"),
                function_name: text("AWS_LAMBDA_FUNCTION_NAME"),
            },
            ca_bundle: text("AWS_CA_BUNDLE").map(PathBuf::from),
        })
    }
}

fn exports(variable: &impl Fn(&str) -> Option<String>) -> Result<Option<Exports>, InvalidConfig> {
    match variable("EXPORT_DIR").map(PathBuf::from) {
        Some(path) if path.is_absolute() => Ok(Some(Exports::Directory(path))),
        Some(path) => Err(InvalidConfig::RelativePath(path)),
        None => Ok(variable("EXPORT_BUCKET").map(Exports::Bucket)),
    }
}

/// The credentials that Lambda puts into a function's environment. They are valid as long as the instance
/// lives.
fn credentials(variable: &impl Fn(&str) -> Option<String>) -> Option<Credentials> {
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    Some(Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "Lambda"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, InvalidConfig> {
        Config::from_lookup(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_needs_to_be_configured() {
        let config = config(&[]).unwrap();
        assert_eq!((config.tickets_table.as_str(), config.api_keys_table.as_str()), ("Tickets", "ApiKeys"));
        assert_eq!(config.settings.settle, Duration::from_secs(10));
        assert_eq!(config.cors_origins, Origins::default());
    }

    #[test]
    fn what_functions_note_is_read_back_as_the_same_configuration() {
        for variables in [
            &[][..],
            &[
                ("TICKET_STATUSES", "new, In Progress"),
                ("CLOSED_STATUSES", ""),
                ("TICKET_OWNERS", "ada ,grace"),
            ],
            &[("SETTLE_SECONDS", "300"), ("TOMBSTONE_DAYS", "365"), ("TICKET_TYPES", "a")],
        ] {
            let noted = config(variables).unwrap();
            let variables = noted.variables();
            let read = Config::from_lookup(|name| variables.get(name).cloned()).unwrap();
            assert_eq!(read.presets, noted.presets);
            assert_eq!(read.settings.settle, noted.settings.settle);
            assert_eq!(read.settings.keep_tombstones, noted.settings.keep_tombstones);
            assert!(PRESETS.iter().chain(&TIMES).all(|name| variables.contains_key(*name)));
        }
    }

    #[test]
    fn a_refused_value_names_its_variable() {
        let error = config(&[("SETTLE_SECONDS", "soon")]).unwrap_err().to_string();
        assert_eq!(error, "SETTLE_SECONDS must be a whole number from 4 to 300, not \"soon\"");
        let error = config(&[("TICKET_STATUSES", "a, A")]).unwrap_err().to_string();
        assert_eq!(error, "the values configured for status: names A twice");
        let error = config(&[("SERVE_DOCS", "yes")]).unwrap_err().to_string();
        assert_eq!(error, "SERVE_DOCS must be true or false, not \"yes\"");
        let error = config(&[("CORS_ORIGINS", "https://A.example")]).unwrap_err().to_string();
        assert!(error.starts_with("CORS_ORIGINS: \"https://A.example\" is no origin"), "{error}");
    }

    #[test]
    fn exports_go_to_a_bucket_or_to_an_absolute_path() {
        let exports = |variables: &[(&str, &str)]| config(variables).map(|config| config.exports);
        assert_eq!(exports(&[]).unwrap(), None);
        let bucket = ("EXPORT_BUCKET", "exports");
        assert_eq!(exports(&[bucket]).unwrap(), Some(Exports::Bucket("exports".into())));
        let path = std::path::absolute("exports").unwrap();
        let directory = exports(&[bucket, ("EXPORT_DIR", path.to_str().unwrap())]).unwrap();
        assert_eq!(directory, Some(Exports::Directory(path)));
        let error = exports(&[("EXPORT_DIR", ".tickets/exports")]).unwrap_err().to_string();
        assert_eq!(error, "EXPORT_DIR must be an absolute path, not \".tickets/exports\"");
    }

    #[test]
    fn lists_may_have_spaces() {
        let config = config(&[
            ("CORS_ORIGINS", "https://a.example/, https://b.example"),
            ("TICKET_OWNERS", "ada, grace"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.cors_origins, "https://a.example,https://b.example".parse().unwrap());
        assert_eq!(config.presets.owner.values(), ["ada", "grace"]);
    }
}
