//! `tickets serve`: runs the API on this machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use deliver_webhooks::{Deliverer, HttpSender, Wake};
use export_tickets::{Event, Exporter, Invocation, Store};
use indicatif::ProgressBar;
use tickets_app::{App, Config};
use tickets_domain::{Clock, Timestamp};
use tickets_http::log::{self, Form, Log};
use tickets_http::route::BASE_PATH;
use tickets_repository::schema;
use tokio::net::TcpListener;

use crate::error::{CommandError, INTERRUPTED};
use crate::output::{Notes, note, print};
use crate::server::docs::Docs;
use crate::server::gateway::{Gateway, Payload};
use crate::server::http::{self, warn_if_open};
use crate::server::local::{Local, any_port};
use crate::{data, private};

/// The time between two looks for events to send. A deployment is woken by the stream.
const DELIVER_EVERY: Duration = Duration::from_secs(1);
/// As in a deployment: then webhooks made since are found.
const LONGEST_RUN: Duration = Duration::from_secs(60);

/// Start the API on this machine
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = data::ADDRESS, value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Directory to keep data in
    #[arg(long, default_value = data::DIRECTORY, value_name = "DIR")]
    pub data: PathBuf,
    /// Keep data in memory only, and export nothing
    #[arg(long, conflicts_with = "data")]
    pub in_memory: bool,
    /// Format of the events the functions get: of a REST API as deployed, or of an HTTP API
    #[arg(long, value_enum, default_value_t = PayloadArg::Rest)]
    pub payload: PayloadArg,
    /// Seconds between exports of what changed into the data directory; 0 for none
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

impl Serve {
    /// Serves until interrupted.
    pub async fn run(self) -> Result<(), CommandError> {
        let config = Config::from_env()?;
        let [log, exports_log, deliveries_log] = [(); 3].map(|()| self.log(&config));
        if !self.quiet {
            let level = tracing::Level::INFO;
            log::panics_to(|| Notes);
            tracing_subscriber::fmt().with_writer(|| Notes).with_max_level(level).init();
        }
        private::by_default();
        // Only the tables of the local engine are created here, so names of others are ignored.
        let config = Config {
            tickets_table: schema::TICKETS.into(),
            api_keys_table: schema::API_KEYS.into(),
            history_table: schema::HISTORY.into(),
            webhooks_table: schema::WEBHOOKS.into(),
            ..config
        };
        let local = self.local().await?;
        let variables = config.variables();
        let deliverer =
            deliver_webhooks::deliverer(&config, local.dynamodb(), Clock::system(), HttpSender::new(true)?);
        let app = App::open(config, &local.sdk_config(), Clock::system());
        let app = Arc::new(App { log, ..app });
        // Commands work with this configuration as long as no other one is noted.
        app.tickets.note_configuration(&variables).await?;
        if let Some(reserved) = app.tickets.reserved_ahead().await? {
            note(format!(
                "warning: the last ticket was created at {reserved}, which has not come yet: a clock is wrong, or was.\n\
                 Lists of changes miss what is dated after this month: docs/reliability.md, \"A clock that is wrong\""
            ));
        }
        let key = local.development_key(&app.keys, &app.clock).await?.reveal();

        // Feed the history, deliver and export regularly, as the streams and the schedules do in a deployment.
        let _changes = local.feed().await?;
        tokio::spawn(deliver_regularly(deliverer, deliveries_log));
        let exports = local.exports()?;
        if let Some(directory) = &exports {
            let exporter =
                Exporter::new(app.tickets.clone(), Store::directory(directory)?, app.clock.clone());
            tokio::spawn(export_regularly(exporter, exports_log, self.export_every));
        }

        let listen = |source| CommandError::Listen { address: self.listen, source };
        let listener = TcpListener::bind(self.listen).await.map_err(listen)?;
        let address = listener.local_addr()?;
        let api = format!("http://{address}{BASE_PATH}/tickets/");
        let (docs, docs_path) = Docs::new(&app.presets, key.clone())?;
        warn_if_open("the API", address);
        // Commands look for the server and its key in the default places.
        let elsewhere =
            address.to_string() != data::ADDRESS || self.in_memory || self.data != Path::new(data::DIRECTORY);
        let used = elsewhere
            .then(|| format!("use  export TICKETS_API=http://{address}{BASE_PATH} TICKETS_KEY={key}\n"));
        // A reader that closes its end early is no failure.
        let _ = print(format!(
            "API  {api}\nkey  {key}\ntry  curl -H 'Authorization: Bearer {key}' {api}\n\
             {}docs http://{address}{docs_path}{}",
            used.unwrap_or_default(),
            exports.map(|directory| format!("\nexports {}", directory.display())).unwrap_or_default()
        ));

        let payload = match self.payload {
            PayloadArg::Rest => Payload::Rest,
            PayloadArg::Http => Payload::Http,
        };
        let router = docs.into_router().merge(Gateway { app, payload }.into_router());
        http::serve(listener, router, interrupted()).await;
        Ok(())
    }

    fn log(&self, config: &Config) -> Log {
        match self.quiet {
            true => Log::silent(),
            false => Log::to(config.log.clone(), Form::Text, Notes),
        }
    }

    /// The local data, which no other process may have open.
    async fn local(&self) -> Result<Local, CommandError> {
        if self.in_memory {
            return Ok(Local::in_memory(any_port()).await?);
        }
        let local = Local::open(&self.data, any_port()).await?;
        if local.is_own() { Ok(local) } else { Err(CommandError::InUse(self.data.clone())) }
    }
}

/// Exports the changes at regular intervals. An error is logged, and the next run repeats the export.
async fn export_regularly(exporter: Exporter, log: Log, seconds: u64) {
    let invocation = Invocation { deadline: Timestamp::MAX, request_id: None, trace: None };
    if seconds == 0 {
        return;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let _ = export_tickets::answer_logged(&exporter, &log, Event::default(), &invocation).await;
    }
}

/// Sends the events of webhooks as they are recorded. An error is logged, and the next run goes on.
async fn deliver_regularly(deliverer: Deliverer<HttpSender>, log: Log) {
    loop {
        let invocation = deliver_webhooks::Invocation {
            wake: Wake::Scheduled,
            deadline: deliverer.now().plus(LONGEST_RUN),
            request_id: None,
            trace: None,
        };
        let _ = deliver_webhooks::answer_logged(&deliverer, &log, &invocation).await;
        tokio::time::sleep(DELIVER_EVERY).await;
    }
}

/// From now on an interruption ends the process, and says what repeating the command does. The command may be busy, and
/// need not notice.
pub(super) fn says_if_interrupted(progress: &ProgressBar, says: &'static str) {
    let progress = progress.clone();
    tokio::spawn(async move {
        interrupted().await;
        progress.finish_and_clear();
        note(format!("interrupted; {says}"));
        std::process::exit(INTERRUPTED.into());
    });
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
    // Without a handler the signal ends the process at once, which is fine too.
    let _ = tokio::signal::ctrl_c().await;
}
