//! `tickets count`: how many tickets wait, as a table with bars.

use clap::{Args, ValueEnum};
use tickets_domain::Clock;
use tickets_domain::count::{CountBy, TicketCount, TicketCounts};
use tickets_http::counts;

use super::show::Queue;
use crate::client::Api;
use crate::error::CommandError;
use crate::output::{self, Table, Text, note, sanitize};

/// The longest bar, in characters.
const LONGEST_BAR: u64 = 24;

/// Count tickets: the open ones, if no status is given
#[derive(Debug, Clone, Args)]
#[command(after_help = "For example: tickets count --open --by owner")]
pub struct Count {
    /// What to count by; several with commas between
    #[arg(long, value_enum, value_name = "FIELD,…", value_delimiter = ',')]
    by: Vec<By>,
    #[command(flatten)]
    queue: Queue,
    /// The JSON, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Api,
}

/// A field to count by, named as its flag
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Status,
    Type,
    Priority,
    Owner,
    Customer,
}

impl By {
    fn field(self) -> CountBy {
        match self {
            Self::Status => CountBy::Status,
            Self::Type => CountBy::TicketType,
            Self::Priority => CountBy::TicketPriority,
            Self::Owner => CountBy::Owner,
            Self::Customer => CountBy::Customer,
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Status => "STATUS",
            Self::Type => "TYPE",
            Self::Priority => "PRIORITY",
            Self::Owner => "OWNER",
            Self::Customer => "CUSTOMER",
        }
    }

    /// The value that the tickets of a group have.
    fn value(self, group: &TicketCount) -> String {
        let choice = match self {
            Self::Status => &group.status,
            Self::Type => &group.ticket_type,
            Self::Priority => &group.ticket_priority,
            Self::Owner => &group.owner,
            Self::Customer => {
                return group.customer.map_or_else(|| "-".into(), |customer| customer.to_string());
            }
        };
        choice.as_ref().map_or_else(|| "-".into(), |choice| sanitize(choice.as_str()).into_owned())
    }
}

impl Count {
    pub async fn run(self) -> Result<(), CommandError> {
        let by = self.by.iter().map(|by| (counts::BY, by.field().name().to_owned()));
        let query: Vec<_> = by.chain(self.queue.query(Clock::system().now())).collect();
        let counted = self.api.client()?.counts(&query).await;
        let (json, counts) = counted.map_err(|error| self.queue.in_flags(error))?;
        if self.json {
            return Ok(output::print_json(json.get())?);
        }
        table(&self.by, &counts).print()?;
        if !counts.complete {
            note("there are too many to count: each number is at least that");
        }
        Ok(())
    }
}

/// A line for each group, with a bar as long as it is large, and one for all.
fn table(by: &[By], counts: &TicketCounts) -> Table {
    let header: Vec<_> = by.iter().map(|by| by.header()).chain(["TICKETS", ""]).collect();
    let mut table = Table::new(header, &[]);
    let mut add =
        |cells: &mut dyn Iterator<Item = String>| table.push(cells.map(Text::new).collect::<Vec<_>>());
    let largest = counts.counts.iter().map(|group| group.count).max().unwrap_or(1).max(1);
    for group in &counts.counts {
        // A group that is not empty has a bar, however short.
        let bar = (group.count * LONGEST_BAR).div_ceil(largest);
        let bar = "█".repeat(usize::try_from(bar).unwrap_or_default());
        let values = by.iter().map(|by| by.value(group));
        add(&mut values.chain([group.count.to_string(), bar]));
    }
    let at_least = if counts.complete { "" } else { "at least " };
    let labels = ["total"].into_iter().chain(by.iter().map(|_| "")).take(by.len()).map(str::to_owned);
    add(&mut labels.chain([format!("{at_least}{}", counts.total), String::new()]));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_s_bar_is_as_long_as_it_is_large() {
        let counts = r#"{"total":105,"complete":true,"counts":[
            {"owner":"grace","customerID":7,"count":96},{"customerID":8,"count":8},{"owner":"a\u001b[2J","count":1}]}"#;
        let counts: TicketCounts = serde_json::from_str(counts).unwrap();
        let shown = table(&[By::Owner, By::Customer], &counts).text(None).0.to_string();
        let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["OWNER", "CUSTOMER", "TICKETS"]);
        assert_eq!(lines[1], ["grace", "7", "96", &"█".repeat(24)]);
        assert_eq!(lines[2], ["-", "8", "8", "██"]);
        assert_eq!(lines[3], ["a<U+001B>[2J", "-", "1", "█"]);
        assert_eq!(lines[4], ["total", "105"]);
        let least = TicketCounts { total: 60_000, complete: false, counts: vec![] };
        assert_eq!(
            table(&[], &least).text(None).0.to_string().lines().last().unwrap().trim(),
            "at least 60000"
        );
    }

    #[test]
    fn everything_that_the_api_counts_by_has_a_name() {
        let fields: Vec<_> = By::value_variants().iter().map(|by| by.field()).collect();
        assert_eq!(fields, CountBy::ALL);
    }
}
