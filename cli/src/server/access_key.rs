//! The access key of one run. The local database accepts only requests signed with it (AWS Signature Version 4),
//! so the secret is never sent and a made-up signature is refused.

use std::fmt;
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use chrono::NaiveDateTime;
use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;
use tickets_repository::http_client::{LOCAL_REGION, local_config};

/// The service name in a credential's scope.
const DATABASE: &str = "dynamodb";

/// The id and secret of an access key, generated for each run of a server.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Named in each request.
    pub id: String,
    /// Signs each request.
    pub secret: String,
}

impl AccessKey {
    /// Generates a random key.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        Ok(Self { id: format!("LOCAL{}", HEXLOWER.encode(&id)), secret: HEXLOWER.encode(&secret) })
    }

    /// The SDK's configuration for a server on this machine that knows this key.
    pub fn sdk_config(&self, endpoint_url: impl Into<String>) -> SdkConfig {
        let credentials = Credentials::new(&self.id, &self.secret, None, None, "local");
        let credentials = SharedCredentialsProvider::new(credentials);
        local_config(endpoint_url).into_builder().credentials_provider(credentials).build()
    }

    /// Shell assignments that hand the key to another process. The session token is emptied: an inherited one
    /// would belong to another key.
    pub fn variables(&self) -> String {
        let Self { id, secret } = self;
        format!(
            "AWS_REGION={LOCAL_REGION} AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret} AWS_SESSION_TOKEN="
        )
    }

    /// Whether a request says that it was signed with this key. Its body is not needed to tell.
    pub fn is_named_in(&self, parts: &Parts) -> bool {
        Authorization::of(parts).is_some_and(|authorization| authorization.id == self.id)
    }

    /// True if this key signed a request to the database with this body. The signing time is not checked: a
    /// container's clock may be far off, and the key is no older than the run.
    pub fn has_signed(&self, parts: &Parts, body: &[u8]) -> bool {
        let signature = self.signature(parts, body);
        signature.is_some_and(|(given, expected)| given.as_bytes().ct_eq(expected.as_bytes()).into())
    }

    /// The signature that a request has, and the one it should have. `None` if it was not signed with this
    /// key.
    fn signature<'a>(&self, parts: &'a Parts, body: &[u8]) -> Option<(&'a str, String)> {
        let Authorization { id, region, headers, signature } = Authorization::of(parts)?;
        let header = |name: &str| text(&parts.headers, name);
        // Without the signed host, a request could be meant for another server.
        if id != self.id || !headers.split(';').any(|name| name == HOST.as_str()) {
            return None;
        }
        let time = NaiveDateTime::parse_from_str(header("x-amz-date")?, "%Y%m%dT%H%M%SZ").ok()?;
        let mut settings = SigningSettings::default();
        // Exclude nothing: the request lists the headers it signed.
        settings.excluded_headers = None;
        let identity = Credentials::new(&self.id, &self.secret, None, None, "local");
        let identity = identity.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(DATABASE)
            .time(SystemTime::from(time.and_utc()))
            .settings(settings)
            .build()
            .ok()?
            .into();
        let signed =
            headers.split(';').map(|name| Some((name, header(name)?))).collect::<Option<Vec<_>>>()?;
        let url = format!("http://{}{}", header(HOST.as_str())?, parts.uri.path_and_query()?);
        let request =
            SignableRequest::new(parts.method.as_str(), url, signed.into_iter(), SignableBody::Bytes(body));
        let (_, expected) = sign(request.ok()?, &params).ok()?.into_parts();
        Some((signature, expected))
    }
}

/// The value of a header that occurs exactly once.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The parts of an `Authorization` header for the database.
struct Authorization<'a> {
    id: &'a str,
    region: &'a str,
    headers: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn of(parts: &'a Parts) -> Option<Self> {
        parts.headers.get(AUTHORIZATION)?.to_str().ok().and_then(Self::parse)
    }

    fn parse(header: &'a str) -> Option<Self> {
        let (mut credential, mut headers, mut signature) = (None, None, None);
        for part in header.strip_prefix("AWS4-HMAC-SHA256 ")?.split(',') {
            match part.trim().split_once('=')? {
                ("Credential", value) => credential = Some(value),
                ("SignedHeaders", value) => headers = Some(value),
                ("Signature", value) => signature = Some(value),
                _ => return None,
            }
        }
        let parts: Vec<_> = credential?.split('/').collect();
        let [id, _, region, DATABASE, "aws4_request"] = parts[..] else { return None };
        Some(Self { id, region, headers: headers?, signature: signature? })
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const BODY: &[u8] = br#"{"TableName":"ApiKeys"}"#;

    /// A request signed with a key, as the SDK does it.
    fn signed(key: &AccessKey, body: &[u8]) -> Parts {
        let identity = Credentials::new(&key.id, &key.secret, None, None, "test").into();
        let params = v4::SigningParams::builder().identity(&identity).region(LOCAL_REGION).name(DATABASE);
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        let params = params.time(time).settings(SigningSettings::default()).build().unwrap().into();
        let headers = [("host", "127.0.0.1:8000"), ("x-amz-target", "DynamoDB_20120810.Scan")];
        let url = "http://127.0.0.1:8000/";
        let request = SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(body));
        let (instructions, _) = sign(request.unwrap(), &params).unwrap().into_parts();
        let mut request = Request::post("/");
        for (name, value) in headers.into_iter().chain(instructions.headers()) {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_what_is_signed_with_the_key_is_signed_with_it() {
        let key = AccessKey::generate().unwrap();
        let parts = signed(&key, BODY);
        assert!(key.has_signed(&parts, BODY) && key.is_named_in(&parts));
        assert!(!AccessKey::generate().unwrap().is_named_in(&parts));
        assert!(!key.has_signed(&parts, b"{}"), "another body");
        assert!(!AccessKey::generate().unwrap().has_signed(&parts, BODY), "another key");
        let made_up = AccessKey { secret: "made up".into(), ..key.clone() };
        assert!(!key.has_signed(&signed(&made_up, BODY), BODY), "the right id and a made-up secret");
        for (name, value) in [("x-amz-target", "DynamoDB_20120810.PutItem"), ("host", "evil.example")] {
            let mut changed = parts.clone();
            changed.headers.insert(name, value.parse().unwrap());
            assert!(!key.has_signed(&changed, BODY), "another {name}");
        }
        let mut without = parts;
        without.headers.remove(AUTHORIZATION);
        assert!(!key.has_signed(&without, BODY) && !key.is_named_in(&without), "no signature");
    }

    #[test]
    fn what_is_no_authorization_is_refused() {
        for header in
            ["", "Bearer x", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 Credential=a", "AWS4-HMAC-SHA256 ,=,=/"]
        {
            assert!(Authorization::parse(header).is_none(), "{header}");
        }
    }
}
