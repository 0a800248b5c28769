//! Where exports are stored, by `object_store`: a bucket of S3 in a deployment, a directory on a developer's
//! machine, memory in tests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
    UpdateVersion,
};
use tickets_domain::error::Cause;
use tickets_domain::{Error, Result};
use tickets_repository::http_client::{Roots, is_secure, use_ring};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Long enough for the largest object, even on Lambda's slowest network.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(9);
/// A failed attempt is repeated within this time of the first one's start, so also after one timeout.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RETRIES: usize = 2;
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// The limit of a put with its retries. A run keeps this much time for its last object.
pub const PUT_TIMEOUT: Duration =
    Duration::from_secs(RETRY_TIMEOUT.as_secs() + MAX_BACKOFF.as_secs() + ATTEMPT_TIMEOUT.as_secs());

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot store exports in {}: {source}", path.display())]
    Directory { path: PathBuf, source: object_store::Error },
    #[error("cannot store exports in the bucket {bucket}: {source}")]
    Bucket { bucket: String, source: object_store::Error },
    #[error("no AWS credentials for the bucket {bucket}: {source}")]
    Credentials { bucket: String, source: CredentialsError },
    #[error("no AWS credentials or region for the bucket {0}")]
    Nobody(String),
}

/// A store of exported objects.
#[derive(Debug, Clone)]
pub struct Store(Arc<dyn ObjectStore>);

/// An object as it was read.
#[derive(Debug)]
pub struct Object {
    pub body: Vec<u8>,
    version: UpdateVersion,
}

impl Store {
    pub fn new(objects: impl ObjectStore) -> Self {
        Self(Arc::new(objects))
    }

    /// A directory, which has to exist. An object is a file whose path is the object's key.
    pub fn directory(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        LocalFileSystem::new_with_prefix(&path)
            .map(Self::new)
            .map_err(|source| StoreError::Directory { path, source })
    }

    /// A bucket of S3, with the region, credentials and endpoint of an SDK's configuration. TLS trusts these
    /// roots; without any, the system's. The credentials are taken now, and not renewed.
    pub async fn bucket(
        name: &str,
        sdk_config: &SdkConfig,
        roots: Option<&Roots>,
    ) -> Result<Self, StoreError> {
        let (Some(region), Some(provider)) = (sdk_config.region(), sdk_config.credentials_provider()) else {
            return Err(StoreError::Nobody(name.to_owned()));
        };
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|source| StoreError::Credentials { bucket: name.to_owned(), source })?;
        let endpoint = endpoint(sdk_config, region.as_ref());
        let failed = |source| StoreError::Bucket { bucket: name.to_owned(), source };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(region.as_ref())
            .with_access_key_id(credentials.access_key_id())
            .with_secret_access_key(credentials.secret_access_key())
            .with_client_options(client_options(&endpoint, roots).map_err(failed)?)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { max_backoff: MAX_BACKOFF, ..BackoffConfig::default() },
                max_retries: MAX_RETRIES,
                retry_timeout: RETRY_TIMEOUT,
            });
        if let Some(token) = credentials.session_token() {
            builder = builder.with_token(token);
        }
        use_ring();
        builder.with_endpoint(endpoint).build().map(Self::new).map_err(failed)
    }

    /// Stores an object; replaces the one with the same key.
    pub async fn put(&self, key: &str, body: Vec<u8>) -> Result<()> {
        self.0.put(&path(key)?, body.into()).await.map(drop).map_err(unavailable)
    }

    /// The keys of all objects below a folder; of all if it is empty.
    pub async fn keys(&self, folder: &str) -> Result<Vec<String>> {
        let folder = path(folder)?;
        let keys = self.0.list(Some(&folder)).map_ok(|object| object.location.to_string());
        keys.try_collect().await.map_err(unavailable)
    }

    /// Reads an object; `None` if it is gone.
    pub async fn get(&self, key: &str) -> Result<Option<Object>> {
        let read = match self.0.get(&path(key)?).await {
            Ok(read) => read,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let version = UpdateVersion { e_tag: read.meta.e_tag.clone(), version: read.meta.version.clone() };
        let body = read.bytes().await.map_err(unavailable)?.into();
        Ok(Some(Object { body, version }))
    }

    /// Replaces an object with a new content. False if it is no longer as it was read.
    pub async fn replace(&self, key: &str, read: &Object, body: Vec<u8>) -> Result<bool> {
        let (path, body) = (path(key)?, PutPayload::from(body));
        let mode = PutMode::Update(read.version.clone());
        match self.0.put_opts(&path, body.clone(), mode.into()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::Precondition { .. }) => Ok(false),
            // Files have no conditional put. A data directory has one user, who waits for a command to end.
            Err(object_store::Error::NotImplemented { .. }) => {
                self.0.put(&path, body).await.map(|_| true).map_err(unavailable)
            }
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// The endpoint that a configuration names for S3, or the region's own. The builder knows neither FIPS nor the
/// domains of AWS' other partitions. The bucket is in the path, because servers on this machine have no host for
/// each.
fn endpoint(sdk_config: &SdkConfig, region: &str) -> String {
    endpoint_url(sdk_config).unwrap_or_else(|| {
        let fips = if sdk_config.use_fips() == Some(true) { "-fips" } else { "" };
        let dual_stack = if sdk_config.use_dual_stack() == Some(true) { ".dualstack" } else { "" };
        format!("https://s3{fips}{dual_stack}.{region}.{}", domain(region))
    })
}

/// The endpoint that a configuration names for S3. One set in code comes first, then the service's own
/// (`AWS_ENDPOINT_URL_S3`, or in a profile), then that of all services
/// (*Service-specific endpoints*, AWS SDKs and Tools Reference Guide).
fn endpoint_url(sdk_config: &SdkConfig) -> Option<String> {
    let is_explicit = sdk_config.get_origin("endpoint_url").is_client_config();
    let key =
        ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let of_service = key.ok().filter(|_| !is_explicit);
    of_service
        .and_then(|key| sdk_config.service_config()?.load_config(key))
        .or_else(|| sdk_config.endpoint_url().map(str::to_owned))
}

/// The domain of AWS' endpoints in a region (*AWS service endpoints*; the partitions of the SDK).
fn domain(region: &str) -> &'static str {
    match region.split_once('-') {
        Some(("cn", _)) => "amazonaws.com.cn",
        Some(("eusc", _)) => "amazonaws.eu",
        Some(("us", rest)) if rest.starts_with("iso-") => "c2s.ic.gov",
        Some(("us", rest)) if rest.starts_with("isob-") => "sc2s.sgov.gov",
        Some(("us", rest)) if rest.starts_with("isof-") => "csp.hci.ic.gov",
        Some(("eu", rest)) if rest.starts_with("isoe-") => "cloud.adc-e.uk",
        _ => "amazonaws.com",
    }
}

fn client_options(endpoint: &str, roots: Option<&Roots>) -> object_store::Result<ClientOptions> {
    let mut options = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(ATTEMPT_TIMEOUT)
        .with_allow_http(!is_secure(Some(endpoint)))
        .with_content_type_for_suffix("gz", "application/gzip")
        .with_content_type_for_suffix("json", "application/json");
    if let Some(roots) = roots {
        options = options.with_no_system_certificates(true);
        for certificate in Certificate::from_pem_bundle(roots.pem())? {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(Error::internal)
}

fn unavailable(error: object_store::Error) -> Error {
    Error::Unavailable(Cause::new(loggable(&error.to_string())))
}

/// What the log may have of an error's text: of an answer of S3 its status, code and length, and not its body,
/// with which the text ends.
fn loggable(error: &str) -> String {
    match error.split_once("Server returned ") {
        Some((request, answer)) => {
            let status = answer.split_once("status code: ").and_then(|(_, status)| status.get(..3));
            let code = answer.split_once("<Code>").and_then(|(_, code)| code.split_once("</Code>"));
            let code =
                code.map(|(code, _)| code).filter(|code| code.bytes().all(|b| b.is_ascii_alphanumeric()));
            let [status, code] = [status, code].map(Option::unwrap_or_default);
            format!("{status} {code}, {} bytes: {request}", answer.len())
        }
        // The request failed, or a file; any other text is about an answer.
        None if error.contains("HTTP error") || !error.starts_with("Generic S3") => error.to_owned(),
        None => "an answer that cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use aws_types::region::Region;
    use aws_types::sdk_config::Builder;
    use aws_types::service_config::LoadServiceConfig;
    use object_store::memory::InMemory;
    use tickets_repository::http_client::local_config;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    #[tokio::test]
    async fn memory_and_a_directory_keep_the_same_objects() {
        let directory = tempfile::tempdir().unwrap();
        let has_conditions =
            [(Store::new(InMemory::new()), true), (Store::directory(directory.path()).unwrap(), false)];
        for (store, has_conditions) in has_conditions {
            let key = "tickets/date=2026-11-24/20261124T010203.456Z-000000000001-000000000002.ndjson.gz";
            for other in ["manifests/date=2026-11-24/a.json", "manifests/date=2026-11-25/b.json"] {
                store.put(other, b"{}".to_vec()).await.unwrap();
            }
            store.put(key, b"first".to_vec()).await.unwrap();
            let read = store.get(key).await.unwrap().unwrap();
            assert_eq!(read.body, b"first");
            assert!(store.replace(key, &read, b"second".to_vec()).await.unwrap());
            assert_eq!(store.replace(key, &read, b"third".to_vec()).await.unwrap(), !has_conditions);
            let body = store.get(key).await.unwrap().unwrap().body;
            assert_eq!(body, if has_conditions { b"second".as_slice() } else { b"third" });
            let mut keys = store.keys("").await.unwrap();
            keys.sort();
            assert_eq!((keys.len(), keys[2].as_str()), (3, key));
            let day = store.keys("manifests/date=2026-11-24").await.unwrap();
            assert_eq!(day, ["manifests/date=2026-11-24/a.json"]);
            assert!(store.get("tickets/nothing").await.unwrap().is_none());
            assert_eq!(store.keys("nothing").await.unwrap(), [""; 0]);
        }
        assert!(directory.path().join("manifests/date=2026-11-25/b.json").is_file());
        let missing = Store::directory(directory.path().join("missing"));
        assert!(matches!(missing, Err(StoreError::Directory { .. })));
    }

    /// An S3 that gives these answers in turn. Returns its URL, and the heads of the requests that it got.
    async fn s3(answers: Vec<(&'static str, &'static str)>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = tokio::spawn(async move {
            let mut heads = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                // All bodies here end with this mark, so that no length has to be read.
                while !request.ends_with(b"END") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                heads.push(String::from_utf8(request).unwrap().to_lowercase());
                let head = format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\nConnection: close\r\n");
                let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            heads
        });
        (url, heads)
    }

    #[tokio::test]
    async fn an_object_is_put_signed_and_again_if_s3_is_busy() {
        let (url, heads) = s3(vec![("503 Slow Down", ""), ("200 OK", "")]).await;
        let store = Store::bucket("exports", &local_config(url), None).await.unwrap();
        store.put("manifests/date=2026-11-24/a.json", b"{} END".to_vec()).await.unwrap();
        let heads = heads.await.unwrap();
        assert_eq!(heads.len(), 2);
        for head in heads {
            assert!(
                head.starts_with("put /exports/manifests/date%3d2026-11-24/a.json http/1.1\r\n"),
                "{head}"
            );
            assert!(head.contains("content-type: application/json\r\n"), "{head}");
            assert!(
                head.contains("credential=local/") && head.contains("/us-east-1/s3/aws4_request"),
                "{head}"
            );
        }
    }

    #[tokio::test]
    async fn what_s3_refuses_is_put_once_and_the_cause_says_why() {
        let (url, heads) = s3(vec![("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>")]).await;
        let store = Store::bucket("exports", &local_config(url), None).await.unwrap();
        match store.put("tickets/a.gz", b"END".to_vec()).await {
            Err(Error::Unavailable(cause)) => {
                assert!(cause.as_str().starts_with("403 AccessDenied, "), "{cause:?}")
            }
            other => panic!("{other:?}"),
        }
        let heads = heads.await.unwrap();
        assert!(heads[0].contains("content-type: application/gzip\r\n"), "{heads:?}");
    }

    #[test]
    fn the_log_has_nothing_of_an_answer_s_body() {
        let request = "Generic S3 error: Error performing GET https://s3/a.gz in 1ms - ";
        let loggable = |text: &str| loggable(&format!("{request}{text}"));
        assert_eq!(
            loggable("Server returned non-2xx status code: 500 Internal Server Error: a secret"),
            format!("500 , 56 bytes: {request}")
        );
        assert_eq!(
            loggable("Server returned error response: <Code>a secret</Code>"),
            format!(" , 37 bytes: {request}")
        );
        let broken = loggable("HTTP error: error sending request");
        assert!(broken.ends_with("error sending request"), "{broken}");
        let invalid = super::loggable("Generic S3 error: Got invalid list response: a secret");
        assert_eq!(invalid, "an answer that cannot be read");
        let full = "Generic LocalFileSystem error: Unable to write: No space left on device";
        assert_eq!(super::loggable(full), full);
    }

    #[tokio::test]
    async fn the_roots_of_aws_are_trusted_alone() {
        let config = local_config("https://objects.example.com");
        assert!(Store::bucket("exports", &config, Some(&Roots::amazon())).await.is_ok());
        let nobody = Store::bucket("exports", &SdkConfig::builder().build(), None).await;
        assert!(matches!(nobody, Err(StoreError::Nobody(_))));
    }

    /// A profile that names an endpoint for S3 only.
    #[derive(Debug)]
    struct Profile;

    impl LoadServiceConfig for Profile {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            (key.service_id() == "S3").then(|| "http://127.0.0.1:9000".to_owned())
        }
    }

    #[test]
    fn the_endpoint_is_the_region_s_unless_another_is_configured() {
        let cases: [(&str, Builder, &str); 6] = [
            ("eu-west-1", SdkConfig::builder(), "https://s3.eu-west-1.amazonaws.com"),
            ("cn-north-1", SdkConfig::builder(), "https://s3.cn-north-1.amazonaws.com.cn"),
            ("us-east-1", SdkConfig::builder().use_fips(true), "https://s3-fips.us-east-1.amazonaws.com"),
            (
                "us-east-1",
                SdkConfig::builder().use_dual_stack(true),
                "https://s3.dualstack.us-east-1.amazonaws.com",
            ),
            ("eu-west-1", SdkConfig::builder().endpoint_url("http://[::1]:9000"), "http://[::1]:9000"),
            ("eu-west-1", SdkConfig::builder().service_config(Profile), "http://127.0.0.1:9000"),
        ];
        for (region, config, expected) in cases {
            assert_eq!(endpoint(&config.region(Region::new(region)).build(), region), expected);
        }
    }
}
