//! The command `tickets`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use console::Style;
use tickets_cli::command::change::{Create, Delete, Update};
use tickets_cli::command::completions::Completions;
use tickets_cli::command::db::Db;
use tickets_cli::command::erase::Erase;
use tickets_cli::command::events::Events;
use tickets_cli::command::export::Export;
use tickets_cli::command::history::History;
use tickets_cli::command::import::Import;
use tickets_cli::command::keys::Keys;
use tickets_cli::command::mcp::Mcp;
use tickets_cli::command::restored::Restored;
use tickets_cli::command::seed::Seed;
use tickets_cli::command::serve::Serve;
use tickets_cli::command::show::{Get, List};
use tickets_cli::command::watch::Watch;
use tickets_cli::command::webhooks::Webhooks;
use tickets_cli::output::{Text, note};

/// The Tickets API: on your own machine, and from the command line
#[derive(Debug, Parser)]
#[command(
    name = "tickets",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a command, `tickets serve` starts the API.\n\nExit codes: 0 done, 1 failed, 2 command line not understood, 3 lines of a file refused, 4 no such ticket."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Serve),
    Get(Get),
    List(List),
    Create(Create),
    Update(Update),
    Delete(Delete),
    History(History),
    Watch(Watch),
    Events(Events),
    Export(Export),
    Import(Import),
    Mcp(Mcp),
    Keys(Keys),
    Webhooks(Webhooks),
    Seed(Seed),
    Restored(Restored),
    Erase(Erase),
    Db(Db),
    Completions(Completions),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, serve } = match Cli::try_parse() {
        Ok(cli) => cli,
        // Clap repeats unknown arguments in its message, so they must be sanitized.
        Err(error) if error.use_stderr() => {
            note(error.render().to_string().trim_end());
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    let command = command.unwrap_or(Command::Serve(serve));
    let outcome = match command {
        Command::Serve(serve) => serve.run().await,
        Command::Get(get) => get.run().await,
        Command::List(list) => list.run().await,
        Command::Create(create) => create.run().await,
        Command::Update(update) => update.run().await,
        Command::Delete(delete) => delete.run().await,
        Command::History(history) => history.run().await,
        Command::Watch(watch) => watch.run().await,
        Command::Events(events) => events.run().await,
        Command::Export(export) => export.run().await,
        Command::Import(import) => import.run().await,
        Command::Mcp(mcp) => mcp.run().await,
        Command::Keys(keys) => keys.run().await,
        Command::Webhooks(webhooks) => webhooks.run().await,
        Command::Seed(seed) => seed.run().await,
        Command::Restored(restored) => restored.run().await,
        Command::Erase(erase) => erase.run().await,
        Command::Db(db) => db.run().await,
        Command::Completions(completions) => completions.run(Cli::command()),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let code = error.exit_code();
    if code != 0 {
        let style = Style::new().for_stderr().red().bold();
        Text::default().styled(style, "error:").and(format!(" {error}")).note();
    }
    ExitCode::from(code)
}
