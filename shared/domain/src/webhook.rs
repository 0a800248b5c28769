//! Webhooks: who is told of events, where, and with which signature (Standard Webhooks 1.0.0).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;
use url::{Host, Url};

use crate::address::is_public;
use crate::delivery::{Delivery, Disabled, Verdict};
use crate::event::{Event, EventType};
use crate::id::CustomerId;
use crate::time::Timestamp;
use crate::visibility::Visibility;

/// A text that is no webhook's id, secret or URL. The error does not repeat a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidWebhook {
    #[error("a webhook's id looks like wh_ and 16 characters of a-z and 2-7")]
    Id,
    #[error("a secret is whsec_ and 24 to 64 bytes in base64")]
    Secret,
    #[error("must be a URL like https://example.com/tickets: {0}")]
    Url(url::ParseError),
    #[error("must be a URL of at most {MAX_URL_LENGTH} characters")]
    Long,
    #[error("must be an https URL; http is only for a receiver on this machine")]
    Scheme,
    #[error("must be a URL without a user and password: whoever sees the webhook could read them")]
    Credentials,
    #[error("must be a URL without a fragment: it is not sent")]
    Fragment,
    #[error("must be a public address, not {0}")]
    NotPublic(String),
}

/// What proxies and servers are sure to take (RFC 9110, 4.1, asks for 8,000 at least; some take less).
const MAX_URL_LENGTH: usize = 2000;

/// The public name of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookId(String);

impl WebhookId {
    const PREFIX: &str = "wh_";

    /// A new id of 80 random bits.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 10];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{}{}", Self::PREFIX, BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WebhookId {
    type Error = InvalidWebhook;

    fn try_from(text: String) -> Result<Self, InvalidWebhook> {
        let digits = text.strip_prefix(Self::PREFIX).unwrap_or_default();
        let valid = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        if valid { Ok(Self(text)) } else { Err(InvalidWebhook::Id) }
    }
}

impl FromStr for WebhookId {
    type Err = InvalidWebhook;

    fn from_str(text: &str) -> Result<Self, InvalidWebhook> {
        text.to_owned().try_into()
    }
}

impl From<WebhookId> for String {
    fn from(id: WebhookId) -> String {
        id.0
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a webhook's requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    const PREFIX: &str = "whsec_";

    /// A new secret of 256 random bits.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = vec![0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The secret as plain text, to be stored, and to be shown once. There is no `Display`, so that it cannot slip into
    /// a log.
    pub fn reveal(&self) -> String {
        format!("{}{}", Self::PREFIX, BASE64.encode(&self.0))
    }

    /// The signature of a message: its version, a comma, and the HMAC in base64.
    fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104, section 2)")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key");
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }
}

impl FromStr for Secret {
    type Err = InvalidWebhook;

    fn from_str(text: &str) -> Result<Self, InvalidWebhook> {
        let encoded = text.strip_prefix(Self::PREFIX).ok_or(InvalidWebhook::Secret)?;
        let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| InvalidWebhook::Secret)?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(InvalidWebhook::Secret) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A webhook's secrets: the one that its receiver was given last, and for a while the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    pub current: Secret,
    /// The secret before a rotation, and when it ends.
    pub former: Option<(Secret, Timestamp)>,
}

impl Secrets {
    pub fn new(current: Secret) -> Self {
        Self { current, former: None }
    }

    /// The value of `webhook-signature`: a signature by each secret that is valid now, separated by spaces.
    pub fn sign(&self, id: &str, now: Timestamp, body: &str) -> String {
        let former = self.former.as_ref().filter(|(_, ends)| now < *ends).map(|(secret, _)| secret);
        let signatures = std::iter::once(&self.current).chain(former);
        let signatures: Vec<_> = signatures.map(|secret| secret.sign(id, seconds(now), body)).collect();
        signatures.join(" ")
    }
}

/// An instant as the value of `webhook-timestamp`: whole seconds since 1970.
pub fn seconds(time: Timestamp) -> i64 {
    time.millis().div_euclid(1000)
}

/// Where a webhook's events are sent: an https URL, or an http URL of this machine, which only a local server uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// Whether its receiver is on this machine, by http. Only a local server sends there.
    pub fn is_local(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The URL, with its host in the one form that connections are made to: `https://0x7f.1/` is `https://127.0.0.1/`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for WebhookUrl {
    type Err = InvalidWebhook;

    fn from_str(text: &str) -> Result<Self, InvalidWebhook> {
        if text.len() > MAX_URL_LENGTH {
            return Err(InvalidWebhook::Long);
        }
        let url = Url::parse(text).map_err(InvalidWebhook::Url)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidWebhook::Credentials);
        }
        if url.fragment().is_some() {
            return Err(InvalidWebhook::Fragment);
        }
        let host = url.host();
        let is_loopback = match &host {
            Some(Host::Domain(name)) => *name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match (url.scheme(), host) {
            ("http", _) if is_loopback => Ok(Self(url)),
            ("https", Some(Host::Ipv4(address))) if !is_public(address.into()) => {
                Err(InvalidWebhook::NotPublic(address.to_string()))
            }
            ("https", Some(Host::Ipv6(address))) if !is_public(address.into()) => {
                Err(InvalidWebhook::NotPublic(address.to_string()))
            }
            ("https", Some(_)) if is_loopback => Err(InvalidWebhook::NotPublic("localhost".into())),
            ("https", Some(_)) => Ok(Self(url)),
            _ => Err(InvalidWebhook::Scheme),
        }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Active,
    /// An operator has stopped it.
    Paused,
    /// It was stopped because of what its receiver answered.
    Disabled(Disabled, Timestamp),
}

impl fmt::Display for Disabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        })
    }
}

/// What came of a request to a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A status, and for how long the receiver asks to be left alone.
    Status(u16, Option<Duration>),
    /// There was no answer in time.
    TimedOut,
    /// The connection failed, or broke.
    NoConnection,
    /// The host has no public address.
    NotPublic,
}

impl Answer {
    /// What it means for the event and the endpoint.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Status(200..=299, _) => Verdict::Accepted,
            Self::Status(410, _) => Verdict::Gone,
            // About the endpoint, not the event: request timeout, too early, too many requests.
            Self::Status(429, wait) => Verdict::Failed(wait),
            Self::Status(408 | 425, _) => Verdict::Failed(None),
            Self::Status(400..=499, _) => Verdict::Refused,
            Self::Status(503, wait) => Verdict::Failed(wait),
            Self::Status(..) | Self::TimedOut | Self::NoConnection | Self::NotPublic => Verdict::Failed(None),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status, _) => status.fmt(f),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::NoConnection => f.write_str("no connection"),
            Self::NotPublic => f.write_str("no public address"),
        }
    }
}

/// A webhook as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: WebhookId,
    pub url: WebhookUrl,
    /// The types of events that are sent; all, if empty.
    pub types: Vec<EventType>,
    /// The customer whose tickets' events are sent; `None`: all customers'.
    pub customer: Option<CustomerId>,
    pub secrets: Secrets,
    /// A note for people: whose receiver it is.
    pub note: Option<String>,
    pub created: Timestamp,
    /// Who created it, as reported by that person's machine.
    pub created_by: Option<String>,
    pub state: State,
    pub delivery: Delivery,
    /// The last answer, in words, and when it came.
    pub last_answer: Option<(String, Timestamp)>,
}

impl Webhook {
    /// Which tickets its receiver may see.
    pub fn visibility(&self) -> Visibility {
        Visibility::of(self.customer)
    }

    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }
}

/// The body of a request.
#[derive(Debug, Serialize)]
pub struct Message<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: Timestamp,
    data: T,
}

impl<'a> Message<'a, &'a Event> {
    /// The message that tells of an event.
    pub fn of(event: &'a Event) -> Self {
        Self { kind: event.kind.name(), timestamp: event.date, data: event }
    }
}

/// What a test message tells.
#[derive(Debug, Serialize)]
pub struct TestData<'a> {
    webhook: &'a WebhookId,
}

impl<'a> Message<'a, TestData<'a>> {
    /// A message by which a receiver can be tried. It is about no ticket.
    pub fn test(webhook: &'a WebhookId, now: Timestamp) -> Self {
        Self { kind: "webhook.test", timestamp: now, data: TestData { webhook } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::EventId;
    use crate::id::{MAX_SAFE_INTEGER, TicketId, Version};
    use crate::preset::Choices;
    use crate::text::NOTE_BYTES;
    use crate::ticket::TEXT_FIELDS;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn url(text: &str) -> Result<String, String> {
        text.parse::<WebhookUrl>().map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    /// The example of Standard Webhooks' libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn a_message_is_signed_as_in_the_published_example() {
        let secrets = Secrets::new(SECRET.parse().unwrap());
        let now = Timestamp::from_millis(1_614_265_330_500).unwrap();
        let sign = |secrets: &Secrets, now| {
            secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", now, r#"{"test": 2432232314}"#)
        };
        assert_eq!(sign(&secrets, now), SIGNATURE);
        assert_eq!(seconds(now), 1_614_265_330);
        let former = Some((secrets.current.clone(), now.plus(Duration::from_millis(1))));
        let rotated = Secrets { current: Secret::generate().unwrap(), former };
        let signatures = sign(&rotated, now);
        let [new, old] = signatures.split(' ').collect::<Vec<_>>()[..] else { panic!("{signatures}") };
        assert_eq!(old, SIGNATURE, "the former secret is valid until it ends");
        assert_eq!(sign(&rotated, now.plus(Duration::from_millis(1))), new);
    }

    #[test]
    fn a_secret_is_read_as_it_was_written_and_shown_to_nobody() {
        let secret = Secret::generate().unwrap();
        assert_eq!(secret.reveal().parse(), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        let of = |bytes: usize| format!("whsec_{}", BASE64.encode(&vec![7; bytes])).parse::<Secret>();
        assert!(of(24).is_ok() && of(64).is_ok());
        assert!(of(23).is_err() && of(65).is_err());
        for text in ["", "whsec_", &SECRET[6..], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"] {
            assert_eq!(text.parse::<Secret>(), Err(InvalidWebhook::Secret), "{text}");
        }
    }

    #[test]
    fn an_id_is_told_from_other_texts() {
        let id = WebhookId::generate().unwrap();
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        for text in [
            "",
            "wh_",
            "tk_abcdefghijklmnop",
            "wh_ABCDEFGHIJKLMNOP",
            "wh_abcdefghijklmno",
            "wh_abcdefghijklmno1",
        ] {
            assert_eq!(text.parse::<WebhookId>(), Err(InvalidWebhook::Id), "{text}");
        }
    }

    #[test]
    fn a_url_is_https_and_public() {
        assert_eq!(url("https://example.com/tickets?a=b"), Ok("https://example.com/tickets?a=b".into()));
        assert_eq!(url("https://1.1.1.1:8443"), Ok("https://1.1.1.1:8443/".into()));
        assert_eq!(url("https://[2606:4700::1111]/"), Ok("https://[2606:4700::1111]/".into()));
        for (text, says) in [
            ("example.com", "must be a URL like"),
            ("http://example.com/", "must be an https URL"),
            ("http://10.0.0.1/", "must be an https URL"),
            ("ftp://127.0.0.1/", "must be an https URL"),
            ("https://ada@example.com/", "without a user"),
            ("https://:secret@example.com/", "without a user"),
            ("https://example.com/#top", "without a fragment"),
            ("https://localhost/", "not localhost"),
            ("https://169.254.169.254/latest", "not 169.254.169.254"),
            ("https://[fd00:ec2::254]/", "not fd00:ec2::254"),
        ] {
            let error = url(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let long = |length: usize| url(&format!("https://example.com/{}", "a".repeat(length - 20)));
        assert!(long(2000).is_ok() && long(2001).is_err());
    }

    #[test]
    fn an_address_that_is_not_public_is_refused_however_it_is_written() {
        for host in [
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "127.1",
            "0",
            "%31%32%37.0.0.1",
            "127.0.0.1.",
            "１２７.0.0.1",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:0:0:1]",
            "0xa9fea9fe",
            "192.168.257",
            "[64:ff9b::10.0.0.1]",
        ] {
            let error = url(&format!("https://{host}/")).unwrap_err();
            assert!(error.contains("must be a public address"), "{host}: {error}");
        }
    }

    #[test]
    fn http_is_only_for_this_machine() {
        for text in
            ["http://127.0.0.1:9999/", "http://localhost:9999/", "http://[::1]:9999/", "http://0x7f.1/"]
        {
            assert!(text.parse::<WebhookUrl>().unwrap().is_local(), "{text}");
        }
        assert!(!"https://example.com".parse::<WebhookUrl>().unwrap().is_local());
    }

    #[test]
    fn an_answer_is_about_the_event_or_about_the_endpoint() {
        let wait = Some(Duration::from_secs(60));
        for (answer, verdict) in [
            (Answer::Status(200, wait), Verdict::Accepted),
            (Answer::Status(299, None), Verdict::Accepted),
            (Answer::Status(300, None), Verdict::Failed(None)),
            (Answer::Status(302, None), Verdict::Failed(None)),
            (Answer::Status(400, None), Verdict::Refused),
            (Answer::Status(499, wait), Verdict::Refused),
            (Answer::Status(408, None), Verdict::Failed(None)),
            (Answer::Status(410, None), Verdict::Gone),
            (Answer::Status(425, None), Verdict::Failed(None)),
            (Answer::Status(429, wait), Verdict::Failed(wait)),
            (Answer::Status(500, wait), Verdict::Failed(None)),
            (Answer::Status(503, wait), Verdict::Failed(wait)),
            (Answer::TimedOut, Verdict::Failed(None)),
            (Answer::NoConnection, Verdict::Failed(None)),
            (Answer::NotPublic, Verdict::Failed(None)),
        ] {
            assert_eq!(answer.verdict(), verdict, "{answer}");
        }
    }

    #[test]
    fn a_test_message_names_its_webhook() {
        let id = "wh_abcdefghijklmnop".parse().unwrap();
        let message = Message::test(&id, time("2026-11-28"));
        assert_eq!(
            serde_json::to_value(message).unwrap(),
            json!({"type": "webhook.test", "timestamp": "2026-11-28T00:00:00.000Z", "data": {"webhook": id}})
        );
    }

    /// Every character of the texts is escaped. Configured values are together below 4 KiB: Lambda's limit of all
    /// environment variables.
    #[test]
    fn the_largest_message_has_less_than_20_kilobytes() {
        let text = |bytes| Some(serde_json::from_value(json!("\"".repeat(bytes))).unwrap());
        let (last, version) = (TicketId::try_from(MAX_SAFE_INTEGER).unwrap(), Version::new((1 << 40) - 1));
        let event = Event {
            id: EventId::new(Timestamp::MAX, last, version),
            kind: EventType::Updated,
            ticket: last,
            customer: MAX_SAFE_INTEGER.try_into().ok(),
            version,
            date: Timestamp::MAX,
            by: "a".repeat(32).parse().unwrap(),
            fields: TEXT_FIELDS
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .chain(["customerID".into()])
                .collect(),
            shown: Choices {
                owner: text(NOTE_BYTES),
                status: text(1300),
                ticket_type: text(1300),
                priority: text(1300),
            },
            left: None,
        };
        let length = serde_json::to_string(&Message::of(&event)).unwrap().len();
        assert!((16_000..20_000).contains(&length), "{length} bytes");
    }
}
