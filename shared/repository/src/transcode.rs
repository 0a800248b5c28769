//! Reads DynamoDB's JSON directly into the rows and keys that lists need.
//!
//! The SDK turns each item into a map of attributes, which takes more time than the rest of a list. But a
//! ticket's texts have the same JSON in the response as in a list. So [`Transcoder`] takes the items out of a
//! response before the SDK reads it, and copies their texts unchanged. The SDK reads the rest: the last key,
//! unprocessed keys, consumed capacity.
//!
//! This quick way is for the common items: a ticket with valid fields, or the key of a record. Every other
//! item becomes the SDK's map and goes the ordinary way ([`crate::item`]); so does a whole response with an
//! unexpected form. Both ways give the same rows and the same errors (tested below as a property).

mod scanner;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_types::body::SdkBody;
use tickets_domain::Result;

use crate::item::Item;
use scanner::{JsonString, JsonText, Scanner};

/// A type that is read from an item.
pub(crate) trait FromItem: Send + Sized + 'static {
    /// The quick way, for common items. `None`: the ordinary way has to read it.
    fn from_attributes(attributes: &Attributes<'_>) -> Option<Self>;

    /// The ordinary way, for every item.
    fn from_item(item: Item) -> Result<Self>;
}

/// The member of a response that has the items.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Member {
    /// Of a `Query`: an array.
    Items,
    /// Of a `BatchGetItem`: an array for each table.
    Responses,
}

impl Member {
    fn name(self) -> &'static str {
        match self {
            Self::Items => "Items",
            Self::Responses => "Responses",
        }
    }
}

/// Takes the items out of the response to one call.
pub(crate) struct Transcoder<T> {
    member: Member,
    /// `None` if the SDK has read the items.
    values: Arc<Mutex<Option<Result<Vec<T>>>>>,
}

impl<T> Clone for Transcoder<T> {
    fn clone(&self) -> Self {
        Self { member: self.member, values: Arc::clone(&self.values) }
    }
}

impl<T> fmt::Debug for Transcoder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcoder").field("member", &self.member).finish_non_exhaustive()
    }
}

impl<T: FromItem> Transcoder<T> {
    /// A transcoder for a call whose items are in this member.
    pub(crate) fn new(member: Member) -> Self {
        Self { member, values: Arc::default() }
    }

    /// The values read; if the SDK has read the items, they are read from `items`.
    pub(crate) fn values(&self, items: impl Iterator<Item = Item>) -> Result<Vec<T>> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner).take();
        values.unwrap_or_else(|| items.map(T::from_item).collect())
    }
}

#[dyn_dispatch_hint]
impl<T: FromItem> Intercept for Transcoder<T> {
    fn name(&self) -> &'static str {
        "Transcoder"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let response = context.response_mut();
        let body = response.body().bytes().filter(|_| response.status().is_success());
        let text = body.and_then(|body| std::str::from_utf8(body).ok());
        if let Some((values, rest)) = text.and_then(|text| transcode(text, self.member)) {
            *response.body_mut() = SdkBody::from(rest);
            *self.values.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
        }
        Ok(())
    }
}

/// The values read from a response, and the rest of it. `None` if it has an unexpected form.
fn transcode<T: FromItem>(response: &str, member: Member) -> Option<(Result<Vec<T>>, Vec<u8>)> {
    let mut json = Scanner::new(response)?;
    let mut found = None;
    let mut rest = b"{".to_vec();
    json.members(|json, name| {
        if name == member.name() {
            // Of two the SDK keeps the last.
            return found.replace(values(json, member)?).is_none().then_some(());
        }
        let value = json.value()?;
        if rest.len() > 1 {
            rest.push(b',');
        }
        // The name has no escape.
        rest.extend([b"\"", name.as_bytes(), b"\":", value.as_bytes()].concat());
        Some(())
    })?;
    rest.push(b'}');
    json.is_at_end().then(|| (found.unwrap_or(Ok(Vec::new())), rest))
}

/// The values of a member.
fn values<'a, T: FromItem>(json: &mut Scanner<'a>, member: Member) -> Option<Result<Vec<T>>> {
    let mut values = Ok(Vec::new());
    let mut attributes = Attributes(Vec::with_capacity(32));
    let mut item = |json: &mut Scanner<'a>| {
        attributes.read(json)?;
        add(&mut values, &attributes)
    };
    match member {
        Member::Items => json.elements(item)?,
        Member::Responses => json.members(|json, _table| json.elements(&mut item))?,
    }
    Some(values)
}

/// Adds the value of an item. After an item that cannot be read, there are no more values. `None` if it cannot be
/// known here whether it can be read.
fn add<T: FromItem>(values: &mut Result<Vec<T>>, attributes: &Attributes<'_>) -> Option<()> {
    let Ok(read) = values else { return Some(()) };
    let value = match T::from_attributes(attributes) {
        Some(value) => Ok(value),
        None => T::from_item(attributes.to_item()?),
    };
    match value {
        Ok(value) => read.push(value),
        Err(error) => *values = Err(error),
    }
    Some(())
}

/// An item's attributes, in the order of the response.
#[derive(Debug)]
pub(crate) struct Attributes<'a>(Vec<(&'a str, Attribute<'a>)>);

/// An attribute's value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attribute<'a> {
    /// A string.
    Text(JsonString<'a>),
    /// A number.
    Number(&'a str),
    Null,
}

impl<'a> Attribute<'a> {
    /// Reads one such as `{"S":"…"}`. None of ours has another type.
    fn read(json: &mut Scanner<'a>) -> Option<Self> {
        if json.skip("{\"NULL\":true}") {
            return Some(Self::Null);
        }
        let attribute = if json.skip("{\"S\":") {
            Self::Text(json.string()?)
        } else if json.skip("{\"N\":") {
            Self::Number(json.plain()?)
        } else {
            return None;
        };
        json.expect(b'}')?;
        Some(attribute)
    }

    /// A text, with its JSON for a list.
    pub(crate) fn json_text(self) -> Option<JsonText<'a>> {
        match self {
            Self::Text(string) => JsonText::of(string),
            Self::Number(_) | Self::Null => None,
        }
    }
}

impl<'a> Attributes<'a> {
    /// Reads the next item, in place of the one before.
    fn read(&mut self, json: &mut Scanner<'a>) -> Option<()> {
        self.0.clear();
        json.members(|json, name| {
            self.0.push((name, Attribute::read(json)?));
            Some(())
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<Attribute<'a>> {
        // If a name comes twice, the SDK keeps the last.
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, attribute)| *attribute)
    }

    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        match self.get(name)? {
            Attribute::Number(number) => number.parse().ok(),
            Attribute::Text(_) | Attribute::Null => None,
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        match self.get(name)? {
            Attribute::Text(string) => string.decode(),
            Attribute::Number(_) | Attribute::Null => None,
        }
    }

    /// About how long the JSON of all attributes is.
    pub(crate) fn json_len(&self) -> usize {
        let len = |attribute: &Attribute<'_>| match attribute {
            Attribute::Text(string) => string.json.len(),
            Attribute::Number(number) => number.len(),
            Attribute::Null => 0,
        };
        self.0.iter().map(|(name, attribute)| name.len() + len(attribute) + 4).sum()
    }

    /// The item as the SDK represents it; `None` if one of its strings is no text.
    fn to_item(&self) -> Option<Item> {
        let value = |attribute| match attribute {
            Attribute::Text(string) => Some(AttributeValue::S(string.decode()?.into_owned())),
            Attribute::Number(number) => Some(AttributeValue::N(number.to_owned())),
            Attribute::Null => Some(AttributeValue::Null(true)),
        };
        self.0.iter().map(|(name, attribute)| Some(((*name).to_owned(), value(*attribute)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tickets_domain::RecordKey;
    use tickets_domain::ticket::TEXT_FIELDS;

    use super::*;
    use crate::dynamodb::DynamoDb;
    use crate::failure::Failure;
    use crate::http_client::local_config;
    use crate::item::QueueKey;
    use crate::list::Entry;
    use crate::scripted::{self, http_client};

    /// A DynamoDB that gives this answer to every call.
    fn dynamodb(status: u16, body: &[u8]) -> DynamoDb {
        let body = body.to_owned();
        let http_client = http_client(move |_| scripted::response(status, body.clone()));
        DynamoDb::new(&local_config("http://localhost").into_builder().http_client(http_client).build())
    }

    /// The result of a call: the values read, and what the SDK read of the rest; or the error.
    type Outcome<T> = std::result::Result<(std::result::Result<Vec<T>, String>, String), String>;

    /// Sends a query. Its items are read by us, or by the SDK.
    async fn query<T: FromItem>(dynamodb: &DynamoDb, transcoded: bool) -> Outcome<T> {
        let query = dynamodb.once().query().table_name("Tickets");
        let (output, values) = if transcoded {
            dynamodb.query_items::<T>(query).await.map_err(general)?
        } else {
            let mut output = dynamodb.read(query.send().await).map_err(general)?;
            let items = output.items.take().into_iter().flatten();
            let values = items.map(T::from_item).collect();
            (output, values)
        };
        let last = output.last_evaluated_key.iter().flatten().collect::<BTreeMap<_, _>>();
        let rest = format!("{:?} {} {last:?}", output.consumed_capacity, output.count);
        // Compare errors by their general text: of several mistakes, the order of a map decides which is
        // named.
        Ok((values.map_err(|error| error.to_string()), rest))
    }

    /// An error without what differs: after the quick way the SDK's error has less of the body in it, and other
    /// offsets.
    fn general(failure: Failure) -> String {
        let error = format!("{failure:?}");
        let message = error.split("raw: Response").next().unwrap_or_default();
        message.replace(|character: char| character.is_ascii_digit(), "")
    }

    /// Checks that both ways give the same. Returns whether the items went the quick way.
    fn agree<T: FromItem + PartialEq + fmt::Debug>(status: u16, body: impl AsRef<[u8]>) -> bool {
        let body = body.as_ref();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dynamodb = dynamodb(status, body);
        let both = [true, false].map(|transcoded| runtime.block_on(query::<T>(&dynamodb, transcoded)));
        assert_eq!(both[0], both[1], "{}", String::from_utf8_lossy(body));
        std::str::from_utf8(body).is_ok_and(|body| transcode::<T>(body, Member::Items).is_some())
    }

    /// A string's JSON, with escapes as other writers make them.
    fn escaped(text: &str, style: u8) -> String {
        let plain = serde_json::to_string(text).unwrap();
        match style % 4 {
            0 => plain,
            1 => plain.replace('/', "\\/"),
            2 => format!(
                "\"{}\"",
                text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>()
            ),
            // Half of a surrogate pair, which is no text.
            _ => plain.replacen('"', "\"\\ud83d", 1),
        }
    }

    fn attribute(name: &'static str) -> impl Strategy<Value = (String, String)> {
        let usual = match name {
            "id" | "customerID" | "version" | "customerSince" => "[1-9][0-9]{0,3}".prop_map(number).boxed(),
            "createdDate" | "updatedDate" | "previousReserved" => {
                (0i64..4_000_000_000_000).prop_map(|millis| number(millis.to_string())).boxed()
            }
            "customerEmail" => "[a-z]{1,5}@example\\.com".prop_map(|text| string(&text, 0)).boxed(),
            "ticketFollowupDate" | "ticketActionRequired" => prop_oneof![
                Just("2026-11-25"),
                Just("2026-11-25T08:00:00.000Z"),
                Just("2026-11-25 08:00"),
                Just("soon"),
            ]
            .prop_map(|text| string(text, 0))
            .boxed(),
            _ => ("(?s).{0,40}", 0u8..3).prop_map(|(text, style)| string(&text, style)).boxed(),
        };
        let unusual = prop_oneof![
            (".{0,12}", any::<u8>()).prop_map(|(text, style)| string(&text, style)),
            "-?[0-9]{1,20}(\\.[0-9]{1,3})?".prop_map(number),
            Just("{\"NULL\":true}".to_owned()),
            Just("{\"NULL\":false}".to_owned()),
            Just("{\"BOOL\":true}".to_owned()),
            Just("{\"L\":[{\"S\":\"x\"},{\"M\":{\"a\":{\"N\":\"1\"}}}]}".to_owned()),
            Just("{\"SS\":[\"a\",\"b\"]}".to_owned()),
            Just("{\"B\":\"aGk=\"}".to_owned()),
            Just("{}".to_owned()),
            Just("{\"N\":7}".to_owned()),
            Just("null".to_owned()),
        ];
        prop_oneof![60 => usual, 1 => unusual].prop_map(move |value| (name.to_owned(), value))
    }

    fn number(text: impl fmt::Display) -> String {
        format!("{{\"N\":\"{text}\"}}")
    }

    fn string(text: &str, style: u8) -> String {
        format!("{{\"S\":{}}}", escaped(text, style))
    }

    const NEEDED: [&str; 5] = ["id", "customerID", "createdDate", "updatedDate", "version"];
    const OTHERS: [&str; 3] = ["previousReserved", "customerSince", "somethingNew"];

    /// An item, mostly a ticket's, with attributes missing and in any order.
    fn item() -> impl Strategy<Value = String> {
        let bucket = prop_oneof![20 => Just("0#1"), 1 => Just("departures#1"), 1 => Just("")];
        let needed = NEEDED.map(|name| proptest::option::weighted(0.99, attribute(name)));
        let others = OTHERS.map(|name| proptest::option::weighted(0.6, attribute(name)));
        let texts = TEXT_FIELDS.map(|(name, _)| {
            proptest::option::weighted(if name == "subject" { 0.99 } else { 0.6 }, attribute(name))
        });
        let rare = ["deletedDate", "voidedDate", "expires"]
            .map(|name| proptest::option::weighted(0.05, attribute(name)));
        (bucket, needed, texts, others, rare).prop_flat_map(|(bucket, needed, texts, others, rare)| {
            let bucket = Some(("bucket".to_owned(), string(bucket, 0)));
            let all: Vec<_> =
                needed.into_iter().chain(texts).chain(others).chain(rare).chain([bucket]).flatten().collect();
            Just(all).prop_shuffle().prop_map(|attributes| {
                let members = attributes.iter().map(|(name, value)| format!("\"{name}\":{value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            })
        })
    }

    /// A response of a `Query`, its members in any order.
    fn response() -> impl Strategy<Value = String> {
        let last = "\"LastEvaluatedKey\":{\"bucket\":{\"S\":\"0#1\"},\"id\":{\"N\":\"7\"}}";
        let rest =
            vec!["\"Count\":3", "\"ConsumedCapacity\":{\"TableName\":\"T\",\"CapacityUnits\":2.5}", last];
        (proptest::collection::vec(item(), 0..6), proptest::sample::subsequence(rest, 0..=3)).prop_flat_map(
            |(items, rest)| {
                let items = format!("\"Items\":[{}]", items.join(","));
                let members: Vec<_> = rest.into_iter().map(str::to_owned).chain([items]).collect();
                Just(members).prop_shuffle().prop_map(|members| format!("{{{}}}", members.join(",")))
            },
        )
    }

    /// A response, and in it some bytes changed, left out, put in or repeated.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![any::<u8>(), proptest::sample::select(br#"{}[]",:\0u-e"#.to_vec())];
        let edit = (any::<prop::sample::Index>(), 0u8..4, byte, 1usize..60);
        (response(), proptest::collection::vec(edit, 1..4)).prop_map(|(body, edits)| {
            let mut body = body.into_bytes();
            for (at, kind, byte, length) in edits {
                let at = at.index(body.len());
                let end = body.len().min(at + length);
                match kind {
                    0 => body[at] = byte,
                    1 => drop(body.drain(at..end)),
                    2 => body.insert(at, byte),
                    _ => drop(body.splice(at..at, body[at..end].to_vec())),
                }
                if body.is_empty() {
                    break;
                }
            }
            body
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn both_ways_give_the_same_rows_or_the_same_error(body in response()) {
            agree::<Entry>(200, &body);
            agree::<RecordKey>(200, &body);
            agree::<QueueKey>(200, &body);
        }

        #[test]
        fn a_response_cut_off_anywhere_fails_as_it_would_without_us(body in response(), at in any::<prop::sample::Index>()) {
            let mut cut = at.index(body.len() + 1);
            while !body.is_char_boundary(cut) {
                cut -= 1;
            }
            agree::<Entry>(200, &body[..cut]);
        }

        #[test]
        fn a_damaged_response_is_read_as_it_would_be_without_us(body in damaged()) {
            agree::<Entry>(200, &body);
        }

        #[test]
        fn an_error_is_the_sdk_s_to_read(status in 400u16..600, body in response()) {
            agree::<Entry>(status, &body);
        }
    }

    #[test]
    fn tickets_go_the_quick_way_and_every_escape_comes_out_as_it_would() {
        let ticket = json!({
            "bucket": {"S": "0#1"}, "id": {"N": "1"}, "customerID": {"N": "42"}, "version": {"N": "1"},
            "createdDate": {"N": "1764000000000"}, "updatedDate": {"N": "1764000000001"},
            "subject": {"S": "a \"quoted\"\n\u{1} / \u{2028} 😀"}, "ticketContent": {"S": ""},
        });
        let body = json!({"Count": 1, "Items": [ticket], "ScannedCount": 2}).to_string();
        let (made, rest) = transcode::<Entry>(&body, Member::Items).unwrap();
        assert_eq!(rest, br#"{"Count":1,"ScannedCount":2}"#);
        assert!(agree::<Entry>(200, r#"{"Items":[],"Count":0}"#), "so does an empty page");
        let made = made.unwrap();
        let value: Value = serde_json::from_str(&made[0].row.as_ref().unwrap().json).unwrap();
        assert_eq!(value["subject"], ticket["subject"]["S"]);
        assert!(
            agree::<Entry>(200, &body)
                && agree::<Entry>(200, &body.replace('/', "\\/").replace("\\n", "\\u000A"))
        );
    }
}
