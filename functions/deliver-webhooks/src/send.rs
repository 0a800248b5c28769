//! Sends one request to a receiver.

use std::error::Error;
use std::future::Future;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, retry};
use tickets_domain::Timestamp;
use tickets_domain::webhook::{Answer, Secrets, WebhookUrl, seconds};
use tickets_repository::http_client::use_ring;

use crate::resolver::{NotPublic, PublicResolver};

/// The longest that a receiver may take to answer, connecting included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that a frozen instance has kept is likely to be closed by now.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A signed message on its way to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub url: WebhookUrl,
    /// `webhook-id`: the same for every attempt, so that the receiver knows a repeated one.
    pub id: String,
    /// `webhook-timestamp`: of this attempt.
    pub timestamp: i64,
    pub signature: String,
    pub body: String,
}

impl Request {
    /// Signs a message.
    pub fn signed(url: WebhookUrl, secrets: &Secrets, id: String, now: Timestamp, body: String) -> Self {
        let signature = secrets.sign(&id, now, &body);
        Self { url, id, timestamp: seconds(now), signature, body }
    }
}

/// What sends requests: HTTP, or a test's receiver.
pub trait Sender {
    fn send(&self, request: Request) -> impl Future<Output = Answer> + Send;
}

/// Sends requests by HTTP.
#[derive(Debug, Clone)]
pub struct HttpSender {
    client: Client,
    to_this_machine: bool,
}

impl HttpSender {
    /// `to_this_machine`: whether receivers on this machine get events, by http. For local servers only.
    pub fn new(to_this_machine: bool) -> Result<Self, reqwest::Error> {
        Self::with_resolver(to_this_machine, PublicResolver::system(to_this_machine))
    }

    /// The same, with a resolver that looks names up in another way.
    pub fn with_resolver(to_this_machine: bool, resolver: PublicResolver) -> Result<Self, reqwest::Error> {
        use_ring();
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|root| Certificate::from_der(root));
        let client = Client::builder()
            .tls_certs_only(roots.collect::<Result<Vec<_>, _>>()?)
            .dns_resolver(resolver)
            .https_only(!to_this_machine)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .no_gzip()
            // Only the webhook's own waits decide when a request is repeated.
            .retry(retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("tickets-webhooks/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, to_this_machine })
    }
}

impl Sender for HttpSender {
    async fn send(&self, request: Request) -> Answer {
        let Request { url, id, timestamp, signature, body } = request;
        if url.is_local() && !self.to_this_machine {
            return Answer::NotPublic;
        }
        let sent = self
            .client
            .post(url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await;
        match sent {
            // Its body is not read.
            Ok(response) => Answer::Status(response.status().as_u16(), retry_after(&response)),
            Err(error) if has_cause::<NotPublic>(&error) => Answer::NotPublic,
            Err(error) if error.is_timeout() => Answer::TimedOut,
            Err(_) => Answer::NoConnection,
        }
    }
}

/// For how long the receiver asks to be left alone: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    // Measured by the receiver's own clock, if it says what that shows.
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let now = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(system_time);
    until.duration_since(now).ok()
}

fn system_time() -> SystemTime {
    let millis = u64::try_from(tickets_domain::Clock::system().now().millis()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

fn has_cause<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use tickets_domain::webhook::Secret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    fn request(url: &str) -> Request {
        let (secrets, now) = (Secrets::new(Secret::generate().unwrap()), "2026-11-28".parse().unwrap());
        Request::signed(url.parse().unwrap(), &secrets, "id".into(), now, "{}".into())
    }

    /// A receiver that sends this to each connection, as soon as it has read something. Returns its address, and what
    /// it has read of one.
    async fn receiver(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let reading = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            while !text.ends_with("\r\n\r\n{}") {
                let mut bytes = [0; 1024];
                let read = stream.read(&mut bytes).await.unwrap();
                text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            text
        });
        (address, reading)
    }

    async fn answer(text: &'static str) -> Answer {
        let (address, _) = receiver(text).await;
        HttpSender::new(true).unwrap().send(request(&format!("http://{address}/"))).await
    }

    #[tokio::test]
    async fn a_request_has_the_headers_of_standard_webhooks() {
        let (address, reading) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
        let request = request(&format!("http://localhost:{}/tickets?a=b", address.port()));
        let answer = HttpSender::new(true).unwrap().send(request.clone()).await;
        assert_eq!(answer, Answer::Status(204, None));
        let text = reading.await.unwrap();
        assert!(text.starts_with("POST /tickets?a=b HTTP/1.1\r\n"), "{text}");
        for header in [
            "content-type: application/json".to_owned(),
            "webhook-id: id".to_owned(),
            format!("webhook-timestamp: {}", request.timestamp),
            format!("webhook-signature: {}", request.signature),
            concat!("user-agent: tickets-webhooks/", env!("CARGO_PKG_VERSION")).to_owned(),
        ] {
            assert!(text.contains(&format!("{header}\r\n")), "{header} is not in {text}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(answer(redirect).await, Answer::Status(302, None));
    }

    #[tokio::test]
    async fn a_receiver_says_for_how_long_it_wants_to_be_left_alone() {
        for (header, wait) in [
            ("HTTP/1.1 429 -\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n", Some(120)),
            (
                "HTTP/1.1 503 -\r\nretry-after: Sat, 28 Nov 2026 20:00:30 GMT\r\n\
                 date: Sat, 28 Nov 2026 20:00:00 GMT\r\ncontent-length: 0\r\n\r\n",
                Some(30),
            ),
            ("HTTP/1.1 503 -\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n", None),
            ("HTTP/1.1 503 -\r\ncontent-length: 0\r\n\r\n", None),
        ] {
            let Answer::Status(_, found) = answer(header).await else { panic!("{header}") };
            assert_eq!(found, wait.map(Duration::from_secs), "{header}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_read() {
        let endless = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\nand so on";
        assert_eq!(answer(endless).await, Answer::Status(200, None));
    }

    #[tokio::test]
    async fn a_broken_connection_is_no_answer() {
        assert_eq!(answer("SSH-2.0\r\n").await, Answer::NoConnection);
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let sent = HttpSender::new(true).unwrap().send(request(&format!("http://{closed}/"))).await;
        assert_eq!(sent, Answer::NoConnection);
    }

    #[tokio::test]
    async fn a_deployment_does_not_send_to_its_own_machine() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let sender = HttpSender::new(false).unwrap();
        for url in [format!("http://{address}/"), format!("http://localhost:{}/", address.port())] {
            assert_eq!(sender.send(request(&url)).await, Answer::NotPublic, "{url}");
        }
        assert!(listener.accept().now_or_never().is_none());
    }

    /// Each connection is made to what the resolver returned for it, so that it does not matter what the name resolves to
    /// before or after.
    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_not_connected_to() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let looked_up = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&looked_up);
        let look_up = move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            futures::future::ready(Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])).boxed()
        };
        let sender = HttpSender::with_resolver(true, PublicResolver::new(true, Arc::new(look_up))).unwrap();
        for times in 1..=2 {
            let sent = sender.send(request(&format!("https://inner.example:{port}/"))).await;
            assert_eq!((sent, looked_up.load(Ordering::Relaxed)), (Answer::NotPublic, times));
        }
        assert!(listener.accept().now_or_never().is_none());
    }
}
