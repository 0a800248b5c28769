//! The command `tickets`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::builder::Styles;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use console::Style;
use tickets_cli::command::change::{Create, Delete, Update};
use tickets_cli::command::completions::Completions;
use tickets_cli::command::count::Count;
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
use tickets_cli::output::{Color, Text, note};

/// The Tickets API: on your own machine, and from the command line
#[derive(Debug, Parser)]
#[command(
    name = "tickets",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "`tickets COMMAND --help` has every option of a command.\n\nExit codes: 0 done, 1 failed, 2 command line not understood, 3 lines of a file or some of many tickets refused, 4 no such ticket, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
    /// Colours: auto has them on a terminal unless NO_COLOR is set
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Serve),
    #[command(visible_alias = "show")]
    Get(Get),
    #[command(visible_alias = "ls")]
    List(List),
    Count(Count),
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

/// The commands in the groups in which the help shows them. What is in no group comes last.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Tickets", &["list", "get", "create", "update", "delete", "count", "history"]),
    ("Follow and copy", &["watch", "events", "export", "import"]),
    ("On this machine", &["serve", "db", "seed"]),
    ("For operators", &["keys", "webhooks", "restored", "erase"]),
];

/// Gives the command a help with its subcommands in groups, which clap does not know.
fn grouped(command: clap::Command) -> clap::Command {
    let styles = Styles::styled();
    let (heading, literal) = (styles.get_header(), styles.get_literal());
    let line = |command: &clap::Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let aliases: String =
            command.get_visible_aliases().map(|alias| format!(" [also: {alias}]")).collect();
        format!("  {literal}{:<12}{literal:#} {about}{aliases}\n", command.get_name())
    };
    let is_grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let more = command.get_subcommands().filter(|command| !is_grouped(command.get_name())).map(line);
    let groups = GROUPS.iter().map(|(title, names)| {
        let lines = names.iter().filter_map(|name| command.find_subcommand(name)).map(line);
        (*title, lines.collect::<String>())
    });
    let groups: String = groups
        .chain([("More", more.collect())])
        .map(|(title, lines)| format!("{heading}{title}:{heading:#}\n{lines}\n"))
        .collect();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{heading}Without a command, as serve:{heading:#}\n{{options}}{{after-help}}"
    );
    command.help_template(template)
}

#[tokio::main]
async fn main() -> ExitCode {
    let parsed = grouped(Cli::command()).try_get_matches();
    let Cli { command, serve, color } = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        // Clap repeats unknown arguments in its message, so they must be sanitized.
        Err(error) if error.use_stderr() => {
            note(error.render().to_string().trim_end());
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    color.apply();
    let command = command.unwrap_or(Command::Serve(serve));
    let outcome = match command {
        Command::Serve(serve) => serve.run().await,
        Command::Get(get) => get.run().await,
        Command::List(list) => list.run().await,
        Command::Count(count) => count.run().await,
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
