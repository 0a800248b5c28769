//! The store of objects.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use tickets_domain::error::Cause;
use tickets_domain::{Error, Result};
use tickets_repository::connection;

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
    /// The bucket of this name; at an endpoint, where it is not the region's own.
    pub async fn open(name: impl Into<String>, endpoint_url: Option<&str>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(PUT_TIMEOUT)
            .build();
        let config = connection::aws(endpoint_url)
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts)
            .load()
            .await;
        let config = aws_sdk_s3::config::Builder::from(&config)
            // Servers on this machine have no name for each bucket.
            .force_path_style(endpoint_url.is_some_and(connection::is_on_this_machine))
            .build();
        Self { client: Client::from_conf(config), name: name.into() }
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
