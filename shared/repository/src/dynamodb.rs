//! DynamoDB's operations, sent with only those of the SDK's steps that they need.
//!
//! For every call the SDK's client also measures, notes which of its features are used, and finds the endpoint
//! anew. That is a sixth of what a warm get computes (docs/performance.md, "What a warm request computes").
//! [`DynamoDb`] sends the SDK's own operations through the SDK's own orchestrator without it. Inputs, outputs,
//! errors and their JSON are the SDK's, and so is what connects, finds credentials, times out and repeats.

use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;
use std::time::Duration;

use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_runtime::service_clock_skew::{ServiceClockSkewClassifier, ServiceClockSkewInterceptor};
use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    ConfigBag, FrozenLayer, Intercept, RuntimeComponents, SharedInterceptor, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::error::{BoxError, BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation;
use aws_smithy_runtime::client::defaults::{DefaultPluginParams, default_plugins};
use aws_smithy_runtime::client::http::connection_poisoning::ConnectionPoisoningInterceptor;
use aws_smithy_runtime::client::orchestrator;
use aws_smithy_runtime::client::retries::classifiers::{
    HttpStatusCodeClassifier, ModeledAsRetryableClassifier, TransientErrorClassifier,
};
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{AuthSchemeOptionResolverParams, SharedAuthScheme};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::endpoint::{EndpointFuture, EndpointResolverParams, ResolveEndpoint};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Input, Output, OutputOrError};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::{
    RuntimePlugin, RuntimePlugins, SharedRuntimePlugin, StaticRuntimePlugin,
};
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::retry::ProvideErrorKind;
use aws_types::region::{Region, SigningRegion};
use aws_types::{SdkConfig, SigningName};
use futures::FutureExt as _;

use crate::client::{caller, domain, endpoint_url};
use crate::item::Item;
use crate::sign::Scheme;
use crate::transcode::{FromItem, Made, Member, transcode};

/// Every write, retries included, ends this long after it began. So it cannot take effect long after the
/// `updatedDate` it carries. About a third of the default settle window.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(3);

/// Inside a region a connection takes one or two milliseconds; a slower one will not come.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// DynamoDB answers in milliseconds, and a `Query` of a megabyte in tens of them. A slower attempt is better
/// repeated.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Attempts of a read: in standard mode the SDK repeats throttled, failed and timed-out ones with jitter.
const ATTEMPTS: u32 = 3;
/// The SDK's default of one second suits batch jobs; here a caller waits.
const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// The service's id in the SDK.
const SERVICE: &str = "DynamoDB";

/// An operation's answer.
pub(crate) type Sent<T, E> = Result<T, SdkError<E, HttpResponse>>;

/// DynamoDB with an endpoint, credentials and connections. Clones share them.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    plugins: RuntimePlugins,
}

impl DynamoDb {
    /// The DynamoDB of a function's configuration, which has to have an HTTP client. Timeouts, retries and
    /// signatures are ours. FIPS and dual-stack endpoints are not known here: no function's configuration asks
    /// for them.
    pub fn new(sdk_config: &SdkConfig) -> Self {
        Self::with(sdk_config, plain_endpoint(sdk_config), |components| {
            components.with_auth_scheme(Scheme::default())
        })
    }

    /// The DynamoDB of a person's configuration. The machine's clock may be wrong, so the SDK signs: it corrects
    /// for that. The profile may ask for FIPS or dual stack, so the SDK's rules find the endpoint.
    pub fn for_people(sdk_config: &SdkConfig) -> Self {
        Self::with(sdk_config, endpoint_by_rules(sdk_config), |components| {
            components
                .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
                .with_interceptor(SharedInterceptor::new(ServiceClockSkewInterceptor::new()))
        })
    }

    fn with(
        sdk_config: &SdkConfig,
        endpoint: Result<Endpoint, String>,
        signing: impl FnOnce(RuntimeComponentsBuilder) -> RuntimeComponentsBuilder,
    ) -> Self {
        let version = sdk_config.behavior_version().unwrap_or_else(BehaviorVersion::latest);
        let defaults = DefaultPluginParams::new().with_behavior_version(version).with_is_aws_sdk(true);
        let components = caller(sdk_config)
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
            .with_endpoint_resolver(Some(Resolved(endpoint)))
            .with_interceptor(SharedInterceptor::permanent(ConnectionPoisoningInterceptor::new()))
            .with_interceptor(SharedInterceptor::permanent(UserAgent))
            .with_retry_classifier(HttpStatusCodeClassifier::default());
        let ours = StaticRuntimePlugin::new()
            .with_config(settings(sdk_config))
            .with_runtime_components(signing(components));
        let plugins = RuntimePlugins::new()
            .with_client_plugins(default_plugins(defaults.with_retry_partition_name("tickets")))
            .with_client_plugin(ours);
        Self { plugins }
    }

    /// The same, with one attempt for each call: for writes. After several attempts the SDK returns only the
    /// last error, which hides that an earlier one may have taken effect. The write loop repeats writes and
    /// keeps track of that.
    pub(crate) fn once(&self) -> Self {
        static ONE_ATTEMPT: LazyLock<SharedRuntimePlugin> = LazyLock::new(|| {
            let mut layer = Layer::new("one attempt");
            layer.store_put(RetryConfig::disabled());
            SharedRuntimePlugin::new(StaticRuntimePlugin::new().with_config(layer.freeze()))
        });
        Self { plugins: self.plugins.clone().with_client_plugin(ONE_ATTEMPT.clone()) }
    }

    /// Sends a call, and returns its output.
    pub(crate) async fn send<C: Call>(&self, call: C) -> Sent<C::Output, C::Error> {
        invoke(self.plugins.clone().with_operation_plugin(C::operation().plugin.clone()), call).await
    }

    /// Sends a call that returns items. Returns its output without them, and the values read from them.
    pub(crate) async fn read<T: FromItem, C: Read>(&self, call: C) -> Sent<(C::Output, Made<T>), C::Error> {
        let operation = C::operation();
        let mut layer = Layer::new("items");
        layer.store_put(SharedResponseDeserializer::new(Reader::<T, C>(PhantomData)));
        let plugins = self
            .plugins
            .clone()
            .with_operation_plugin(operation.plugin.clone())
            .with_operation_plugin(StaticRuntimePlugin::new().with_config(layer.freeze()));
        invoke(plugins, call).await
    }
}

/// Sends a call. The deserializer among the plugins has to make an `O`.
#[expect(
    clippy::expect_used,
    reason = "both deserializers, the operation's and `Reader`, make the types that `send` and `read` name"
)]
async fn invoke<C: Call, O: fmt::Debug + Send + Sync + 'static>(
    plugins: RuntimePlugins,
    call: C,
) -> Sent<O, C::Error> {
    let input = Input::erase(call.input().map_err(SdkError::construction_failure)?);
    let sent = orchestrator::invoke(SERVICE, C::operation().name, input, &plugins).await;
    let output = sent
        .map_err(|error| error.map_service_error(|error| error.downcast().expect("the operation's error")))?;
    Ok(output.downcast().expect("the deserializer's output"))
}

fn settings(sdk_config: &SdkConfig) -> FrozenLayer {
    let mut layer = Layer::new(SERVICE);
    layer.store_put(
        RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(FIRST_BACKOFF)
            .with_max_backoff(LONGEST_BACKOFF),
    );
    // Its own budget of retries: by default all clients of a process share one.
    layer.store_put(RetryPartition::custom("tickets").build());
    layer.store_put(
        TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(WRITE_DEADLINE)
            .build(),
    );
    // Each attempt has a timeout; watching its throughput would only cost.
    layer.store_put(StalledStreamProtectionConfig::disabled());
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(EndpointResolverParams::new(()));
    layer.store_put(SigningName::from_static("dynamodb"));
    if let Some(region) = sdk_config.region() {
        layer.store_put(SigningRegion::from(region.clone()));
    }
    layer.freeze()
}

/// The endpoint that is configured, or DynamoDB's in the region. Not by the SDK's rules: they first compile
/// the regular expressions of all partitions, a fifth of what a cold start computes.
fn plain_endpoint(sdk_config: &SdkConfig) -> Result<Endpoint, String> {
    let region = sdk_config.region().map(Region::as_ref);
    let of_region = || region.map(|region| format!("https://dynamodb.{region}.{}", domain(region)));
    let url = endpoint_url(sdk_config, SERVICE).or_else(of_region).ok_or("no region is configured")?;
    Ok(Endpoint::builder().url(url).build())
}

/// The endpoint that the SDK's rules name. They are not told the account, whose own endpoint would only be
/// another way to the same tables.
fn endpoint_by_rules(sdk_config: &SdkConfig) -> Result<Endpoint, String> {
    let params = Params::builder()
        .set_region(sdk_config.region().map(ToString::to_string))
        .set_use_fips(sdk_config.use_fips())
        .set_use_dual_stack(sdk_config.use_dual_stack())
        .set_endpoint(endpoint_url(sdk_config, SERVICE))
        .build()
        .map_err(|error| error.to_string())?;
    let resolved = DefaultResolver::new().resolve_endpoint(&params).now_or_never();
    resolved.ok_or("the SDK's rules wait for something")?.map_err(|error| error.to_string())
}

/// An endpoint that is found once; or why there is none, for every call.
#[derive(Debug)]
struct Resolved(Result<Endpoint, String>);

impl ResolveEndpoint for Resolved {
    fn resolve_endpoint<'a>(&'a self, _params: &'a EndpointResolverParams) -> EndpointFuture<'a> {
        EndpointFuture::ready(self.0.clone().map_err(BoxError::from))
    }
}

/// Sets a short `User-Agent`. The SDK's own describes it at length, which DynamoDB does not need.
#[derive(Debug)]
struct UserAgent;

#[dyn_dispatch_hint]
impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "UserAgent"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        headers.insert("user-agent", concat!("tickets/", env!("CARGO_PKG_VERSION"), " aws-sdk-rust"));
        Ok(())
    }
}

/// A call of one of DynamoDB's operations: the SDK's builder of its input.
pub(crate) trait Call: 'static {
    type Input: fmt::Debug + Send + Sync + 'static;
    type Output: fmt::Debug + Send + Sync + 'static;
    type Error: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static;

    fn operation() -> &'static Operation;

    fn input(self) -> Result<Self::Input, BuildError>;
}

/// A call that returns items.
pub(crate) trait Read: Call {
    /// Where the items are in the response.
    const MEMBER: Member;

    /// Takes the items out of the output.
    fn items(output: &mut Self::Output) -> Vec<Item>;
}

/// One of DynamoDB's operations.
pub(crate) struct Operation {
    name: &'static str,
    plugin: SharedRuntimePlugin,
    config: FrozenLayer,
}

impl Operation {
    /// An operation of the SDK: its serializer and deserializer, and which of its errors are repeated.
    fn of<E>(name: &'static str, operation: &impl RuntimePlugin) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + ProvideErrorKind + Send + Sync + 'static,
    {
        let config = operation.config().unwrap_or_else(|| Layer::new(name).freeze());
        let components = RuntimeComponentsBuilder::new(name)
            .with_retry_classifier(TransientErrorClassifier::<E>::new())
            .with_retry_classifier(ModeledAsRetryableClassifier::<E>::new())
            .with_retry_classifier(AwsErrorCodeClassifier::<E>::new())
            .with_retry_classifier(ServiceClockSkewClassifier::<E>::new());
        let plugin =
            StaticRuntimePlugin::new().with_config(config.clone()).with_runtime_components(components);
        Self { name, plugin: SharedRuntimePlugin::new(plugin), config }
    }
}

macro_rules! calls {
    ($($module:ident: $operation:ident, $builder:ident, $input:ident, $output:ident, $error:ident;)*) => {$(
        impl Call for operation::$module::builders::$builder {
            type Input = operation::$module::$input;
            type Output = operation::$module::$output;
            type Error = operation::$module::$error;

            fn operation() -> &'static Operation {
                static OPERATION: LazyLock<Operation> = LazyLock::new(|| {
                    let operation = operation::$module::$operation::new();
                    Operation::of::<operation::$module::$error>(stringify!($operation), &operation)
                });
                &OPERATION
            }

            fn input(self) -> Result<Self::Input, BuildError> {
                self.build()
            }
        }
    )*};
}

calls! {
    batch_get_item: BatchGetItem, BatchGetItemInputBuilder, BatchGetItemInput, BatchGetItemOutput, BatchGetItemError;
    batch_write_item: BatchWriteItem, BatchWriteItemInputBuilder, BatchWriteItemInput, BatchWriteItemOutput, BatchWriteItemError;
    create_table: CreateTable, CreateTableInputBuilder, CreateTableInput, CreateTableOutput, CreateTableError;
    delete_item: DeleteItem, DeleteItemInputBuilder, DeleteItemInput, DeleteItemOutput, DeleteItemError;
    describe_table: DescribeTable, DescribeTableInputBuilder, DescribeTableInput, DescribeTableOutput, DescribeTableError;
    get_item: GetItem, GetItemInputBuilder, GetItemInput, GetItemOutput, GetItemError;
    put_item: PutItem, PutItemInputBuilder, PutItemInput, PutItemOutput, PutItemError;
    query: Query, QueryInputBuilder, QueryInput, QueryOutput, QueryError;
    scan: Scan, ScanInputBuilder, ScanInput, ScanOutput, ScanError;
    update_item: UpdateItem, UpdateItemInputBuilder, UpdateItemInput, UpdateItemOutput, UpdateItemError;
    update_table: UpdateTable, UpdateTableInputBuilder, UpdateTableInput, UpdateTableOutput, UpdateTableError;
    update_time_to_live: UpdateTimeToLive, UpdateTimeToLiveInputBuilder, UpdateTimeToLiveInput, UpdateTimeToLiveOutput, UpdateTimeToLiveError;
}

impl Read for operation::get_item::builders::GetItemInputBuilder {
    const MEMBER: Member = Member::Item;

    fn items(output: &mut Self::Output) -> Vec<Item> {
        output.item.take().into_iter().collect()
    }
}

impl Read for operation::query::builders::QueryInputBuilder {
    const MEMBER: Member = Member::Items;

    fn items(output: &mut Self::Output) -> Vec<Item> {
        output.items.take().unwrap_or_default()
    }
}

impl Read for operation::batch_get_item::builders::BatchGetItemInputBuilder {
    const MEMBER: Member = Member::Responses;

    fn items(output: &mut Self::Output) -> Vec<Item> {
        output.responses.take().into_iter().flatten().flat_map(|(_table, items)| items).collect()
    }
}

/// Reads the items of a response, and leaves the rest to the operation's deserializer.
struct Reader<T, C>(PhantomData<fn() -> (T, C)>);

impl<T, C> fmt::Debug for Reader<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl<T: FromItem, C: Read> DeserializeResponse for Reader<T, C> {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        config: &ConfigBag,
    ) -> OutputOrError {
        let body = response.body().bytes().filter(|_| response.status().is_success());
        let text = body.and_then(|body| std::str::from_utf8(body).ok());
        let read = match text.and_then(|text| transcode::<T>(text, C::MEMBER)) {
            Some((made, rest)) => {
                let rest = HttpResponse::new(response.status(), SdkBody::from(rest));
                (output::<C>(&rest, config)?, made)
            }
            None => {
                let mut output = output::<C>(response, config)?;
                let made = C::items(&mut output).into_iter().map(T::from_item).collect();
                (output, made)
            }
        };
        Ok(Output::erase(read))
    }
}

/// What the operation's own deserializer makes of a response.
#[expect(
    clippy::expect_used,
    reason = "every operation of the SDK has a deserializer, which makes its output"
)]
fn output<C: Call>(
    response: &HttpResponse,
    config: &ConfigBag,
) -> Result<C::Output, OrchestratorError<Error>> {
    let deserializer = C::operation().config.load::<SharedResponseDeserializer>();
    let deserializer = deserializer.expect("a deserializer");
    let output = deserializer.deserialize_nonstreaming_with_config(response, config)?;
    Ok(output.downcast().expect("the operation's output"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_sdk_dynamodb::Client;
    use aws_sdk_dynamodb::config::http::HttpRequest;
    use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider, SharedHttpClient};
    use aws_sdk_dynamodb::error::DisplayErrorContext;
    use aws_sdk_dynamodb::operation::get_item::builders::GetItemInputBuilder;
    use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemInputBuilder;
    use aws_sdk_dynamodb::types::AttributeValue;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_types::origin::Origin;
    use aws_types::sdk_config::Builder;
    use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::client::local_config;
    use crate::scripted::{self, Answer, http_client, lost, refused, response};

    fn id() -> AttributeValue {
        AttributeValue::N("1".into())
    }

    fn get() -> GetItemInputBuilder {
        GetItemInputBuilder::default().table_name("Tickets").key("id", id()).consistent_read(true)
    }

    fn update() -> UpdateItemInputBuilder {
        let update = UpdateItemInputBuilder::default().table_name("Tickets").key("id", id());
        update.update_expression("ADD #n :n").expression_attribute_names("#n", "n")
    }

    type Asked = (String, String, Vec<(String, String)>, Vec<u8>);

    /// What a request asks, and whom, without what a client says about itself and its attempt.
    fn asked(request: &HttpRequest) -> Asked {
        let left_out = ["authorization", "user-agent", "x-amz-user-agent", "x-amz-date"];
        let headers = request
            .headers()
            .iter()
            .filter(|(name, _)| !left_out.contains(name) && !name.starts_with("amz-sdk-"));
        let mut headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        headers.sort();
        let body = request.body().bytes().unwrap().to_vec();
        (request.method().to_owned(), request.uri().to_owned(), headers, body)
    }

    /// What the SDK's client sends with a configuration, and what we send.
    async fn sent(configuration: Builder, ours: fn(&SdkConfig) -> DynamoDb) -> [Vec<Asked>; 2] {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sent);
        let http_client = http_client(move |request| {
            kept.lock().unwrap().push(asked(&request));
            response(200, "{}")
        });
        let credentials = Credentials::new("id", "secret", Some("token".to_owned()), None, "test");
        let sdk_config = configuration
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client)
            .build();
        let (client, dynamodb) = (Client::new(&sdk_config), ours(&sdk_config));
        get().send_with(&client).await.unwrap();
        update().send_with(&client).await.unwrap();
        let by_client = std::mem::take(&mut *sent.lock().unwrap());
        dynamodb.send(get()).await.unwrap();
        dynamodb.once().send(update()).await.unwrap();
        let by_us = std::mem::take(&mut *sent.lock().unwrap());
        [by_client, by_us]
    }

    #[tokio::test]
    async fn a_call_asks_the_same_of_the_same_endpoint_as_the_sdk_s_client_does() {
        let aws = |region: &str| SdkConfig::builder().region(Region::new(region.to_owned()));
        // One of each partition, and of each continent.
        let regions = [
            "af-south-1",
            "ap-southeast-7",
            "ca-west-1",
            "cn-north-1",
            "eu-isoe-west-1",
            "eu-west-1",
            "eusc-de-east-1",
            "il-central-1",
            "me-south-1",
            "mx-central-1",
            "sa-east-1",
            "us-east-1",
            "us-gov-west-1",
            "us-iso-east-1",
            "us-isob-west-1",
            "us-isof-south-1",
        ];
        let configured = || {
            let in_code = || aws("eu-west-1").endpoint_url("http://127.0.0.1:8000");
            let mut in_a_file = in_code().service_config(Profile);
            in_a_file.insert_origin("endpoint_url", Origin::shared_config());
            [
                in_code(),
                in_code().service_config(Profile),
                in_a_file,
                aws("eu-west-1").endpoint_url("https://dynamodb.example.com/base"),
                aws("eu-west-1").service_config(Profile),
            ]
        };
        for configuration in regions.map(aws).into_iter().chain(configured()) {
            let [by_client, by_us] = sent(configuration, DynamoDb::new).await;
            assert_eq!(by_client, by_us);
        }
        let asked_for = [
            aws("us-east-1").use_fips(true),
            aws("us-gov-west-1").use_fips(true),
            aws("eu-central-1").use_dual_stack(true),
            aws("us-east-2").use_fips(true).use_dual_stack(true),
        ];
        for configuration in regions.map(aws).into_iter().chain(configured()).chain(asked_for) {
            let [by_client, by_us] = sent(configuration, DynamoDb::for_people).await;
            assert_eq!(by_client, by_us);
        }
    }

    #[tokio::test]
    async fn without_an_endpoint_every_call_says_so() {
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let nowhere = SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client(|_| response(200, "{}")))
            .build();
        for (dynamodb, why) in [
            (DynamoDb::new(&nowhere), "no region is configured"),
            (DynamoDb::for_people(&nowhere), "Missing Region"),
        ] {
            let error = DisplayErrorContext(dynamodb.send(get()).await.unwrap_err()).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    /// How many attempts a call takes if each is answered so.
    async fn attempts(answer: fn() -> Answer) -> (usize, usize) {
        let (tickets, calls) = scripted::tickets(move |_, _| answer());
        tickets.dynamodb.send(get()).await.unwrap_err();
        tickets.dynamodb.once().send(update()).await.unwrap_err();
        (calls.of("GetItem").len(), calls.of("UpdateItem").len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_if_that_may_help_and_a_write_never() {
        for repeated in [
            lost,
            || refused("ThrottlingException"),
            || refused("ProvisionedThroughputExceededException"),
            || refused("RequestLimitExceeded"),
            || (503, json!({})),
        ] {
            assert_eq!(attempts(repeated).await, (3, 1), "{:?}", repeated());
        }
        for final_ in [|| refused("ValidationException"), || refused("AccessDeniedException")] {
            assert_eq!(attempts(final_).await, (1, 1), "{:?}", final_());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_after_a_second_and_a_call_after_three() {
        let began = Instant::now();
        let never = http_client_that_never_answers();
        let sdk_config = local_config("http://localhost").into_builder().http_client(never).build();
        let error = DynamoDb::new(&sdk_config).once().send(get()).await.unwrap_err();
        assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
        assert_eq!(began.elapsed(), ATTEMPT_TIMEOUT);
        let began = Instant::now();
        DynamoDb::new(&sdk_config).send(get()).await.unwrap_err();
        assert!(began.elapsed() > ATTEMPT_TIMEOUT * 2 && began.elapsed() <= WRITE_DEADLINE);
    }

    #[tokio::test]
    async fn a_person_s_clock_may_be_wrong() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        // An hour or more ahead of any clock here.
        let http_client = http_client(move |request| {
            let date = request.headers().get("x-amz-date").unwrap().to_owned();
            let is_right = date.starts_with("2999");
            kept.lock().unwrap().push(date);
            let mut response = if is_right {
                response(200, "{}")
            } else {
                response(400, refused("InvalidSignatureException").1.to_string())
            };
            response.headers_mut().insert("date", "Tue, 01 Jan 2999 12:00:00 GMT");
            response
        });
        let sdk_config = local_config("http://localhost").into_builder().http_client(http_client).build();
        DynamoDb::for_people(&sdk_config).send(get()).await.unwrap();
        assert_eq!(seen.lock().unwrap().len(), 2, "{seen:?}");
    }

    /// A profile that names an endpoint for DynamoDB only.
    #[derive(Debug)]
    struct Profile;

    impl LoadServiceConfig for Profile {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            let asked = (key.service_id(), key.env(), key.profile());
            (asked == ("DynamoDB", "AWS_ENDPOINT_URL", "endpoint_url"))
                .then(|| "http://10.0.0.1:8000".to_owned())
        }
    }

    fn http_client_that_never_answers() -> SharedHttpClient {
        #[derive(Debug)]
        struct Never;
        impl HttpConnector for Never {
            fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
                HttpConnectorFuture::new(std::future::pending())
            }
        }
        let never = SharedHttpConnector::new(Never);
        http_client_fn(move |_, _| never.clone())
    }
}
