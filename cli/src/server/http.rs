//! The HTTP servers on this machine. None of them waits forever for a client, to send or to read. The private ones
//! refuse requests of web pages.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tickets_repository::http_client::is_on_this_machine;
use tokio::net::TcpListener;
use tokio_io_timeout::TimeoutStream;

use crate::output::note;

/// The time limit for a request's headers, for its body, between two requests, and for a client that reads nothing of
/// its response. Slower clients are disconnected.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes read ahead of a connection, and so the longest header. API Gateway takes 10 KB of headers.
pub const READ_AHEAD: usize = 64 * 1024;
/// The pause before accepting again, when the process has too many open files.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, and then finishes the requests under way.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    serve_with(listener, router, PATIENCE, shutdown).await;
}

async fn serve_with(
    listener: TcpListener,
    router: Router,
    patience: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    // hyper counts from the end of the previous request, so idle connections are closed too.
    http.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(READ_AHEAD);
    let connections = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        // Send each answer at once, without waiting to fill a packet.
        let _ = stream.set_nodelay(true);
        // hyper has no time limit for writing.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(patience));
        let service = TowerToHyperService::new(router.clone());
        let connection = connections.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), service));
        tokio::spawn(async {
            // An error means that the client hung up or was disconnected.
            let _ = connection.await;
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(patience, connections.shutdown()).await;
}

/// Reads a request's body of up to `limit` bytes.
///
/// # Errors
/// 413 if it is larger, 408 if it does not arrive in time.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(PATIENCE, to_bytes(body, limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Reads a request's body of up to `limit` bytes and keeps nothing of it: the result is empty. A client that is
/// refused before it has sent everything may not look at the response.
///
/// # Errors
/// As [`read`].
pub async fn discard(body: Body, limit: usize) -> Result<Bytes, StatusCode> {
    let mut chunks = body.into_data_stream();
    let all = async {
        let mut left = limit;
        while let Some(chunk) = chunks.next().await {
            left = chunk.ok().and_then(|chunk| left.checked_sub(chunk.len()))?;
        }
        Some(Bytes::new())
    };
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(discarded) => discarded.ok_or(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// A server for programs on this machine, listening on `address`. It refuses requests that a web page sends
/// (`Origin`), and those for a host name that was made to point here (`Host`).
pub fn private(router: Router, address: SocketAddr) -> Router {
    router.layer(middleware::from_fn_with_state(address, refuse_pages))
}

async fn refuse_pages(State(address): State<SocketAddr>, request: Request, next: Next) -> Response {
    match is_private(request.headers(), address) {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, "for programs on this machine only\n").into_response(),
    }
}

fn is_private(headers: &HeaderMap, address: SocketAddr) -> bool {
    let mut hosts = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    // A server that listens for containers or a network has other addresses too, so a `Host` that is an
    // address is allowed. A web page that names the address is refused for its `Origin`; a name that points
    // to it is not an address.
    let has_address = || !address.ip().is_loopback() && is_address(host);
    !headers.contains_key(ORIGIN) && (is_on_this_machine(host) || has_address())
}

/// Whether a `Host` is an IP address and not a name.
fn is_address(host: &str) -> bool {
    host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// Warns if an address can be reached from other machines.
pub fn warn_if_open(what: &str, address: SocketAddr) {
    if let Some(warning) = warning(what, address) {
        note(warning);
    }
}

fn warning(what: &str, address: SocketAddr) -> Option<String> {
    let open = !address.ip().is_loopback();
    open.then(|| {
        format!(
            "warning: {what} listens on {address}: every machine that reaches this one can try to get in, and nothing \
             that is sent is encrypted"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::http::HeaderValue;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn admits(address: &str, headers: &[(axum::http::HeaderName, &str)]) -> bool {
        let pairs = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        is_private(&HeaderMap::from_iter(pairs), address.parse().unwrap())
    }

    #[test]
    fn only_programs_on_this_machine_are_answered() {
        for host in ["127.0.0.1:8000", "localhost", "[::1]:8000", "host.docker.internal:8000"] {
            assert!(admits("127.0.0.1:8000", &[(HOST, host)]), "{host}");
            assert!(!admits("127.0.0.1:8000", &[(HOST, host), (ORIGIN, "http://127.0.0.1:8000")]), "{host}");
        }
        for host in ["", "evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1:8000"] {
            assert!(!admits("127.0.0.1:8000", &[(HOST, host)]), "{host}");
        }
        assert!(!admits("127.0.0.1:8000", &[]));
        assert!(admits("0.0.0.0:8000", &[(HOST, "172.17.0.1:8000")]));
        assert!(!admits("0.0.0.0:8000", &[(HOST, "evil.example:8000")]));
    }

    #[test]
    fn there_is_a_warning_where_other_machines_can_reach_it() {
        for (address, warned) in
            [("127.0.0.1:1", false), ("[::1]:1", false), ("0.0.0.0:1", true), ("[::]:1", true)]
        {
            assert_eq!(warning("the API", address.parse().unwrap()).is_some(), warned, "{address}");
        }
    }

    #[tokio::test]
    async fn a_silent_slow_or_idle_connection_is_closed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(async || "here");
        let patience = Duration::from_millis(200);
        let server = serve_with(listener, router, patience, std::future::pending());
        let server = tokio::spawn(server);
        for sent in ["", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // The server closes the connection, also an idle one.
            stream.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer.starts_with("HTTP/1.1 200"), sent.ends_with("\r\n\r\n"), "{sent:?}: {answer}");
        }
        server.abort();
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_response_is_disconnected() {
        // More than the system keeps for a client that does not read.
        const LENGTH: usize = 64 * 1024 * 1024;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(async || vec![b'x'; LENGTH]);
        let patience = Duration::from_millis(200);
        let server = tokio::spawn(serve_with(listener, router, patience, std::future::pending()));
        for (pause, all) in [(Duration::ZERO, true), (patience * 5, false)] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
            tokio::time::sleep(pause).await;
            let mut answer = Vec::new();
            // Disconnected, it reads an error or an early end.
            let _ = stream.read_to_end(&mut answer).await;
            assert_eq!(answer.len() > LENGTH, all, "{} bytes", answer.len());
        }
        server.abort();
    }

    #[tokio::test]
    async fn a_body_is_discarded_within_the_limit_that_it_would_be_read_with() {
        for (length, is_read) in [(0, true), (10, true), (11, false)] {
            let body = || Body::from(vec![0; length]);
            assert_eq!(read(body(), 10).await.is_ok(), is_read, "{length}");
            let expected = if is_read { Ok(Bytes::new()) } else { Err(StatusCode::PAYLOAD_TOO_LARGE) };
            assert_eq!(discard(body(), 10).await, expected, "{length}");
        }
    }
}
