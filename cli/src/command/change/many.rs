//! `tickets update` of many tickets: batches of up to a hundred, one after another.

use std::collections::BTreeSet;
use std::io::Read;
use std::str::FromStr;

use serde_json::{Map, Value, json};
use tickets_domain::id::InvalidId;
use tickets_domain::json_object::MOST_ROWS;
use tickets_domain::{Tag, TicketId};
use tickets_http::request::MAX_BODY;

use super::super::serve::interrupted;
use crate::client::{Client, ClientError};
use crate::error::CommandError;
use crate::output::{self, note};

/// The most refusals printed; further ones are only counted.
const MOST_REFUSALS: usize = 100;

/// What names the tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Id(TicketId),
    /// `-`: the ids in standard input.
    Input,
}

impl FromStr for Named {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text == "-" { Ok(Self::Input) } else { text.parse().map(Self::Id) }
    }
}

/// The ids of the tickets, each once. Reads `input` if it is named.
pub(super) fn ids(named: &[Named], input: &mut impl Read) -> Result<Vec<TicketId>, CommandError> {
    let (mut ids, mut seen) = (Vec::new(), BTreeSet::new());
    let mut add = |id| {
        if seen.insert(id) {
            ids.push(id);
        }
    };
    for named in named {
        match named {
            Named::Id(id) => add(*id),
            Named::Input => {
                let mut text = String::new();
                input.read_to_string(&mut text)?;
                for (line, number) in text.lines().zip(1..) {
                    for word in line.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
                        let refused = |error: InvalidId| {
                            CommandError::Usage(format!("line {number}: {word:?} is no id: it {error}"))
                        };
                        add(word.parse().map_err(refused)?);
                    }
                }
            }
        }
    }
    Ok(ids)
}

/// Makes the same change of each ticket, and prints how many there were.
///
/// # Errors
/// [`CommandError::Stopped`] if the API does not answer, refuses everything, or the command is interrupted;
/// [`CommandError::NotAll`] if it refuses some tickets.
pub(super) async fn update(
    client: &Client,
    ids: &[TicketId],
    change: &Map<String, Value>,
    as_json: bool,
) -> Result<(), CommandError> {
    let row = |id: &TicketId| {
        let mut row = change.clone();
        row.insert("id".into(), id.to_string().into());
        Value::from(row).to_string()
    };
    // A comma for each, and ids of up to 16 digits.
    let length = ids.first().map_or(0, |id| row(id).len()) + 17;
    let batches = ids.chunks((MAX_BODY / length).clamp(1, MOST_ROWS));
    let progress = output::progress_bar(false, "{pos} of {len} tickets");
    progress.set_length(ids.len() as u64);
    let (mut done, mut refused) = (0, 0);
    for batch in batches {
        let stopped = |cause| CommandError::Stopped { done, left: ids.len() - done, next: batch[0], cause };
        let rows: Vec<String> = batch.iter().map(row).collect();
        let results = tokio::select! {
            results = client.update_all(&rows) => results.map_err(|cause| stopped(Some(cause)))?,
            () = interrupted() => return Err(stopped(None)),
        };
        for (id, result) in batch.iter().zip(results) {
            if let Err(error) = &result {
                refused += 1;
                if refused <= MOST_REFUSALS {
                    progress.suspend(|| note(format!("ticket {id}: {error}")));
                }
            }
            if as_json {
                output::print_json(&line(*id, &result).to_string())?;
            }
            progress.inc(1);
        }
        done += batch.len();
    }
    progress.finish_and_clear();
    if refused > MOST_REFUSALS {
        note(format!("refused {}", output::counted(refused - MOST_REFUSALS, "more ticket")));
    }
    if !as_json {
        output::print(format!(
            "updated {} of {}",
            ids.len() - refused,
            output::counted(ids.len(), "ticket")
        ))?;
    }
    if refused == 0 { Ok(()) } else { Err(CommandError::NotAll { refused, of: ids.len() }) }
}

/// What became of a ticket, for scripts.
fn line(id: TicketId, result: &Result<Option<Tag>, ClientError>) -> Value {
    match result {
        Ok(tag) => json!({"id": id, "version": tag.map(|tag| tag.to_string())}),
        Err(error) => json!({"id": id, "refused": error.to_string()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_given_one_by_one_or_by_standard_input_and_each_is_meant_once() {
        let given = |named: &[&str], input: &str| {
            let named: Vec<Named> = named.iter().map(|named| named.parse().unwrap()).collect();
            let ids = ids(&named, &mut input.as_bytes());
            ids.map(|ids| ids.iter().map(|id| id.get()).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert_eq!(given(&["3", "1", "3"], "7"), Ok(vec![3, 1]), "the input is not read");
        assert_eq!(given(&["-", "5"], "3\n1, 2\t5\r\n\n"), Ok(vec![3, 1, 2, 5]));
        assert_eq!(given(&["-"], ""), Ok(vec![]));
        let refused = given(&["-"], "1\n2 x3\n").unwrap_err();
        assert_eq!(refused, "line 2: \"x3\" is no id: it must be a whole number from 1 to 9007199254740991");
        assert!("--".parse::<Named>().is_err() && "0".parse::<Named>().is_err());
    }
}
