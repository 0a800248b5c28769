//! The bucket of exported objects.

mod s3;

use std::time::Duration;

use aws_smithy_types::error::display::DisplayErrorContext;
use aws_types::SdkConfig;
use serde::Deserialize;
use tickets_domain::error::Cause;
use tickets_domain::{Error, Result};

use s3::{Client, Request, Response};

/// The limit of a put, with up to three attempts. A run keeps this much time for its last object.
pub const PUT_TIMEOUT: Duration = s3::TIMEOUT;

#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
}

/// The version id of an object that was stored while its bucket was not versioned. The next put without a
/// version replaces it.
const NO_VERSION: &str = "null";

/// An object, or an earlier version of one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ObjectVersion {
    pub key: String,
    /// Its version id: [`NO_VERSION`] if stored while the bucket was unversioned; `None` if the store has no
    /// versions.
    #[serde(rename = "VersionId")]
    pub version: Option<String>,
    /// Whether a reader gets this version.
    pub is_latest: bool,
}

impl Bucket {
    /// The bucket of this name, at the endpoint of a configuration for S3.
    pub fn open(name: impl AsRef<str>, sdk_config: &SdkConfig) -> Self {
        Self { client: Client::new(name.as_ref(), sdk_config) }
    }

    /// Stores an object; replaces the one with the same key.
    pub async fn put(&self, key: &str, content_type: &'static str, body: Vec<u8>) -> Result<()> {
        self.store(key, content_type, body).await.map(drop)
    }

    /// Replaces an object. Nothing of it stays, not even as an earlier version.
    pub async fn replace(
        &self,
        object: &ObjectVersion,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<()> {
        let stored = self.store(&object.key, content_type, body).await?;
        let stored = stored.as_deref().unwrap_or(NO_VERSION);
        match &object.version {
            Some(version) if version != stored => self.remove(object).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Stores an object, and returns its version id.
    async fn store(&self, key: &str, content_type: &'static str, body: Vec<u8>) -> Result<Option<String>> {
        Ok(self.send(Request::new("PUT", key).with_body(content_type, body)).await?.version)
    }

    /// Every object whose key has this prefix, with its earlier versions if the bucket keeps them.
    pub async fn versions(&self, prefix: &str) -> Result<Vec<ObjectVersion>> {
        let mut found = Vec::new();
        let mut page = VersionPage::default();
        loop {
            let list = Request::new("GET", "")
                .with("versions", Some(""))
                .with("prefix", Some(prefix))
                .with("key-marker", page.next_key_marker.as_deref())
                .with("version-id-marker", page.next_version_id_marker.as_deref());
            page = match self.client.send(list).await {
                Ok(response) => parse(&response)?,
                // The store has no versions.
                Err(error) if s3::code(&error) == Some("NotImplemented") => {
                    return self.objects(prefix).await;
                }
                Err(error) => return Err(unavailable(error)),
            };
            found.append(&mut page.versions);
            if !page.is_truncated {
                return Ok(found);
            }
        }
    }

    async fn objects(&self, prefix: &str) -> Result<Vec<ObjectVersion>> {
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let list = Request::new("GET", "")
                .with("list-type", Some("2"))
                .with("prefix", Some(prefix))
                .with("continuation-token", token.as_deref());
            let page: ObjectPage = parse(&self.send(list).await?)?;
            let object = |Object { key }| ObjectVersion { key, version: None, is_latest: true };
            found.extend(page.contents.into_iter().map(object));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// Reads an object; `None` if it is gone.
    pub async fn get(&self, object: &ObjectVersion) -> Result<Option<Vec<u8>>> {
        match self.client.send(object.request("GET")).await {
            Ok(response) => Ok(Some(response.body)),
            Err(error) if matches!(s3::code(&error), Some("NoSuchKey" | "NoSuchVersion")) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Removes one version of an object for good.
    pub async fn remove(&self, object: &ObjectVersion) -> Result<()> {
        self.send(object.request("DELETE")).await.map(drop)
    }

    async fn send(&self, request: Request) -> Result<Response> {
        self.client.send(request).await.map_err(unavailable)
    }
}

impl ObjectVersion {
    fn request(&self, method: &'static str) -> Request {
        Request::new(method, &self.key).with("versionId", self.version.as_deref())
    }
}

/// A page of `ListObjectVersions`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VersionPage {
    #[serde(rename = "Version")]
    versions: Vec<ObjectVersion>,
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_version_id_marker: Option<String>,
}

/// A page of `ListObjectsV2`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ObjectPage {
    contents: Vec<Object>,
    next_continuation_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
}

fn parse<T: for<'a> Deserialize<'a>>(response: &Response) -> Result<T> {
    response.parse().map_err(|error| Error::Unavailable(Cause(error.to_string().into())))
}

fn unavailable(error: s3::Error) -> Error {
    Error::Unavailable(Cause(DisplayErrorContext(error).to_string().into()))
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::{Arc, Mutex};

    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use tickets_repository::client::local_config;

    use super::*;

    /// A store that gives these answers in turn, and the requests that it got.
    #[derive(Clone)]
    struct Script {
        answers: Arc<Mutex<Vec<Answer>>>,
        requests: Arc<Mutex<Vec<HttpRequest>>>,
    }

    /// A status, the object's version, and a body.
    type Answer = (u16, Option<&'static str>, String);

    impl fmt::Debug for Script {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Script")
        }
    }

    impl HttpConnector for Script {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.requests.lock().unwrap().push(request);
            let (status, version, body) = self.answers.lock().unwrap().remove(0);
            let mut response = HttpResponse::new(status.try_into().unwrap(), body.into());
            if let Some(version) = version {
                response.headers_mut().insert("x-amz-version-id", version);
            }
            HttpConnectorFuture::ready(Ok(response))
        }
    }

    impl Script {
        /// Method and target of every request.
        fn asked(&self) -> Vec<String> {
            let requests = self.requests.lock().unwrap();
            let target = |request: &HttpRequest| request.uri().replace("http://localhost/bucket", "");
            requests.iter().map(|request| format!("{} {}", request.method(), target(request))).collect()
        }
    }

    fn scripted(answers: impl IntoIterator<Item = Answer>) -> (Bucket, Script) {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        let script = Script { answers, requests: Arc::default() };
        let connector = SharedHttpConnector::new(script.clone());
        let http_client = http_client_fn(move |_, _| connector.clone());
        let config = local_config("http://localhost").into_builder().http_client(http_client).build();
        (Bucket::open("bucket", &config), script)
    }

    fn ok(body: impl Into<String>) -> Answer {
        (200, None, body.into())
    }

    fn error(status: u16, code: &str) -> Answer {
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        (status, None, format!("{head}<Error><Code>{code}</Code><Message>why</Message></Error>"))
    }

    fn object(key: &str, version: Option<&str>) -> ObjectVersion {
        ObjectVersion { key: key.into(), version: version.map(str::to_owned), is_latest: true }
    }

    fn cause(error: Error) -> String {
        match error {
            Error::Unavailable(cause) => cause.0.to_string(),
            error => panic!("{error:?}"),
        }
    }

    #[tokio::test]
    async fn an_object_is_put_signed_and_under_its_escaped_key() {
        let (bucket, script) = scripted([ok("")]);
        bucket.put("a b/ü+1.gz", "application/gzip", b"body".to_vec()).await.unwrap();
        assert_eq!(script.asked(), ["PUT /a%20b/%C3%BC%2B1.gz"]);
        let requests = script.requests.lock().unwrap();
        let header = |name| requests[0].headers().get(name).unwrap();
        assert_eq!(requests[0].body().bytes(), Some(&b"body"[..]));
        assert_eq!(header("content-type"), "application/gzip");
        // `printf body | sha256sum`
        let hash = "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5";
        assert_eq!(header("x-amz-content-sha256"), hash);
        let authorization = header("authorization");
        assert!(authorization.contains("/us-east-1/s3/aws4_request"), "{authorization}");
        assert!(authorization.contains("x-amz-content-sha256;x-amz-date"), "{authorization}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_three_times_and_a_refusal_once() {
        let (bucket, script) = scripted([error(503, "SlowDown"), error(400, "RequestTimeout"), ok("")]);
        bucket.put("a", "application/json", Vec::new()).await.unwrap();
        assert_eq!(script.asked(), ["PUT /a"; 3]);

        let (bucket, script) = scripted((0..4).map(|_| (502, None, "<html>a proxy</html>".into())));
        let failed = bucket.put("a", "application/json", Vec::new()).await.unwrap_err();
        assert!(cause(failed).contains("status 502"));
        assert_eq!(script.asked().len(), 3);

        let (bucket, script) = scripted([error(403, "AccessDenied")]);
        let failed = cause(bucket.put("a", "application/json", Vec::new()).await.unwrap_err());
        assert!(failed.contains("AccessDenied") && failed.contains("why"), "{failed}");
        assert_eq!(script.asked().len(), 1);
    }

    #[tokio::test]
    async fn versions_come_over_pages_and_delete_markers_are_none() {
        let first = "<ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>bucket</Name><IsTruncated>true</IsTruncated>\
            <NextKeyMarker>a&amp;b</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>\
            <Version><Key>a&amp;b</Key><VersionId>2</VersionId><IsLatest>false</IsLatest><Size>1</Size></Version>\
            <DeleteMarker><Key>a&amp;b</Key><VersionId>3</VersionId><IsLatest>true</IsLatest></DeleteMarker>\
            <Version><Key>a&amp;b</Key><VersionId>1</VersionId><IsLatest>false</IsLatest></Version>\
            </ListVersionsResult>";
        let last = "<ListVersionsResult><IsTruncated>false</IsTruncated>\
            <Version><Key>c</Key><VersionId>null</VersionId><IsLatest>true</IsLatest></Version></ListVersionsResult>";
        let (bucket, script) = scripted([ok(first), ok(last)]);
        let found = bucket.versions("a/b").await.unwrap();
        let earlier = |version| ObjectVersion { is_latest: false, ..object("a&b", Some(version)) };
        assert_eq!(found, [earlier("2"), earlier("1"), object("c", Some("null"))]);
        assert_eq!(
            script.asked(),
            [
                "GET /?versions=&prefix=a%2Fb",
                "GET /?versions=&prefix=a%2Fb&key-marker=a%26b&version-id-marker=1"
            ]
        );
    }

    #[tokio::test]
    async fn a_store_without_versions_lists_its_objects() {
        let page = |key: &str, token: &str| {
            ok(format!(
                "<ListBucketResult><KeyCount>1</KeyCount><Contents><Key>{key}</Key></Contents>{token}</ListBucketResult>"
            ))
        };
        let more = "<NextContinuationToken>t=1</NextContinuationToken>";
        let empty = ok("<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>");
        let (bucket, script) =
            scripted([error(501, "NotImplemented"), page("a", more), page("b", ""), empty.clone()]);
        assert_eq!(bucket.versions("").await.unwrap(), [object("a", None), object("b", None)]);
        assert_eq!(script.asked()[2], "GET /?list-type=2&prefix=&continuation-token=t%3D1");
        assert_eq!(bucket.objects("").await.unwrap(), []);
        let (bucket, _) = scripted([ok("no XML"), ok("<ListVersionsResult>")]);
        for _ in 0..2 {
            assert!(matches!(bucket.versions("").await, Err(Error::Unavailable(_))));
        }
    }

    #[tokio::test]
    async fn an_object_is_read_in_its_version_and_may_be_gone() {
        let answers = [ok("body"), error(404, "NoSuchKey"), error(404, "NoSuchVersion")];
        let (bucket, script) = scripted(answers.into_iter().chain([error(404, "NoSuchBucket")]));
        assert_eq!(bucket.get(&object("a", Some("v/1"))).await.unwrap(), Some(b"body".to_vec()));
        assert_eq!(bucket.get(&object("a", None)).await.unwrap(), None);
        assert_eq!(bucket.get(&object("a", Some("2"))).await.unwrap(), None);
        assert!(cause(bucket.get(&object("a", None)).await.unwrap_err()).contains("NoSuchBucket"));
        assert_eq!(script.asked(), ["GET /a?versionId=v%2F1", "GET /a", "GET /a?versionId=2", "GET /a"]);
    }

    #[tokio::test]
    async fn nothing_of_a_replaced_object_stays() {
        let stored = |version| (200, version, String::new());
        let gone = || (204, None, String::new());
        // In a versioned bucket the replaced version is removed, also one from before versioning.
        for replaced in ["1", NO_VERSION] {
            let (bucket, script) = scripted([stored(Some("2")), gone()]);
            bucket.replace(&object("a", Some(replaced)), "application/gzip", Vec::new()).await.unwrap();
            assert_eq!(script.asked(), ["PUT /a".into(), format!("DELETE /a?versionId={replaced}")]);
        }
        // Elsewhere the put has replaced it.
        for (replaced, version) in
            [(None, None), (Some(NO_VERSION), None), (Some(NO_VERSION), Some(NO_VERSION))]
        {
            let (bucket, script) = scripted([stored(version)]);
            bucket.replace(&object("a", replaced), "application/gzip", Vec::new()).await.unwrap();
            assert_eq!(script.asked(), ["PUT /a"]);
        }
    }
}
