//! `tickets events`: prints the feed of events, one on each line.

use std::io;

use clap::Args;
use console::Style;
use serde::Deserialize;
use tickets_domain::{EventId, EventType, Timestamp};

use super::serve::interrupted;
use super::show::Zone;
use super::watch::follow;
use crate::client::{Api, Client};
use crate::error::CommandError;
use crate::output::{self, Text, sanitize};

/// Print what changed, over all tickets, in the order it was recorded
#[derive(Debug, Clone, Args)]
pub struct Events {
    /// Only events after the one with this id
    #[arg(long, value_name = "ID")]
    after: Option<EventId>,
    /// Only events recorded then or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only events of these types: ticket.created, ticket.updated, ticket.deleted
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<EventType>,
    /// Go on with what is recorded from now on, until interrupted
    #[arg(long)]
    follow: bool,
    /// Seconds between two polls
    #[arg(long, value_name = "SECONDS", requires = "follow", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// One JSON object on each line, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    zone: Zone,
    #[command(flatten)]
    api: Api,
}

/// The parts of an event that are shown.
#[derive(Debug, Deserialize)]
struct Shown {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    ticket: String,
    #[serde(rename = "customerID")]
    customer: Option<u64>,
    version: u64,
    date: String,
    by: String,
    fields: Vec<String>,
}

/// How far the feed has been read.
struct Read {
    /// The parameters with which the next page begins, and their values.
    next: Vec<(String, String)>,
    /// The id of the last event.
    last: Option<String>,
}

impl Events {
    /// Prints events until there are no more or, with `--follow`, until interrupted; and then after which to go on.
    ///
    /// # Errors
    /// If the API refuses, or does not answer: with `--follow`, for an hour.
    pub async fn run(self) -> Result<(), CommandError> {
        let client = self.api.client()?;
        let last = self.after.map(|after| after.to_string());
        let since = self.since.map(|since| ("since".to_owned(), since.to_string()));
        let after = last.clone().map(|after| ("after".to_owned(), after));
        let mut read = Read { next: after.into_iter().chain(since).collect(), last };
        let ended = tokio::select! {
            ended = self.print(&client, &mut read) => ended,
            () = interrupted() => Ok(()),
        };
        if let Some(last) = read.last {
            output::note(format!("to go on from here: --after {}", sanitize(&last)));
        }
        ended
    }

    async fn print(&self, client: &Client, read: &mut Read) -> Result<(), CommandError> {
        if self.follow {
            follow(self.every, async || self.poll(client, read).await).await
        } else {
            self.poll(client, read).await
        }
    }

    /// Prints what comes after the events that were read, until there are no more.
    async fn poll(&self, client: &Client, read: &mut Read) -> Result<(), CommandError> {
        let types: Vec<_> = self.types.iter().map(EventType::to_string).collect();
        let types = (!types.is_empty()).then(|| ("type", types.join(",")));
        loop {
            let next = read.next.iter().map(|(name, value)| (name.as_str(), value.clone()));
            let page = client.events(&types.iter().cloned().chain(next).collect::<Vec<_>>()).await?;
            for event in &page.events {
                let shown: Shown = serde_json::from_str(event.get()).map_err(io::Error::from)?;
                if self.json {
                    output::print_json(event.get())?;
                } else {
                    line(&shown, self.zone).print_cut()?;
                }
                read.last = Some(shown.id);
            }
            if let Some(next) = page.next {
                read.next = vec![next];
                continue;
            }
            // Both the last event and the time up to which everything has been read: where few events are asked for,
            // the second is further on.
            let after = read.last.clone().map(|last| ("after".to_owned(), last));
            let until = page.sync_until.max(self.since).map(|until| ("since".to_owned(), until.to_string()));
            read.next = after.into_iter().chain(until).collect();
            return Ok(());
        }
    }
}

fn line(event: &Shown, zone: Zone) -> Text {
    let (style, what) = match event.kind.as_str() {
        "ticket.created" => (Style::new().green(), "created"),
        "ticket.updated" => (Style::new().yellow(), "updated"),
        "ticket.deleted" => (Style::new().red(), "deleted"),
        other => (Style::new(), other),
    };
    let date = zone.time_in_zone(&event.date);
    let whose = match event.customer {
        Some(customer) => format!("customer {customer}"),
        None => "has left".to_owned(),
    };
    let [ticket, by, what] = [event.ticket.as_str(), event.by.as_str(), what].map(sanitize);
    let names: Vec<_> = event.fields.iter().map(|name| sanitize(name)).collect();
    Text::new(format!("{}  ", sanitize(&date))).styled(style, what).and(format!(
        "  {ticket}  version {}  {whose}  by {by}  {}",
        event.version,
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line_and_nothing_in_it_reaches_the_terminal_as_a_command() {
        console::set_colors_enabled(false);
        let event = json!({
            "id": "0", "type": "ticket.updated", "ticket": "43", "customerID": 7, "version": 2,
            "date": "2026-11-24T17:45:00.123Z", "by": "ada", "fields": ["owner", "status"],
        });
        let shown = |event| line(&serde_json::from_value(event).unwrap(), Zone::default()).to_string();
        let expected = "2026-11-24 17:45:00Z  updated  43  version 2  customer 7  by ada  owner, status";
        assert_eq!(shown(event.clone()), expected);
        let mut evil = event;
        for name in ["type", "ticket", "date", "by"] {
            evil[name] = "\u{1b}[2J".into();
        }
        evil["fields"] = json!(["\u{9b}31m\n"]);
        assert!(!shown(evil).chars().any(char::is_control));
    }
}
