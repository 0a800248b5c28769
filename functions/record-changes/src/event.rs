//! The event of the stream, and the answer to it.
//!
//! These are our own types, not `aws_lambda_events`': only three members of a record are read. And that crate
//! refuses the output of `aws dynamodbstreams get-records`, from which a batch is recorded by hand
//! (docs/operations.md).

use serde::{Deserialize, Serialize};
use tickets_domain::Error;
use tickets_http::log;
use tickets_repository::history::StreamRecord;

/// A batch of a stream's records.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// The records, in order.
    #[serde(rename = "Records")]
    pub records: Vec<Record>,
}

/// A record of the stream.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    /// DynamoDB's record of the write.
    pub dynamodb: StreamRecord,
}

/// The answer to a batch (`ReportBatchItemFailures`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The first record that failed, if one did.
    pub batch_item_failures: Vec<Failure>,
}

/// A record that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its sequence number in the stream.
    pub item_identifier: String,
}

impl Outcome {
    /// The answer to a batch whose first failure has this sequence number.
    pub(crate) fn of(failed: Option<String>) -> Self {
        let failure = |item_identifier| Failure { item_identifier };
        Self { batch_item_failures: failed.map(failure).into_iter().collect() }
    }
}

/// The result of a batch.
#[derive(Debug)]
pub struct Run {
    /// The number of records in the batch.
    pub records: usize,
    /// The number of versions of tickets among them.
    pub versions: usize,
    /// The sequence number of the first record that failed, and why.
    pub failed: Option<(String, Error)>,
}

/// The fields of a batch's log line, besides those of every line.
#[derive(Serialize)]
pub(crate) struct LogFields<'a> {
    records: usize,
    versions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<&'a str>,
    #[serde(flatten)]
    failure: Option<log::Failure>,
}

impl Run {
    pub(crate) fn log_fields(&self) -> LogFields<'_> {
        let failed = self.failed.as_ref();
        LogFields {
            records: self.records,
            versions: self.versions,
            sequence_number: failed.map(|(sequence_number, _)| sequence_number.as_str()),
            failure: failed.map(|(_, error)| log::Failure::of(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_batch_is_read_as_lambda_delivers_it_and_as_the_aws_cli_prints_it() {
        for created in [json!(1_795_563_233.0), json!("2026-11-24T23:33:53+00:00")] {
            let event: Event = serde_json::from_value(json!({"Records": [{
                "eventID": "1", "eventName": "MODIFY", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
                "awsRegion": "us-east-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": created,
                    "Keys": {"bucket": {"S": "counter"}, "id": {"N": "0"}},
                    "NewImage": {"bucket": {"S": "counter"}, "id": {"N": "0"}, "last": {"N": "7"}},
                    "OldImage": {"bucket": {"S": "counter"}, "id": {"N": "0"}, "last": {"N": "6"}},
                    "SequenceNumber": "100001795563233595734", "SizeBytes": 90, "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            }]}))
            .unwrap();
            let record = event.records[0].dynamodb.clone();
            assert_eq!(record.sequence_number, "100001795563233595734");
            assert!(record.version().unwrap().is_none(), "the counter is no ticket");
        }
    }

    #[test]
    fn a_failure_is_answered_as_lambda_wants_it() {
        assert_eq!(serde_json::to_value(Outcome::of(None)).unwrap(), json!({"batchItemFailures": []}));
        assert_eq!(
            serde_json::to_value(Outcome::of(Some("7".into()))).unwrap(),
            json!({"batchItemFailures": [{"itemIdentifier": "7"}]})
        );
    }
}
