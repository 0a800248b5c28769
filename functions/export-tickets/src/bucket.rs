//! The bucket of exported objects.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_types::SdkConfig;
use tickets_domain::error::Cause;
use tickets_domain::{Error, Result};
use tickets_repository::client::is_on_this_machine;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Long enough for the largest object, even on Lambda's slowest network.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit of a put, with up to three attempts. A run keeps this much time for its last object.
pub const PUT_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
}

/// The version id of an object that was stored while its bucket was not versioned. The next put without a
/// version replaces it.
const NO_VERSION: &str = "null";

/// An object, or an earlier version of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    pub key: String,
    /// Its version id: [`NO_VERSION`] if stored while the bucket was unversioned; `None` if the store has no
    /// versions.
    pub version: Option<String>,
    /// Whether a reader gets this version.
    pub is_latest: bool,
}

impl Bucket {
    /// The bucket of this name, at the endpoint of a configuration for S3.
    pub fn open(name: impl Into<String>, sdk_config: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(PUT_TIMEOUT)
            .build();
        let config = Builder::from(sdk_config)
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts)
            // Local servers have no host name for each bucket.
            .force_path_style(sdk_config.endpoint_url().is_some_and(is_on_this_machine));
        Self { client: Client::from_conf(config.build()), name: name.into() }
    }

    /// Stores an object; replaces the one with the same key.
    pub async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<()> {
        self.store(key, content_type, body).await.map(drop)
    }

    /// Replaces an object. Nothing of it stays, not even as an earlier version.
    pub async fn replace(&self, object: &ObjectVersion, content_type: &str, body: Vec<u8>) -> Result<()> {
        let stored = self.store(&object.key, content_type, body).await?;
        let stored = stored.as_deref().unwrap_or(NO_VERSION);
        match &object.version {
            Some(version) if version != stored => self.remove(object).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Stores an object, and returns its version id.
    async fn store(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<Option<String>> {
        let put = self.client.put_object().bucket(&self.name).key(key);
        let sent = put.content_type(content_type).body(ByteStream::from(body)).send().await;
        Ok(sent.map_err(unavailable)?.version_id)
    }

    /// Every object whose key has this prefix, with its earlier versions if the bucket keeps them.
    pub async fn versions(&self, prefix: &str) -> Result<Vec<ObjectVersion>> {
        let mut found = Vec::new();
        let (mut key, mut version) = (None, None);
        loop {
            let list = self.client.list_object_versions().bucket(&self.name).prefix(prefix);
            let list = list.set_key_marker(key).set_version_id_marker(version).send().await;
            let page = match list {
                Ok(page) => page,
                // The store has no versions.
                Err(error) if error.code() == Some("NotImplemented") => return self.objects(prefix).await,
                Err(error) => return Err(unavailable(error)),
            };
            found.extend(page.versions.into_iter().flatten().filter_map(|object| {
                let is_latest = object.is_latest == Some(true);
                Some(ObjectVersion { key: object.key?, version: object.version_id, is_latest })
            }));
            if page.is_truncated != Some(true) {
                return Ok(found);
            }
            (key, version) = (page.next_key_marker, page.next_version_id_marker);
        }
    }

    async fn objects(&self, prefix: &str) -> Result<Vec<ObjectVersion>> {
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let list = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
            let page = list.set_continuation_token(token).send().await.map_err(unavailable)?;
            found.extend(page.contents.into_iter().flatten().filter_map(|object| {
                Some(ObjectVersion { key: object.key?, version: None, is_latest: true })
            }));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// Reads an object; `None` if it is gone.
    pub async fn get(&self, object: &ObjectVersion) -> Result<Option<Vec<u8>>> {
        let get = self.client.get_object().bucket(&self.name).key(&object.key);
        match get.set_version_id(object.version.clone()).send().await {
            Ok(got) => {
                let body = got.body.collect().await;
                let body = body.map_err(|error| Error::Unavailable(Cause(error.to_string().into())))?;
                Ok(Some(body.to_vec()))
            }
            Err(error) if matches!(error.code(), Some("NoSuchKey" | "NoSuchVersion")) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Removes one version of an object for good.
    pub async fn remove(&self, object: &ObjectVersion) -> Result<()> {
        let delete = self.client.delete_object().bucket(&self.name).key(&object.key);
        delete.set_version_id(object.version.clone()).send().await.map(drop).map_err(unavailable)
    }
}

fn unavailable<E, R>(error: SdkError<E, R>) -> Error
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    Error::Unavailable(Cause(DisplayErrorContext(error).to_string().into()))
}
