//! The HTTP clients, and what they trust. Who calls, and where, is in the SDK's own `SdkConfig`.

use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_types::SdkConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Servers on this machine have no region. Clients are told this one.
pub const LOCAL_REGION: &str = "us-east-1";

/// The configuration for a server on this machine, which accepts dummy credentials.
pub fn local_config(endpoint_url: impl Into<String>) -> SdkConfig {
    let endpoint_url = endpoint_url.into();
    let credentials = Credentials::new("local", "local", None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(LOCAL_REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client(Some(&endpoint_url), Roots::amazon()))
        .endpoint_url(endpoint_url)
        .build()
}

/// Certificates of the authorities that an HTTP client trusts, in PEM.
#[derive(Debug, Clone)]
pub struct Roots(Vec<u8>);

impl Roots {
    /// The roots of AWS' endpoints: Amazon Trust Services' four, and the Starfield root that signs them for
    /// older clients (<https://www.amazontrust.com/repository/>).
    pub fn amazon() -> Self {
        Self(include_bytes!("amazon_roots.pem").to_vec())
    }

    /// Parses a bundle. `None` if it is empty, or if a certificate cannot be read: the SDK's client would
    /// panic.
    pub fn parse(pem: Vec<u8>) -> Option<Self> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            store.add(certificate.ok()?).ok()?;
        }
        (!store.is_empty()).then_some(Self(pem))
    }

    /// For an HTTP client that is not the SDK's.
    pub fn pem(&self) -> &[u8] {
        &self.0
    }
}

/// ring, because aws-lc first gathers entropy of its own for 30 ms of processor time.
const TLS: Provider = Provider::Rustls(CryptoMode::Ring);

/// Makes ring the provider of clients that are not the SDK's (reqwest's) in this process.
pub fn use_ring() {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client for an endpoint. Without TLS it does not load the roots.
pub fn http_client(endpoint_url: Option<&str>, roots: Roots) -> SharedHttpClient {
    if !is_secure(endpoint_url) {
        return Builder::new().build_http();
    }
    let trust = TrustStore::empty().with_pem_certificate(roots.0);
    let tls = Builder::new().tls_provider(TLS);
    match TlsContext::builder().with_trust_store(trust).build() {
        Ok(context) => tls.tls_context(context).build_https(),
        // The SDK's builder of contexts cannot fail today. If it ever does, use the system's roots.
        Err(_) => tls.build_https(),
    }
}

/// An HTTP client for people's machines: it trusts the system's roots, and uses the proxies that the
/// environment names.
pub fn system_http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.tls_provider(TLS).build()
    })
}

/// The same client, but it reads each response whole before the SDK gets it, so that lists can take the items out
/// of it. DynamoDB's responses have 16 MB at most.
pub(crate) fn in_memory(client: SharedHttpClient) -> SharedHttpClient {
    http_client_fn(move |settings, components| {
        SharedHttpConnector::new(InMemory(client.http_connector(settings, components)))
    })
}

#[derive(Debug)]
struct InMemory(SharedHttpConnector);

impl HttpConnector for InMemory {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let response = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut response = response.await?;
            if response.body().bytes().is_none() {
                let body = ByteStream::new(response.take_body()).collect().await;
                let body = body.map_err(|error| ConnectorError::io(error.into()))?;
                *response.body_mut() = SdkBody::from(body.into_bytes());
            }
            Ok(response)
        })
    }
}

/// True for HTTPS, and when no endpoint is set.
pub fn is_secure(endpoint_url: Option<&str>) -> bool {
    endpoint_url.is_none_or(|url| !url.starts_with("http://"))
}

/// Whether a URL names this machine: a loopback address, or a container's name for its host.
pub fn is_on_this_machine(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    // Userinfo is not the host: http://localhost@example.com/ is elsewhere.
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(host, "localhost" | "host.docker.internal")
        || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{Roots, is_on_this_machine, is_secure};

    #[test]
    fn a_bundle_of_roots_must_have_certificates_and_only_readable_ones() {
        let amazon = Roots::amazon().0;
        assert!(Roots::parse(amazon.clone()).is_some());
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for bundle in [b"".as_slice(), b"no PEM", no_certificate.as_bytes(), &amazon[..600]] {
            assert!(Roots::parse(bundle.to_vec()).is_none(), "{}", String::from_utf8_lossy(bundle));
        }
    }

    #[test]
    fn loopback_urls_are_on_this_machine_and_others_are_not() {
        for local in [
            "http://127.0.0.1:8000",
            "http://localhost",
            "http://[::1]:8000/",
            "http://host.docker.internal:8000",
        ] {
            assert!(is_on_this_machine(local), "{local}");
        }
        for other in [
            "https://dynamodb.eu-west-1.amazonaws.com",
            "http://localhost.example.com",
            "http://localhost@example.com/",
            "http://10.0.0.1",
        ] {
            assert!(!is_on_this_machine(other), "{other}");
        }
    }

    #[test]
    fn only_an_http_endpoint_is_used_without_tls() {
        assert!(is_secure(None) && is_secure(Some("https://dynamodb.eu-west-1.amazonaws.com")));
        assert!(!is_secure(Some("http://127.0.0.1:8000")));
    }
}
