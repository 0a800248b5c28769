//! The store of objects.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Config};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use tickets_domain::error::Cause;
use tickets_domain::{Error, Result};
use tickets_repository::{Connection, connection};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Long enough for the largest object over a Lambda's slowest network.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of which there are up to three: a run keeps this much time for its last object.
pub const PUT_TIMEOUT: Duration = Duration::from_secs(20);

/// A bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// The bucket of this name.
    pub fn open(name: impl Into<String>, connection: Connection) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(PUT_TIMEOUT)
            .build();
        let Connection { endpoint_url, identity, http_client } = connection;
        let endpoint = endpoint_url.as_deref();
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(identity.region)
            .credentials_provider(identity.credentials)
            .http_client(
                http_client.unwrap_or_else(|| connection::http_client(endpoint, connection::Roots::amazon())),
            )
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts)
            // Servers on this machine have no name for each bucket.
            .force_path_style(endpoint.is_some_and(connection::is_on_this_machine));
        config.set_endpoint_url(endpoint_url);
        Self { client: Client::from_conf(config.build()), name: name.into() }
    }

    /// Stores an object, replacing the one of this key.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the store does not take it.
    pub async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<()> {
        let put = self.client.put_object().bucket(&self.name).key(key);
        let sent = put.content_type(content_type).body(ByteStream::from(body)).send().await;
        sent.map(drop)
            .map_err(|error| Error::Unavailable(Cause(DisplayErrorContext(error).to_string().into())))
    }
}
