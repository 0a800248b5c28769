//! The command `tickets`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tickets_cli::command::{db::Db, keys::Keys, seed::Seed, serve::Serve};

/// The Tickets API on your own machine: the API, its database, keys and sample data
#[derive(Debug, Parser)]
#[command(name = "tickets", version, after_help = "Without a command, `tickets serve` starts the API.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Serve),
    Db(Db),
    Keys(Keys),
    Seed(Seed),
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Serve(Serve::default()));
    let outcome = match command {
        Command::Serve(serve) => serve.run().await,
        Command::Db(db) => db.run().await,
        Command::Keys(keys) => keys.run().await,
        Command::Seed(seed) => seed.run().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
