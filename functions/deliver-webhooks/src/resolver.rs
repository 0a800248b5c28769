//! Resolves the names of receivers, and leaves out every address that is not public.
//!
//! The HTTP client connects to what this resolver returns, and to nothing else. So the address that is checked is the
//! one that is used, and a name that resolves differently the second time gains nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use tickets_domain::address::is_public;

/// Looks up the addresses of a name.
pub type LookUp = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// None of a name's addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the host has no public address")]
pub struct NotPublic;

/// A resolver that knows only public addresses.
#[derive(Clone)]
pub struct PublicResolver {
    look_up: LookUp,
    /// Whether `localhost` is this machine. For local servers only.
    to_this_machine: bool,
}

impl PublicResolver {
    /// Looks names up as this system does.
    pub fn system(to_this_machine: bool) -> Self {
        let look_up =
            |name: String| async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }.boxed();
        Self::new(to_this_machine, Arc::new(look_up))
    }

    pub fn new(to_this_machine: bool, look_up: LookUp) -> Self {
        Self { look_up, to_this_machine }
    }

    fn admits(&self, name: &str, address: SocketAddr) -> bool {
        let is_this_machine = name == "localhost" && address.ip().is_loopback();
        is_public(address.ip()) || (self.to_this_machine && is_this_machine)
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = (resolver.look_up)(name.as_str().to_owned()).await?;
            let admitted = |address: &SocketAddr| resolver.admits(name.as_str(), *address);
            let public: Vec<_> = found.into_iter().filter(admitted).collect();
            if public.is_empty() { Err(NotPublic.into()) } else { Ok(Box::new(public.into_iter()) as Addrs) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolved(to_this_machine: bool, name: &str, addresses: &[&str]) -> Vec<String> {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let look_up = move |_| futures::future::ready(Ok(addresses.clone())).boxed();
        let resolver = PublicResolver::new(to_this_machine, Arc::new(look_up));
        match resolver.resolve(name.parse().unwrap()).await {
            Ok(found) => found.map(|address| address.to_string()).collect(),
            Err(error) => {
                assert!(error.is::<NotPublic>(), "{error}");
                Vec::new()
            }
        }
    }

    #[tokio::test]
    async fn only_public_addresses_are_left() {
        let mixed = ["10.0.0.1:0", "1.1.1.1:0", "[fd00::1]:0", "[2606:4700::1111]:0", "127.0.0.1:0"];
        let left = resolved(false, "example.com", &mixed).await;
        assert_eq!(left, ["1.1.1.1:0", "[2606:4700::1111]:0"]);
        for inner in ["169.254.169.254:0", "[::ffff:1.1.1.1]:0", "[::1]:0", "127.0.0.1:0"] {
            assert!(resolved(false, "example.com", &[inner]).await.is_empty(), "{inner}");
            assert!(resolved(true, "example.com", &[inner]).await.is_empty(), "{inner}");
        }
    }

    #[tokio::test]
    async fn a_name_that_rebinds_is_checked_each_time() {
        let looked_up = std::sync::atomic::AtomicUsize::new(0);
        let look_up = move |_| {
            let first = looked_up.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            let address = if first { "1.1.1.1:0" } else { "169.254.169.254:0" };
            futures::future::ready(Ok(vec![address.parse().unwrap()])).boxed()
        };
        let resolver = PublicResolver::new(false, Arc::new(look_up));
        let resolve = || resolver.resolve("rebinds.example".parse().unwrap());
        assert_eq!(resolve().await.unwrap().count(), 1);
        assert!(resolve().await.err().unwrap().is::<NotPublic>());
    }

    #[tokio::test]
    async fn localhost_is_this_machine_only_for_local_servers() {
        let addresses = ["127.0.0.1:0", "[::1]:0", "10.0.0.1:0"];
        assert!(resolved(false, "localhost", &addresses).await.is_empty());
        assert_eq!(resolved(true, "localhost", &addresses).await, ["127.0.0.1:0", "[::1]:0"]);
    }
}
