//! `tickets serve`: the API on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser};
use tickets_app::{App, Config};
use tickets_domain::Clock;
use tickets_http::route::BASE_PATH;
use tickets_repository::{Connection, schema};
use tokio::net::TcpListener;

use super::CommandError;
use crate::gateway::{Gateway, Payload};
use crate::local::{DATA, Local, any_port, development_key};

/// Start the API on this machine
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Directory to keep data in
    #[arg(long, default_value = DATA, value_name = "DIR")]
    pub data: PathBuf,
    /// Keep data in memory only
    #[arg(long, conflicts_with = "data")]
    pub in_memory: bool,
    /// Format of the events the functions get: of a REST API as deployed, or of an HTTP API
    #[arg(long, value_enum, default_value_t = PayloadArg::Rest)]
    pub payload: PayloadArg,
    /// Do not log requests
    #[arg(long, short)]
    pub quiet: bool,
}

/// The choices of `--payload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PayloadArg {
    /// Payload format 1.0
    Rest,
    /// Payload format 2.0
    Http,
}

impl Default for Serve {
    /// What plain `tickets` does.
    fn default() -> Self {
        /// Gives the arguments a parser of their own, so that their defaults stand in one place.
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            serve: Serve,
        }
        Alone::parse_from(["tickets"]).serve
    }
}

impl Serve {
    /// Serves until interrupted.
    ///
    /// # Errors
    /// Where the configuration, the data or the address does not do.
    pub async fn run(self) -> Result<(), CommandError> {
        if !self.quiet {
            let level = tracing::Level::INFO;
            tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).init();
        }
        let config = Config::from_env()?;
        // Only the local engine's tables are made for a developer, so only their own names serve.
        let config = Config {
            tickets_table: schema::TICKETS.into(),
            api_keys_table: schema::API_KEYS.into(),
            ..config
        };
        let local = if self.in_memory {
            Local::in_memory(any_port()).await?
        } else {
            Local::open(&self.data, any_port()).await?
        };
        if !local.is_own() {
            return Err(CommandError::InUse(self.data));
        }
        let app = Arc::new(App::open(config, Connection::to(&local.url), Clock::system()).await);
        let key_file = (!self.in_memory).then(|| self.data.join("dev-key"));
        let key = development_key(&app.keys, key_file.as_deref(), &app.clock).await?.reveal();

        let listen = |source| CommandError::Listen { address: self.listen, source };
        let listener = TcpListener::bind(self.listen).await.map_err(listen)?;
        let api = format!("http://{}{BASE_PATH}/tickets/", listener.local_addr()?);
        println!("API  {api}");
        println!("key  {key}");
        println!("try  curl -H 'Authorization: Bearer {key}' {api}");

        let payload = match self.payload {
            PayloadArg::Rest => Payload::Rest,
            PayloadArg::Http => Payload::Http,
        };
        let router = Gateway { app, payload }.into_router();
        axum::serve(listener, router).with_graceful_shutdown(interrupted()).await?;
        Ok(())
    }
}

/// Returns when the process is asked to end.
pub(super) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the signal ends the process at once, which is as good.
    let _ = tokio::signal::ctrl_c().await;
}
