//! `tickets mcp`: serves the tickets to an agent.

use std::io::{self, IsTerminal};

use clap::Args;
use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use tokio::io::BufReader;

use super::change::random_key;
use crate::client::mcp::{Lines, Server};
use crate::client::{Api, Patience};
use crate::error::CommandError;
use crate::output::note;

/// Serve the tickets to an agent: a Model Context Protocol server over standard input and output
///
/// An MCP client starts it, with the key in its environment. It offers the tools that the key's scopes allow.
#[derive(Debug, Clone, Args)]
#[command(after_help = "docs/cli.md has what to put into the client's configuration.")]
pub struct Mcp {
    /// Offer only the tools that change nothing
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    api: Api,
}

impl Mcp {
    /// Serves until standard input ends.
    ///
    /// # Errors
    /// If there is no key or the API does not know it, or if the input is not MCP.
    pub async fn run(self) -> Result<(), CommandError> {
        if io::stdin().is_terminal() {
            note("waiting for an MCP client on standard input: such a client starts this command itself");
        }
        let client = self.api.client_of(Patience::Agent)?;
        let server = Server::new(client, self.read_only, random_key("mcp")?);
        server.begin().await?;
        match server.serve(Lines::new(BufReader::new(tokio::io::stdin()), tokio::io::stdout())).await {
            Ok(running) => {
                running.waiting().await.map(drop).map_err(|error| CommandError::Mcp(error.to_string()))
            }
            // The client left before it initialized the session.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(CommandError::Mcp(error.to_string())),
        }
    }
}
