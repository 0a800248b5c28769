//! `tickets completions`: prints a shell's completion script.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::CommandError;

/// Print completions for a shell
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "For example: tickets completions bash > ~/.local/share/bash-completion/completions/tickets"
)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the completion script of `command`.
    pub fn run(self, mut command: Command) -> Result<(), CommandError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "tickets", &mut script);
        #[expect(clippy::disallowed_methods, reason = "the script is for a shell")]
        Ok(io::stdout().write_all(&script)?)
    }
}
