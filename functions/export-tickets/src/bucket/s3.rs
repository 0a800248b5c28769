//! Requests to S3, sent by the steps of the SDK that all its clients share: identity, signature, timeouts and
//! retries. S3's own client in the SDK has a hundred operations, of which the bucket needs five. Compiling it was
//! a tenth of a first build (docs/performance.md, "A newcomer's minutes").
//!
//! Source: *Amazon S3 API Reference*; *Virtual hosting of general purpose buckets* (Amazon S3 User Guide).

use std::time::Duration;

use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_runtime::service_clock_skew::ServiceClockSkewInterceptor;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::region::{Region, SigningRegion};
use aws_types::{SdkConfig, SigningName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tickets_repository::client::{caller, domain, endpoint_url, is_on_this_machine};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Long enough for the largest object, even on Lambda's slowest network.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit of a request, with up to three attempts.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// All but the characters that S3's signature leaves as they are.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// In a path, slashes stay too.
const ESCAPED_IN_PATH: &AsciiSet = &ESCAPED.remove(b'/');

/// An error of S3's, or of what is between: see [`code`].
pub(super) type Error = SdkError<ErrorMetadata, HttpResponse>;

/// S3's code for an error, as `NoSuchKey`.
pub(super) fn code(error: &Error) -> Option<&str> {
    error.as_service_error().and_then(ErrorMetadata::code)
}

/// A request about an object, or about the bucket if the key is empty.
#[derive(Debug)]
pub(super) struct Request {
    method: &'static str,
    /// Path and query, from the bucket on.
    target: String,
    content_type: Option<&'static str>,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn new(method: &'static str, key: &str) -> Self {
        let target = format!("/{}", utf8_percent_encode(key, ESCAPED_IN_PATH));
        Self { method, target, content_type: None, body: Vec::new() }
    }

    /// With a parameter of the query, if it has a value.
    pub(super) fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.target.push(if self.target.contains('?') { '&' } else { '?' });
            self.target.extend([name, "="]);
            self.target.extend(utf8_percent_encode(value, ESCAPED));
        }
        self
    }

    pub(super) fn with_body(self, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { content_type: Some(content_type), body, ..self }
    }

    fn into_http(self) -> Result<HttpRequest, BoxError> {
        let mut request = HttpRequest::new(SdkBody::from(self.body));
        request.set_method(self.method)?;
        request.set_uri(self.target)?;
        if let Some(content_type) = self.content_type {
            request.headers_mut().insert("content-type", content_type);
        }
        Ok(request)
    }
}

/// A successful response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) version: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// Reads the body as XML.
    pub(super) fn parse<T: for<'a> Deserialize<'a>>(&self) -> Result<T, quick_xml::DeError> {
        quick_xml::de::from_reader(&*self.body)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Refusal {
    code: Option<String>,
    message: Option<String>,
}

fn read(response: &HttpResponse) -> Result<Response, OrchestratorError<ErrorMetadata>> {
    let body = response.body().bytes().unwrap_or_default().to_vec();
    if response.status().is_success() {
        let version = response.headers().get("x-amz-version-id").map(str::to_owned);
        return Ok(Response { version, body });
    }
    // A proxy between may answer with something else than S3's XML.
    let refusal: Refusal = quick_xml::de::from_reader(&*body).unwrap_or_default();
    let status = || format!("status {}", response.status().as_u16());
    let mut error = ErrorMetadata::builder().message(refusal.message.unwrap_or_else(status));
    if let Some(code) = refusal.code {
        error = error.code(code);
    }
    Err(OrchestratorError::operation(error.build()))
}

/// Sends requests about one bucket.
#[derive(Debug, Clone)]
pub(super) struct Client(Operation<Request, Response, ErrorMetadata>);

impl Client {
    pub(super) fn new(bucket: &str, sdk_config: &SdkConfig) -> Self {
        let operation = Operation::builder()
            .service_name("S3")
            .operation_name("S3")
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&url(bucket, sdk_config))
            .standard_retry(&RetryConfig::standard())
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(TIMEOUT)
                    .build(),
            )
            .interceptor(ServiceClockSkewInterceptor::new())
            .with_connection_poisoning()
            .runtime_plugin(of_caller(sdk_config))
            .serializer(Request::into_http)
            .deserializer(read);
        Self(operation.build())
    }

    pub(super) async fn send(&self, request: Request) -> Result<Response, Error> {
        self.0.invoke(request).await
    }
}

/// Who calls, from where, and how that is signed for S3.
fn of_caller(sdk_config: &SdkConfig) -> StaticRuntimePlugin {
    let mut config = Layer::new("S3");
    config.store_put(AuthSchemeOptionResolverParams::new(()));
    config.store_put(SigV4OperationSigningConfig {
        region: sdk_config.region().cloned().map(SigningRegion::from),
        region_set: None,
        name: Some(SigningName::from_static("s3")),
        // S3 signs the path as it is sent, and wants the hash of the body.
        signing_options: {
            let mut options = SigningOptions::default();
            options.double_uri_encode = false;
            options.normalize_uri_path = false;
            options.content_sha256_header = true;
            options
        },
    });
    let schemes = StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]);
    let components = caller(sdk_config)
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_auth_scheme_option_resolver(Some(schemes));
    StaticRuntimePlugin::new().with_config(config.freeze()).with_runtime_components(components)
}

/// The URL of a bucket: its own host, or a path where it cannot have one.
fn url(bucket: &str, sdk_config: &SdkConfig) -> String {
    let given = endpoint_url(sdk_config, "S3").map(|url| url.trim_end_matches('/').to_owned());
    let endpoint = given.unwrap_or_else(|| {
        let region = sdk_config.region().map_or("us-east-1", Region::as_ref);
        let fips = if sdk_config.use_fips() == Some(true) { "-fips" } else { "" };
        let dual_stack = if sdk_config.use_dual_stack() == Some(true) { ".dualstack" } else { "" };
        format!("https://s3{fips}{dual_stack}.{region}.{}", domain(region))
    });
    // A certificate is for one label before the endpoint. Local servers have no host name for each bucket.
    let is_label = bucket.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    match endpoint.split_once("://") {
        Some((scheme, host)) if is_label && !is_on_this_machine(&endpoint) => {
            format!("{scheme}://{bucket}.{host}")
        }
        _ => format!("{endpoint}/{bucket}"),
    }
}

#[cfg(test)]
mod tests {
    use aws_types::sdk_config::Builder;
    use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

    use super::*;

    /// A profile that names an endpoint for S3 only.
    #[derive(Debug)]
    struct Profile;

    impl LoadServiceConfig for Profile {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            (key.service_id() == "S3").then(|| "http://127.0.0.1:9000".to_owned())
        }
    }

    #[test]
    fn a_bucket_has_its_own_host_where_it_can() {
        let aws = |region: &'static str| SdkConfig::builder().region(Region::new(region));
        let at = |url: &str| SdkConfig::builder().endpoint_url(url);
        let cases: [(&str, Builder, &str); 11] = [
            ("exports", aws("eu-west-1"), "https://exports.s3.eu-west-1.amazonaws.com"),
            ("exports", aws("cn-north-1"), "https://exports.s3.cn-north-1.amazonaws.com.cn"),
            ("exports", aws("eusc-de-east-1"), "https://exports.s3.eusc-de-east-1.amazonaws.eu"),
            ("exports", aws("us-gov-west-1"), "https://exports.s3.us-gov-west-1.amazonaws.com"),
            ("exports", aws("us-east-1").use_fips(true), "https://exports.s3-fips.us-east-1.amazonaws.com"),
            (
                "exports",
                aws("us-east-1").use_fips(true).use_dual_stack(true),
                "https://exports.s3-fips.dualstack.us-east-1.amazonaws.com",
            ),
            ("my.exports", aws("eu-west-1"), "https://s3.eu-west-1.amazonaws.com/my.exports"),
            ("exports", at("https://objects.example.com/"), "https://exports.objects.example.com"),
            ("exports", at("http://127.0.0.1:9000/"), "http://127.0.0.1:9000/exports"),
            ("exports", at("http://localhost:9000"), "http://localhost:9000/exports"),
            ("exports", aws("eu-west-1").service_config(Profile), "http://127.0.0.1:9000/exports"),
        ];
        for (bucket, config, expected) in cases {
            assert_eq!(url(bucket, &config.build()), expected);
        }
    }
}
