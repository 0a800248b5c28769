//! DynamoDB through the SDK's client.
//!
//! The client repeats reads. It sends a write once, because the write loop (`write`) repeats it, and keeps track
//! of what an attempt without an answer may have done. Only here is counted what a call consumed.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{self, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::operation::batch_get_item::builders::BatchGetItemFluentBuilder;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemOutput;
use aws_sdk_dynamodb::operation::get_item::{GetItemOutput, builders::GetItemFluentBuilder};
use aws_sdk_dynamodb::operation::put_item::{PutItemOutput, builders::PutItemFluentBuilder};
use aws_sdk_dynamodb::operation::query::{QueryOutput, builders::QueryFluentBuilder};
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    ConsumedCapacity, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use aws_types::SdkConfig;
use tickets_domain::{Meter, Result};

use crate::failure::{Conditional, Failure, WriteError};
use crate::http_client::in_memory;
use crate::transcode::{FromItem, Member, Transcoder};

/// Inside a region a connection takes one or two milliseconds; a slower one will not come.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// DynamoDB answers in milliseconds, and a `Query` of a megabyte in tens of them. A slower attempt is better
/// repeated.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a call may take, with its repeats.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Attempts of a read: in standard mode the SDK repeats throttled, failed and timed-out ones with jitter.
const ATTEMPTS: u32 = 3;
/// The SDK's default of one second suits batch jobs; here a caller waits.
const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// DynamoDB with an endpoint, credentials and connections. Clones share them.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    reads: Client,
    writes: Client,
    meter: Meter,
}

impl DynamoDb {
    /// The DynamoDB of a configuration, which has to have an HTTP client. Timeouts and retries are ours.
    pub fn new(sdk_config: &SdkConfig) -> Self {
        let mut config = config::Builder::from(sdk_config)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(FIRST_BACKOFF)
                    .with_max_backoff(LONGEST_BACKOFF),
            )
            // Its own budget of retries: by default all clients of a process share one.
            .retry_partition(RetryPartition::custom("tickets").build())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            // Each attempt has a timeout; watching its throughput would only cost.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_http_client(sdk_config.http_client().map(in_memory));
        // After several attempts the SDK returns only the last error, which hides that an earlier one may have
        // taken effect.
        let once = config.clone().retry_config(RetryConfig::disabled());
        Self {
            reads: Client::from_conf(config.build()),
            writes: Client::from_conf(once.build()),
            meter: Meter::default(),
        }
    }

    /// The same, with a meter that counts what calls consume.
    #[must_use]
    pub(crate) fn metered(&self, meter: Meter) -> Self {
        Self { meter, ..self.clone() }
    }

    /// The same, for writes that may take effect twice without harm: the client repeats them as it does reads.
    #[must_use]
    pub(crate) fn repeating_writes(&self) -> Self {
        Self { writes: self.reads.clone(), ..self.clone() }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The SDK's client, which repeats calls: for tables, and for what is not counted.
    pub(crate) fn client(&self) -> &Client {
        &self.reads
    }

    /// The client that sends a call once.
    pub(crate) fn once(&self) -> &Client {
        &self.writes
    }

    pub(crate) fn get_item(&self) -> GetItemFluentBuilder {
        self.reads.get_item().set_return_consumed_capacity(self.asked())
    }

    pub(crate) fn query(&self) -> QueryFluentBuilder {
        self.reads.query().set_return_consumed_capacity(self.asked())
    }

    pub(crate) fn batch_get_item(&self) -> BatchGetItemFluentBuilder {
        self.reads.batch_get_item().set_return_consumed_capacity(self.asked())
    }

    /// A put. If its condition fails, the item that is there comes with the error.
    pub(crate) fn put_item(&self) -> PutItemFluentBuilder {
        self.writes
            .put_item()
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.asked())
    }

    /// An update. If its condition fails, the item that is there comes with the error.
    pub(crate) fn update_item(&self) -> UpdateItemFluentBuilder {
        self.writes
            .update_item()
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.asked())
    }

    /// What DynamoDB is asked to report; nothing if nothing is counted.
    fn asked(&self) -> Option<ReturnConsumedCapacity> {
        self.meter.counts().then_some(ReturnConsumedCapacity::Total)
    }

    /// Counts a read.
    pub(crate) fn read<O: Consuming, E>(&self, sent: Sent<O, E>) -> Result<O, Failure>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let output = sent.map_err(Failure::of)?;
        self.meter.add_read(output.units());
        Ok(output)
    }

    /// Counts a write, and tells why it failed.
    pub(crate) fn wrote<O: Consuming, E: Conditional>(&self, sent: Sent<O, E>) -> Result<O, WriteError> {
        match sent {
            Ok(output) => {
                self.meter.add_write(output.units());
                Ok(output)
            }
            Err(error) => {
                self.meter.add_lost();
                Err(WriteError::of(error))
            }
        }
    }

    /// Sends a query, and reads its items. They are not in the output.
    pub(crate) async fn query_items<T: FromItem>(
        &self,
        query: QueryFluentBuilder,
    ) -> Result<(QueryOutput, Result<Vec<T>>), Failure> {
        let transcoder = Transcoder::new(Member::Items);
        let mut output = self.read(query.customize().interceptor(transcoder.clone()).send().await)?;
        let values = transcoder.values(output.items.take().into_iter().flatten());
        Ok((output, values))
    }

    /// Sends a `BatchGetItem`, and reads its items. They are not in the output.
    pub(crate) async fn batch_get_items<T: FromItem>(
        &self,
        get: BatchGetItemFluentBuilder,
    ) -> Result<(BatchGetItemOutput, Result<Vec<T>>), Failure> {
        let transcoder = Transcoder::new(Member::Responses);
        let mut output = self.read(get.customize().interceptor(transcoder.clone()).send().await)?;
        let tables = output.responses.take().into_iter().flatten();
        let values = transcoder.values(tables.flat_map(|(_table, items)| items));
        Ok((output, values))
    }
}

/// An operation's answer.
type Sent<O, E> = Result<O, SdkError<E, HttpResponse>>;

/// An output that tells what its call consumed.
pub(crate) trait Consuming {
    /// Read or write units; zero if DynamoDB was not asked.
    fn units(&self) -> f64;
}

macro_rules! consuming {
    ($($output:ty),*) => {$(
        impl Consuming for $output {
            fn units(&self) -> f64 {
                self.consumed_capacity().into_iter().filter_map(ConsumedCapacity::capacity_units).sum()
            }
        }
    )*};
}

consuming!(BatchGetItemOutput, DeleteItemOutput, GetItemOutput, PutItemOutput, QueryOutput, UpdateItemOutput);

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_sdk_dynamodb::config::SharedHttpClient;
    use aws_sdk_dynamodb::config::http::HttpRequest;
    use aws_sdk_dynamodb::types::AttributeValue;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::http_client::local_config;
    use crate::scripted::{self, Answer, condition_failed, http_client, lost, ok, refused, response};

    fn with(http_client: SharedHttpClient) -> DynamoDb {
        DynamoDb::new(&local_config("http://localhost").into_builder().http_client(http_client).build())
    }

    async fn get(dynamodb: &DynamoDb) -> Result<GetItemOutput, Failure> {
        let get = dynamodb.get_item().table_name("Tickets").key("id", AttributeValue::N("1".into()));
        dynamodb.read(get.send().await)
    }

    async fn update(dynamodb: &DynamoDb) -> Result<UpdateItemOutput, WriteError> {
        let update = dynamodb.update_item().table_name("Tickets").key("id", AttributeValue::N("1".into()));
        dynamodb.wrote(update.update_expression("ADD n :n").send().await)
    }

    /// How many attempts a read takes if each is answered so, and how many a write, and one that repeats.
    async fn attempts(answer: fn() -> Answer) -> [usize; 3] {
        let (tickets, calls) = scripted::tickets(move |_, _| answer());
        get(&tickets.dynamodb).await.unwrap_err();
        update(&tickets.dynamodb).await.unwrap_err();
        let (gets, updates) = (calls.of("GetItem").len(), calls.of("UpdateItem").len());
        update(&tickets.dynamodb.repeating_writes()).await.unwrap_err();
        [gets, updates, calls.of("UpdateItem").len() - updates]
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_repeated_if_that_may_help_and_a_write_only_if_it_says_so() {
        for repeated in [
            lost,
            || refused("ThrottlingException"),
            || refused("ProvisionedThroughputExceededException"),
            || refused("RequestLimitExceeded"),
            || (503, json!({})),
        ] {
            assert_eq!(attempts(repeated).await, [3, 1, 3], "{:?}", repeated());
        }
        for final_ in [|| refused("ValidationException"), || refused("AccessDeniedException")] {
            assert_eq!(attempts(final_).await, [1, 1, 1], "{:?}", final_());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_after_a_second_and_a_call_after_three() {
        #[derive(Debug)]
        struct Never;
        impl HttpConnector for Never {
            fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
                HttpConnectorFuture::new(std::future::pending())
            }
        }
        let never = SharedHttpConnector::new(Never);
        let dynamodb = with(http_client_fn(move |_, _| never.clone()));
        let began = Instant::now();
        let written = update(&dynamodb).await;
        assert!(matches!(written, Err(WriteError::Failed(Failure::Unknown(_)))), "{written:?}");
        assert_eq!(began.elapsed(), ATTEMPT_TIMEOUT);
        let began = Instant::now();
        get(&dynamodb).await.unwrap_err();
        assert!(began.elapsed() > ATTEMPT_TIMEOUT * 2 && began.elapsed() <= CALL_TIMEOUT);
    }

    #[tokio::test]
    async fn a_clock_that_is_wrong_is_corrected_by_dynamodb_s() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        // An hour or more ahead of any clock here.
        let dynamodb = with(http_client(move |request| {
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
        }));
        get(&dynamodb).await.unwrap();
        assert_eq!(seen.lock().unwrap().len(), 2, "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_condition_comes_with_the_item_that_is_there() {
        for (item, expected) in [(json!({"n": {"N": "7"}}), Some("7")), (json!(null), None)] {
            let (tickets, _) = scripted::tickets(move |_, _| condition_failed(item.clone()));
            let Err(WriteError::ConditionFailed(found)) = update(&tickets.dynamodb).await else { panic!() };
            assert_eq!(found.as_ref().map(|item| item["n"].as_n().unwrap().as_str()), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_calls_consume_is_asked_for_and_counted_only_with_a_meter() {
        let consumed = json!({"ConsumedCapacity": {"TableName": "Tickets", "CapacityUnits": 1.5}});
        let (tickets, calls) = scripted::tickets(move |operation, _| match operation {
            "UpdateItem" => condition_failed(json!(null)),
            _ => ok(consumed.clone()),
        });
        let meter = Meter::counting();
        let dynamodb = tickets.dynamodb.metered(meter.clone());
        get(&dynamodb).await.unwrap();
        update(&dynamodb).await.unwrap_err();
        let put = dynamodb.put_item().table_name("Tickets").item("id", AttributeValue::N("1".into()));
        dynamodb.wrote(put.send().await).unwrap();
        get(&tickets.dynamodb).await.unwrap();
        let usage = meter.usage();
        assert_eq!((usage.read_units, usage.write_units), (1.5, 1.5));
        assert_eq!((usage.attempts, usage.contention), (3, 1));
        let asked: Vec<_> =
            calls.of("GetItem").iter().map(|input| input["ReturnConsumedCapacity"].clone()).collect();
        assert_eq!(asked, [json!("TOTAL"), json!(null)]);
    }
}
