//! The column map: a small TOML file that says which column of another system fills which field.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::fs;
use std::path::Path;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::Value;
use tickets_domain::text::breaks_line;
use tickets_domain::ticket::{GONE_FIELDS, field_names};
use tickets_domain::{Error, JsonObject, Presets, Record, Timestamp, Violation};

use super::date::{DateFormat, Dates, is_date};
use super::rows::visible;
use crate::error::CommandError;

/// The map as written in TOML.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MapFile {
    /// Columns that are left out on purpose.
    #[serde(default)]
    ignore: Vec<String>,
    /// The time zone of times without one.
    zone: Option<String>,
    fields: BTreeMap<String, FieldMap>,
}

/// Where a field's value comes from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldMap {
    /// The column's name.
    column: Option<String>,
    /// The same value for every ticket.
    constant: Option<Text>,
    /// Replaces values, compared without case; other values stay as they are.
    #[serde(default)]
    values: BTreeMap<String, Text>,
    /// Replaces a value that the field does not accept.
    otherwise: Option<Text>,
    /// Replaces an empty cell.
    empty: Option<Text>,
    /// The format of dates, as for `strftime`.
    format: Option<String>,
    /// Whether line breaks and other control characters are replaced by a space.
    #[serde(default)]
    one_line: bool,
}

/// A text, or a number as a text.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text or a whole number")]
enum Text {
    Text(String),
    Number(i64),
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        match text {
            Text::Text(text) => text,
            Text::Number(number) => number.to_string(),
        }
    }
}

/// A checked column map.
pub(super) struct ColumnMap {
    /// The columns that fill fields, and those that are left out on purpose.
    named: BTreeSet<String>,
    dates: Dates,
    rules: Vec<Rule>,
}

struct Rule {
    field: &'static str,
    from: Origin,
}

enum Origin {
    Constant(String),
    Column {
        name: String,
        values: BTreeMap<String, String>,
        otherwise: Option<String>,
        empty: Option<String>,
        format: Option<DateFormat>,
        one_line: bool,
    },
}

/// Counts what does not become part of a ticket.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// For each column without a field: the rows that have a value in it.
    pub(super) columns: BTreeMap<Rc<str>, u64>,
    /// For each field: the rows whose value was replaced because the field does not accept it.
    pub(super) replaced: BTreeMap<&'static str, u64>,
    /// For each field: the rows whose value was written on one line.
    pub(super) one_line: BTreeMap<&'static str, u64>,
    /// The rows in which every cell is empty.
    pub(super) empty_rows: u64,
    /// The rows that have fewer cells than the header.
    pub(super) short_rows: u64,
}

/// The form in which names of columns and values are compared.
fn folded(name: &str) -> String {
    visible(name).to_lowercase()
}

impl ColumnMap {
    /// Reads and checks a map.
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        let text = fs::read_to_string(path)
            .map_err(|source| CommandError::File { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|reason| CommandError::Map {
            path: path.to_owned(),
            reason: reason.trim_end().to_owned(),
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: MapFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let dates = Dates::in_zone(file.zone.as_deref().unwrap_or("UTC"))?;
        let known: Vec<&'static str> =
            field_names().chain(GONE_FIELDS).filter(|field| *field != "movedDate").collect();
        let rules = file.fields.into_iter().map(|(name, field)| {
            let Some(known) = known.iter().find(|known| **known == name) else {
                let Violation { field, detail } = Violation::unknown("field", &name, &known);
                return Err(format!("fields.{field}: {detail}"));
            };
            field.rule(known).map_err(|reason| format!("fields.{known}: {reason}"))
        });
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let ignored = file.ignore.iter().map(|name| folded(name));
        let named = rules.iter().filter_map(Rule::column).chain(ignored).collect();
        Ok(Self { named, dates, rules })
    }

    /// Refuses a map whose columns the file does not have, and names them.
    pub(super) fn check_columns(&self, columns: &[Rc<str>]) -> Result<(), CommandError> {
        let there: BTreeSet<String> = columns.iter().map(|name| folded(name)).collect();
        let missing = self.rules.iter().filter_map(|rule| match &rule.from {
            Origin::Column { name, .. } if !there.contains(&folded(name)) => Some(name.as_str()),
            Origin::Column { .. } | Origin::Constant(_) => None,
        });
        let missing: Vec<&str> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(CommandError::Columns(format!(
            "the map names columns that the file does not have: {}; it has {}",
            missing.join(", "),
            listed(columns)
        )))
    }

    /// The JSON of the ticket that a row's cells make. Cells of one column name are joined.
    ///
    /// # Errors
    /// If a date is not in the map's format.
    pub(super) fn apply(
        &self,
        cells: &[(Rc<str>, String)],
        presets: &Presets,
        now: Timestamp,
        losses: &mut Losses,
    ) -> Result<String, Vec<Violation>> {
        let by_name = joined(cells);
        let mut members = serde_json::Map::new();
        let mut violations = Vec::new();
        for Rule { field, from } in &self.rules {
            let text = match from {
                Origin::Constant(text) => text.clone(),
                Origin::Column { name, values, otherwise, empty, format, one_line } => {
                    let cell = by_name.get(&folded(name)).map_or("", |(_, cell)| &**cell);
                    let cell = match on_one_line(cell).filter(|_| *one_line) {
                        Some(cell) => {
                            *losses.one_line.entry(field).or_default() += 1;
                            Cow::Owned(cell)
                        }
                        None => Cow::Borrowed(cell),
                    };
                    if cell.trim().is_empty() {
                        empty.clone().unwrap_or_default()
                    } else {
                        let mapped = values.get(&folded(&cell)).map_or(&*cell, String::as_str);
                        let text = if is_date(field) {
                            self.dates.read(field, mapped.trim(), format.as_ref())
                        } else {
                            Ok(mapped.to_owned())
                        };
                        let taken = text.and_then(|text| match otherwise {
                            // Without a replacement, the service itself refuses the value.
                            Some(_) => takes(field, &text, presets, now).map(|()| text),
                            None => Ok(text),
                        });
                        match (taken, otherwise) {
                            (Ok(text), _) => text,
                            (Err(_), Some(otherwise)) => {
                                *losses.replaced.entry(field).or_default() += 1;
                                otherwise.clone()
                            }
                            (Err(detail), None) => {
                                violations.push(Violation::new(*field, detail));
                                continue;
                            }
                        }
                    }
                }
            };
            if !text.is_empty() {
                members.insert((*field).to_owned(), member(field, &text));
            }
        }
        for (folded, (name, cell)) in &by_name {
            if !cell.trim().is_empty() && !self.named.contains(folded) {
                *losses.columns.entry(Rc::clone(name)).or_default() += 1;
            }
        }
        if violations.is_empty() { Ok(Value::from(members).to_string()) } else { Err(violations) }
    }
}

/// The cells by the name of their column, with the name as it is first written. A system that has several values for a
/// column repeats the column (Jira's `Labels`), so cells of one name are joined.
fn joined(cells: &[(Rc<str>, String)]) -> BTreeMap<String, (&Rc<str>, Cow<'_, str>)> {
    let mut by_name = BTreeMap::new();
    for (name, cell) in cells {
        match by_name.entry(folded(name)) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert((name, Cow::Borrowed(cell.as_str())));
            }
            btree_map::Entry::Occupied(mut entry) => match &mut entry.get_mut().1 {
                _ if cell.trim().is_empty() => {}
                before if before.trim().is_empty() => *before = cell.into(),
                before => {
                    let before = before.to_mut();
                    before.push_str(", ");
                    before.push_str(cell);
                }
            },
        }
    }
    by_name
}

/// A text of several lines on one, for the fields that are one line; `None` if it is one already.
fn on_one_line(text: &str) -> Option<String> {
    text.trim().contains(breaks_line).then(|| {
        let parts = text.split(breaks_line).map(str::trim).filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(" ")
    })
}

/// The most names of columns in a message.
const MOST_LISTED: usize = 50;

/// The names of columns for a message.
pub(super) fn listed(names: &[impl AsRef<str>]) -> String {
    let first = names.iter().take(MOST_LISTED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST_LISTED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl Rule {
    fn column(&self) -> Option<String> {
        match &self.from {
            Origin::Column { name, .. } => Some(folded(name)),
            Origin::Constant(_) => None,
        }
    }
}

impl FieldMap {
    fn rule(self, field: &'static str) -> Result<Rule, String> {
        let Self { column, constant, values, otherwise, empty, format, one_line } = self;
        if format.is_some() && !is_date(field) {
            return Err("is no date; format does not belong to it".into());
        }
        let format = format.as_deref().map(DateFormat::new).transpose()?;
        let from = match (column, constant) {
            (Some(name), None) => Origin::Column {
                name,
                values: replacements(values)?,
                otherwise: otherwise.map(Text::into),
                empty: empty.map(Text::into),
                format,
                one_line,
            },
            (None, Some(text))
                if values.is_empty()
                    && otherwise.is_none()
                    && empty.is_none()
                    && format.is_none()
                    && !one_line =>
            {
                Origin::Constant(text.into())
            }
            (None, Some(_)) => {
                return Err("values, otherwise, empty, format and one_line belong to a column".into());
            }
            (Some(_), Some(_)) => return Err("has a column and a constant; it needs one of them".into()),
            (None, None) => return Err("needs a column or a constant".into()),
        };
        Ok(Rule { field, from })
    }
}

/// The replacements of values, by the form in which values are compared.
fn replacements(values: BTreeMap<String, Text>) -> Result<BTreeMap<String, String>, String> {
    let mut replacements = BTreeMap::new();
    for (value, text) in values {
        if replacements.insert(folded(&value), text.into()).is_some() {
            return Err(format!("values has {value:?} twice; values are compared without case"));
        }
    }
    Ok(replacements)
}

/// A text as the field's JSON value.
pub(super) fn member(field: &str, text: &str) -> Value {
    match field {
        "customerID" => text.trim().parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
        _ => Value::from(text),
    }
}

/// Checks a text for a field by the service's own rules.
fn takes(field: &str, text: &str, presets: &Presets, now: Timestamp) -> Result<(), String> {
    let body = Value::from(serde_json::Map::from_iter([(field.to_owned(), member(field, text))])).to_string();
    let object = JsonObject::parse(body.as_bytes());
    if let Err(Error::InvalidFields(violations)) =
        object.and_then(|object| Record::imported(object, presets, now))
        && let Some(violation) = violations.into_iter().find(|violation| violation.field == field)
    {
        return Err(violation.detail);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tickets_domain::preset::PresetLists;

    use super::*;

    fn presets() -> Presets {
        Presets::parse(&PresetLists::default()).unwrap()
    }

    fn apply(map: &str, cells: &[(&str, &str)]) -> (Result<Value, Vec<Violation>>, Losses) {
        let map = ColumnMap::parse(map).unwrap();
        let cells: Vec<_> = cells.iter().map(|(name, cell)| ((*name).into(), (*cell).to_owned())).collect();
        let mut losses = Losses::default();
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let applied = map.apply(&cells, &presets(), now, &mut losses);
        (applied.map(|json| serde_json::from_str(&json).unwrap()), losses)
    }

    const MAP: &str = r#"
        zone = "Europe/Berlin"
        ignore = ["score"]
        [fields]
        subject = { column = "Title", empty = "(none)" }
        customerID = { column = "Company", values = { "Acme Ltd" = 42 } }
        status = { column = "State", values = { new = "open", Solved = "resolved" }, otherwise = "closed" }
        ticketType = { constant = "support" }
        createdDate = { column = "Made" }
        ticketFollowupDate = { column = "Due", format = "%d.%m.%Y" }
        customerEmail = { column = "Mail", otherwise = "" }
    "#;

    #[test]
    fn columns_become_fields_values_presets_and_local_times_instants() {
        let (ticket, losses) = apply(
            MAP,
            &[
                ("TITLE", "Help "),
                ("Company", "acme ltd"),
                ("State", "NEW"),
                ("Made", "2024-07-01 12:30"),
                ("Due", "31.12.2024"),
                ("Mail", "no address"),
                ("Score", "5"),
                ("Brand", "x"),
                ("Tags", " "),
            ],
        );
        let expected = serde_json::json!({
            "subject": "Help ", "customerID": 42, "status": "open", "ticketType": "support",
            "createdDate": "2024-07-01T12:30:00+02:00", "ticketFollowupDate": "2024-12-31",
        });
        assert_eq!(ticket.unwrap(), expected);
        assert_eq!(losses.columns.into_iter().collect::<Vec<_>>(), [("Brand".into(), 1)]);
        assert_eq!(losses.replaced.into_iter().collect::<Vec<_>>(), [("customerEmail", 1)]);
    }

    #[test]
    fn empty_cells_and_values_that_a_field_does_not_take_have_their_substitutes() {
        let (ticket, losses) =
            apply(MAP, &[("Title", ""), ("State", "weird"), ("Made", "2024-01-01T10:00:00Z")]);
        let expected = serde_json::json!({"subject": "(none)", "status": "closed", "ticketType": "support", "createdDate": "2024-01-01T10:00:00Z"});
        assert_eq!(ticket.unwrap(), expected);
        assert_eq!(losses.replaced["status"], 1);
    }

    #[test]
    fn a_text_of_several_lines_is_put_on_one_where_the_map_says_so_and_counted() {
        let map = "[fields]\nsubject = { column = \"S\", one_line = true }\nusers = { column = \"S\" }";
        let (made, losses) = apply(map, &[("S", " wrong \r\n\r\n\tkey\u{2028}again\n")]);
        let made = made.unwrap();
        assert_eq!(made["subject"], "wrong key again");
        assert_eq!(made["users"], " wrong \r\n\r\n\tkey\u{2028}again\n");
        assert_eq!(losses.one_line.into_iter().collect::<Vec<_>>(), [("subject", 1)]);
        let (made, losses) = apply(map, &[("S", "wrong  key\n")]);
        assert_eq!((&made.unwrap()["subject"], losses.one_line.len()), (&Value::from("wrong  key\n"), 0));
    }

    #[test]
    fn a_date_that_is_written_otherwise_or_never_was_is_refused() {
        let (refused, _) = apply(MAP, &[("Due", "12/31/2024"), ("Made", "2024-03-31 02:30")]);
        let refused = refused.unwrap_err();
        assert_eq!(refused[0].detail, "there was no 2024-03-31 02:30:00 in Europe/Berlin");
        assert!(refused[1].detail.starts_with("must be written like %d.%m.%Y"), "{refused:?}");
    }

    #[test]
    fn cells_of_one_column_name_are_joined_and_counted_once() {
        let map = r#"
            ignore = ["comment"]
            [fields]
            subject = { column = "Labels" }
            createdDate = { column = "Made" }
        "#;
        let cells = [
            ("Labels", " "),
            ("labels", "a"),
            ("Labels", ""),
            (" LABELS\u{200b}", "b, c"),
            ("Made", "2024-01-01"),
            ("Made", ""),
            ("Comment", "x"),
            ("Comment", "y"),
            ("Brand", "x"),
            ("brand", "y"),
        ];
        let (ticket, losses) = apply(map, &cells);
        let expected = serde_json::json!({"subject": "a, b, c", "createdDate": "2024-01-01T00:00:00+00:00"});
        assert_eq!(ticket.unwrap(), expected);
        assert_eq!(losses.columns.into_iter().collect::<Vec<_>>(), [("Brand".into(), 1)]);
    }

    #[test]
    fn a_message_lists_only_so_many_columns() {
        let names = |count: usize| vec!["a"; count];
        assert!(listed(&names(MOST_LISTED)).ends_with(", a, a"));
        assert!(listed(&names(MOST_LISTED + 1)).ends_with(", a, a and 1 more"));
    }

    #[test]
    fn a_map_that_makes_no_sense_is_refused_by_name() {
        for (map, says) in [
            ("", "missing field `fields`"),
            ("[fields]\nsubjct = { column = \"a\" }", "fields.subjct: unknown field; did you mean subject?"),
            ("[fields]\nsubject = { colum = \"a\" }", "unknown field `colum`"),
            ("zones = \"UTC\"\n[fields]", "unknown field `zones`"),
            ("zone = \"Mars\"\n[fields]", "there is no time zone Mars"),
            ("[fields]\nsubject = {}", "fields.subject: needs a column or a constant"),
            ("[fields]\nsubject = { column = \"a\", constant = \"b\" }", "it needs one of them"),
            ("[fields]\nsubject = { constant = \"b\", empty = \"c\" }", "belong to a column"),
            ("[fields]\nsubject = { column = \"a\", format = \"%Y\" }", "is no date"),
            ("[fields]\ncreatedDate = { column = \"a\", format = \"%Q\" }", "is not understood"),
            ("[fields]\nstatus = { column = \"a\", values = { x = true } }", "a text or a whole number"),
            (
                "[fields]\nstatus = { column = \"a\", values = { x = \"b\", X = \"c\" } }",
                "values has \"x\" twice",
            ),
            (
                "[fields]\ncreatedDate = { column = \"a\", format = \"%d.%m. %H:%M\" }",
                "fields.createdDate: the format \"%d.%m. %H:%M\" does not say a whole date",
            ),
        ] {
            let error = ColumnMap::parse(map).err().unwrap();
            assert!(error.contains(says), "{map}: {error}");
        }
        let map = ColumnMap::parse("[fields]\nsubject = { column = \"Title\" }").unwrap();
        assert!(map.check_columns(&["title ".into()]).is_ok());
        assert!(map.check_columns(&["Tile".into()]).is_err());
    }
}
