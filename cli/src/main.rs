//! The command `tickets`.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use console::style;
use tickets_cli::command::completions::Completions;
use tickets_cli::command::db::Db;
use tickets_cli::command::export::Export;
use tickets_cli::command::import::Import;
use tickets_cli::command::keys::Keys;
use tickets_cli::command::seed::Seed;
use tickets_cli::command::serve::Serve;
use tickets_cli::command::show::{Get, List};
use tickets_cli::command::watch::Watch;

/// The Tickets API: on your own machine, and from the command line
#[derive(Debug, Parser)]
#[command(
    name = "tickets",
    version,
    after_help = "Without a command, `tickets serve` starts the API.\n\nExit codes: 0 done, 1 failed, 2 command line not understood, 3 lines of a file refused, 4 no such ticket."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Serve),
    Get(Get),
    List(List),
    Watch(Watch),
    Export(Export),
    Import(Import),
    Keys(Keys),
    Seed(Seed),
    Db(Db),
    Completions(Completions),
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Serve(Serve::default()));
    let outcome = match command {
        Command::Serve(serve) => serve.run().await,
        Command::Get(get) => get.run().await,
        Command::List(list) => list.run().await,
        Command::Watch(watch) => watch.run().await,
        Command::Export(export) => export.run().await,
        Command::Import(import) => import.run().await,
        Command::Keys(keys) => keys.run().await,
        Command::Seed(seed) => seed.run().await,
        Command::Db(db) => db.run().await,
        Command::Completions(completions) => completions.run(Cli::command()),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let code = error.exit_code();
    if code != 0 {
        eprintln!("{} {error}", style("error:").for_stderr().red().bold());
    }
    ExitCode::from(code)
}
