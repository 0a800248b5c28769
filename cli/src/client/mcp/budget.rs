//! How much a result may hold. An agent reads every result whole, and clients cut off, or refuse, what is too long.
//! So a list ends early, and a long ticket comes in parts.

use serde_json::{Map, Value};

/// The most bytes of a result's text: some 10,000 tokens, from which on clients warn.
pub(super) const BUDGET: usize = 40_000;
/// What a result needs besides tickets or entries, and the arguments of the next call.
const FRAME: usize = 500;
/// The text that can be far longer than all others. It comes last.
const LONGEST: &str = "ticketContent";

/// Where a part of a ticket begins: after so many characters of a text. All fields after that text follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) field: String,
    pub(super) after: usize,
}

/// As many of the first tickets or entries as fit beside the arguments of the next call, at least one; and whether
/// there were more.
pub(super) fn fitting(items: Vec<Value>, next: &Map<String, Value>) -> (Vec<Value>, bool) {
    let mut room = BUDGET.saturating_sub(FRAME + length(next));
    let all = items.len();
    let fits = items.iter().take_while(|item| {
        let needed = length(item) + 1;
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        fits
    });
    let fits = fits.count().max(1);
    (items.into_iter().take(fits).collect(), fits < all)
}

/// The part of a ticket that begins at a place, or at its beginning, and where the next part begins. `None` if the
/// ticket has no such text.
pub(super) fn part(
    ticket: Map<String, Value>,
    from: Option<Place>,
) -> Option<(Map<String, Value>, Option<Place>)> {
    let mut fields: Vec<_> = ticket.into_iter().collect();
    fields.sort_by_key(|(name, _)| name == LONGEST);
    let mut skipped = 0;
    if let Some(Place { field, after }) = from {
        let at = fields.iter().position(|(name, value)| *name == field && value.is_string())?;
        fields.drain(..at);
        if let Some((_, Value::String(text))) = fields.first_mut() {
            skipped = after.min(text.chars().count());
            *text = text.chars().skip(skipped).collect();
        }
    }
    // The braces.
    let mut room = BUDGET - FRAME - 2;
    let mut part = Map::new();
    for (name, value) in fields {
        // Quotes, a colon and a comma.
        room = room.saturating_sub(name.len() + 4);
        let needed = length(&value);
        if needed <= room {
            room -= needed;
            part.insert(name, value);
        } else {
            let shown = beginning(value.as_str().unwrap_or_default(), room);
            let after = skipped + shown.chars().count();
            part.insert(name.clone(), shown.into());
            return Some((part, Some(Place { field: name, after })));
        }
        skipped = 0;
    }
    Some((part, None))
}

/// The beginning of a text that takes up to `room` bytes in JSON.
fn beginning(text: &str, room: usize) -> &str {
    // The quotes.
    let mut room = room.saturating_sub(2);
    let end = text.char_indices().find(|(_, character)| {
        let needed = escaped(*character);
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        !fits
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// The bytes of a character within a JSON string.
fn escaped(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        character => character.len_utf8(),
    }
}

/// The bytes of a value in JSON.
fn length(value: &impl serde::Serialize) -> usize {
    // Values and maps of them always have a JSON text.
    serde_json::to_string(value).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// All parts of a ticket, each of which fits.
    fn parts(ticket: &Map<String, Value>) -> Vec<Map<String, Value>> {
        let (mut parts, mut from) = (Vec::new(), None);
        loop {
            let (part, next) = super::part(ticket.clone(), from).unwrap();
            assert!(length(&part) <= BUDGET - FRAME, "{}", length(&part));
            assert!(parts.len() < 100, "it ends");
            parts.push(part);
            match next {
                Some(next) => from = Some(next),
                None => return parts,
            }
        }
    }

    fn joined(parts: &[Map<String, Value>], name: &str) -> String {
        parts.iter().filter_map(|part| part.get(name)?.as_str()).collect()
    }

    #[test]
    fn the_parts_of_a_ticket_have_every_character_once() {
        for text in ["x", "ü", "💡", "\u{1}", "\u{7f}", "\"\\", "a\r\n\tb"] {
            let names = ["owner", "subject", LONGEST, "users"];
            let texts = names.into_iter().map(|name| (name.to_owned(), text.repeat(20_000).into()));
            let ticket = Map::from_iter(texts);
            let parts = parts(&ticket);
            for name in names {
                assert_eq!(joined(&parts, name), ticket[name].as_str().unwrap(), "{name} of {text:?}");
            }
            let fewest = length(&ticket).div_ceil(BUDGET - FRAME);
            assert!(parts.len() <= fewest + 1, "{} parts of {text:?}, not {fewest}", parts.len());
        }
    }

    #[test]
    fn the_first_part_has_all_but_the_end_of_the_content() {
        let ticket =
            json!({"id": "7", "customerID": 4, "ticketContent": "x".repeat(100_000), "users": "ada"});
        let ticket = ticket.as_object().unwrap();
        let parts = parts(ticket);
        assert_eq!(parts.len(), 3);
        assert_eq!((&parts[0]["users"], &parts[0]["customerID"]), (&json!("ada"), &json!(4)));
        assert!(parts[1].len() == 1 && parts[2].len() == 1);
        let place = |field: &str, after| Some(Place { field: field.into(), after });
        let (end, next) = part(ticket.clone(), place(LONGEST, 99_998)).unwrap();
        assert_eq!((end[LONGEST].as_str(), next), (Some("xx"), None));
        assert_eq!(part(ticket.clone(), place(LONGEST, usize::MAX)).unwrap().0[LONGEST], "");
        for unknown in ["customerID", "owner", ""] {
            assert_eq!(part(ticket.clone(), place(unknown, 0)), None, "{unknown}");
        }
    }

    #[test]
    fn a_list_ends_before_it_is_too_long_and_has_at_least_one() {
        let next = Map::from_iter([("owner".into(), Value::from("o".repeat(500)))]);
        let rows = |count| vec![json!({"subject": "s".repeat(986)}); count];
        // A row takes 1,001 bytes.
        assert_eq!(length(&rows(1)[0]), 1000);
        let (all, is_cut) = fitting(rows(38), &next);
        assert_eq!((all.len(), is_cut), (38, false));
        let (some, is_cut) = fitting(rows(39), &next);
        assert_eq!((some.len(), is_cut), (38, true));
        assert_eq!(fitting(vec![json!("x".repeat(BUDGET)); 2], &next).0.len(), 1);
        assert_eq!(fitting(Vec::new(), &next), (Vec::new(), false));
    }
}
