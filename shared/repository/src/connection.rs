//! The DynamoDB client: where it connects to, how long it waits, and how often it tries again.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{self, Credentials, SharedHttpClient};

/// Every write, retries included, ends this long after it began, so that it cannot commit long
/// after the `updatedDate` it carries. A third of the default settle window.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(3);

/// A connection inside a region takes a millisecond or two; one that takes longer is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// DynamoDB answers in milliseconds; a megabyte of `Query` in tens of them. So slow an attempt is
/// better repeated.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Of a read, in standard mode: the SDK repeats throttled, failed and timed-out attempts with jitter.
const ATTEMPTS: u32 = 3;
/// The SDK's default of a second suits batch jobs; here a caller waits.
const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// What a write is sent with: one attempt. Of several the SDK returns how the last one failed, which
/// hides that an earlier one may have taken effect; so writes are repeated where that is kept in mind.
pub(crate) fn one_attempt() -> config::Builder {
    config::Builder::new().retry_config(RetryConfig::disabled())
}

/// Where the database is.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The endpoint, where it is not the region's own.
    pub endpoint_url: Option<String>,
    /// The HTTP client, where tests put their own in between.
    pub http_client: Option<SharedHttpClient>,
}

impl Connection {
    /// The database at this endpoint.
    pub fn to(endpoint_url: impl Into<String>) -> Self {
        Self { endpoint_url: Some(endpoint_url.into()), http_client: None }
    }

    /// A client.
    pub async fn open(self) -> Client {
        let mut loader = aws(self.endpoint_url.as_deref())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(FIRST_BACKOFF)
                    .with_max_backoff(LONGEST_BACKOFF),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(WRITE_DEADLINE)
                    .build(),
            );
        if let Some(http_client) = self.http_client {
            loader = loader.http_client(http_client);
        }
        Client::new(&loader.load().await)
    }
}

/// The one name and secret that servers on this machine know.
pub const LOCAL_CREDENTIALS: (&str, &str) = ("local", "local");

/// Who calls AWS, and where. For an endpoint on this machine made-up credentials do, and nobody has to
/// set any; for all others they and the region come from the environment, as the AWS SDK finds them.
pub fn aws(endpoint_url: Option<&str>) -> ConfigLoader {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if endpoint_url.is_some_and(is_on_this_machine) {
        let (name, secret) = LOCAL_CREDENTIALS;
        loader = loader
            .credentials_provider(Credentials::new(name, secret, None, None, "local"))
            .region(Region::from_static("us-east-1"));
    }
    match endpoint_url {
        Some(url) => loader.endpoint_url(url),
        None => loader,
    }
}

/// Whether a URL names this machine: a loopback address, or a container's name for its host.
pub fn is_on_this_machine(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    // Userinfo is no host: http://localhost@example.com/ is elsewhere.
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(host, "localhost" | "host.docker.internal")
        || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_on_this_machine;

    #[test]
    fn only_this_machine_gets_made_up_credentials() {
        for local in [
            "http://127.0.0.1:8000",
            "http://localhost",
            "http://[::1]:8000/",
            "http://host.docker.internal:8000",
        ] {
            assert!(is_on_this_machine(local), "{local}");
        }
        for other in [
            "https://dynamodb.eu-west-1.amazonaws.com",
            "http://localhost.example.com",
            "http://localhost@example.com/",
            "http://10.0.0.1",
        ] {
            assert!(!is_on_this_machine(other), "{other}");
        }
    }
}
