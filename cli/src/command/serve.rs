//! `tickets serve`: the API on this machine.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use export_tickets::event::log_failure;
use export_tickets::{Bucket, Event, Exporter};
use tickets_app::{App, Config, EXPORT_BUCKET};
use tickets_domain::{Clock, Timestamp};
use tickets_http::route::BASE_PATH;
use tickets_repository::{Connection, schema};
use tokio::net::TcpListener;

use super::CommandError;
use crate::docs::Docs;
use crate::gateway::{Gateway, Payload};
use crate::local::{DATA, Local, any_port, development_key};
use crate::storage::StorageServer;

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
    /// Seconds between exports of what changed to the local store of objects; 0 for none
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub export_every: u64,
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
        let app = Arc::new(App::open(config, Connection::to(&local.url), Clock::system()));
        let key_file = (!self.in_memory).then(|| self.data.join("dev-key"));
        let key = development_key(&app.keys, key_file.as_deref(), &app.clock).await?.reveal();

        // As the schedule does in a deployment.
        let objects = (!self.in_memory).then(|| self.data.join("s3"));
        let storage = StorageServer::start(objects.as_deref(), any_port()).await?;
        let bucket = Bucket::open(EXPORT_BUCKET, Connection::to(storage.url()));
        let exporter = Exporter::new(app.tickets.clone(), bucket, app.clock.clone());
        let exports = tokio::spawn(export_regularly(exporter, self.export_every));

        let listen = |source| CommandError::Listen { address: self.listen, source };
        let listener = TcpListener::bind(self.listen).await.map_err(listen)?;
        let address = listener.local_addr()?;
        let api = format!("http://{address}{BASE_PATH}/tickets/");
        let (s3, objects) = (storage.url(), storage.bucket_directory());
        let greeting = format!(
            "API  {api}\nkey  {key}\ntry  curl -H 'Authorization: Bearer {key}' {api}\n\
             docs http://{address}/docs\ns3   {s3} has exports, in {}\n",
            objects.display()
        );
        // At once, and whether or not anybody reads it to its end.
        let _ = io::stdout().write_all(greeting.as_bytes());

        let payload = match self.payload {
            PayloadArg::Rest => Payload::Rest,
            PayloadArg::Http => Payload::Http,
        };
        let docs = Docs::new(&app.presets, key);
        let router = docs.into_router().merge(Gateway { app, payload }.into_router());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).with_graceful_shutdown(interrupted()).await?;
        exports.abort();
        Ok(())
    }
}

/// Exports what changed, again and again. What goes wrong is in the log, and made good by the next run.
async fn export_regularly(exporter: Exporter, seconds: u64) {
    if seconds == 0 {
        return;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if let Err(error) = export_tickets::answer(&exporter, Event::default(), Timestamp::MAX).await {
            log_failure(&error);
        }
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
