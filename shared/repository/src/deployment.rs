//! The deployment's note in the table: the format of the stored data, and the configuration that its functions run
//! with. Operators' commands work on the table with it, not with what their shell happens to have: a tombstone has to
//! last as long as is promised, and an import has to wait as long as the functions' writers may take.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tickets_domain::{Error, Result};

use crate::failure::Failure;
use crate::item::{self, Item};
use crate::primary_key::PrimaryKey;
use crate::tickets::Tickets;

/// The functions' environment variables that decide what is written to the table, and their values.
pub type Variables = BTreeMap<String, String>;

/// The newest format of stored data that this program knows. It grows when an older program would read or write
/// wrongly what this one writes (docs/upgrading.md).
pub const FORMAT: u64 = 1;

/// Why the stored data cannot be used.
#[derive(Clone, Error)]
pub enum FormatError {
    /// A newer program has written them.
    #[error(
        "the stored data have format {0}, and this program knows no format above {known}: use the version that wrote \
         them, or a later one (docs/upgrading.md)", known = FORMAT
    )]
    Newer(u64),
    /// The note cannot be read or written.
    #[error("{0}")]
    Tickets(#[from] Error),
}

/// As `Display`: the `main` of a function that does not start prints this form into the log.
impl fmt::Debug for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Tickets(error) => error,
            newer @ FormatError::Newer(_) => Self::internal(newer),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct SettingsItem {
    bucket: String,
    id: u64,
    /// Without it, the first format.
    #[serde(default = "first_format")]
    format: u64,
    variables: Variables,
}

fn first_format() -> u64 {
    1
}

/// The note, if this program knows the format. A newer format may have changed everything else, so the format is read
/// by itself.
fn understood(item: Item) -> Result<SettingsItem, FormatError> {
    #[derive(Deserialize)]
    struct Mark {
        #[serde(default = "first_format")]
        format: u64,
    }
    let Mark { format } = item::from_item(item.clone())?;
    if format > FORMAT {
        return Err(FormatError::Newer(format));
    }
    Ok(item::from_item(item)?)
}

impl Tickets {
    /// Whether this program knows the format of the stored data.
    pub async fn check_format(&self) -> Result<(), FormatError> {
        self.note().await.map(drop)
    }

    /// The same for a function that starts. It also opens the connection to the database before the first caller waits
    /// for it. Sends one attempt: if the note cannot be read, the function starts, and its first request says why.
    pub async fn check_format_at_start(&self) -> Result<(), FormatError> {
        let get = self.dynamodb.once().get_item().table_name(&self.table);
        let read = get.set_key(Some(PrimaryKey::settings().into_key())).send().await;
        match read.ok().and_then(|output| output.item) {
            Some(item) => understood(item).map(drop),
            None => Ok(()),
        }
    }

    /// The configuration that was noted last; `None` if none was.
    pub async fn noted_configuration(&self) -> Result<Option<Variables>, FormatError> {
        Ok(self.note().await?.map(|note| note.variables))
    }

    async fn note(&self) -> Result<Option<SettingsItem>, FormatError> {
        self.read(PrimaryKey::settings()).await?.map(understood).transpose()
    }

    /// Notes the configuration that functions run with, if it is another one than noted. The format stays: a new
    /// program writes the former format until an operator says that no older one runs.
    pub async fn note_configuration(&self, variables: &Variables) -> Result<(), FormatError> {
        let note = self.note().await?;
        let format = note.as_ref().map_or(FORMAT, |note| note.format);
        if note.is_some_and(|note| note.variables == *variables) {
            return Ok(());
        }
        let PrimaryKey { bucket, id } = PrimaryKey::settings();
        let item = item::to_item(SettingsItem { bucket, id, format, variables: variables.clone() })?;
        // It may be put twice without harm, but not over a format that was raised since it was read.
        let put = self
            .dynamodb
            .client()
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#format) OR #format = :format")
            .expression_attribute_names("#format", "format")
            .expression_attribute_values(":format", AttributeValue::N(format.to_string()));
        put.send().await.map_err(|error| Error::from(Failure::of(error)))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scripted::{self, lost, ok, refused};

    /// A table whose note has this format, or none.
    fn note(format: Option<u64>) -> serde_json::Value {
        let mut item = json!({"bucket": {"S": "settings"}, "id": {"N": "0"}, "variables": {"M": {}}});
        if let Some(format) = format {
            item["format"] = json!({"N": format.to_string()});
        }
        json!({"Item": item})
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_format_is_refused_by_its_number_and_an_older_one_is_not() {
        for (stored, newer) in [(None, false), (Some(FORMAT), false), (Some(FORMAT + 1), true)] {
            let (tickets, calls) = scripted::tickets(move |_, _| ok(note(stored)));
            for outcome in [
                tickets.check_format().await,
                tickets.check_format_at_start().await,
                tickets.noted_configuration().await.map(drop),
                tickets.note_configuration(&Variables::new()).await,
            ] {
                assert_eq!(outcome.is_err(), newer, "{stored:?}");
                if let Err(error) = outcome {
                    let error = error.to_string();
                    assert!(
                        error.starts_with("the stored data have format 2, and this program knows no"),
                        "{error}"
                    );
                    assert!(error.contains("docs/upgrading.md"), "{error}");
                }
            }
            assert_eq!(calls.of("PutItem").len(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_note_is_refused_whatever_else_it_has() {
        let item = json!({"bucket": {"S": "settings"}, "id": {"N": "0"}, "format": {"N": "7"}, "variables": {"N": "1"}});
        let (tickets, _) = scripted::tickets(move |_, _| ok(json!({"Item": item})));
        assert!(matches!(tickets.check_format().await, Err(FormatError::Newer(7))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_starts_if_the_note_cannot_be_read_and_asks_once() {
        for answer in [lost(), refused("ThrottlingException"), refused("AccessDeniedException")] {
            let (tickets, calls) = scripted::tickets(move |_, _| answer.clone());
            tickets.check_format_at_start().await.unwrap();
            assert_eq!(calls.of("GetItem").len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_configuration_keeps_the_format_and_is_not_put_over_another_one() {
        let (tickets, calls) = scripted::tickets(|operation, _| match operation {
            "GetItem" => ok(note(None)),
            _ => ok(json!({})),
        });
        tickets.note_configuration(&[("A".to_owned(), "1".to_owned())].into()).await.unwrap();
        let put = &calls.of("PutItem")[0];
        assert_eq!(put["Item"]["format"], json!({"N": "1"}));
        assert_eq!(put["ConditionExpression"], "attribute_not_exists(#format) OR #format = :format");
    }

    #[tokio::test(start_paused = true)]
    async fn a_configuration_is_noted_when_it_changes() {
        let (tickets, calls) = scripted::engine(0).await;
        assert_eq!(tickets.noted_configuration().await.unwrap(), None);
        for (days, puts) in [("90", 1), ("90", 1), ("365", 2), ("", 3)] {
            let variables = [("TOMBSTONE_DAYS".to_owned(), days.to_owned())].into();
            tickets.note_configuration(&variables).await.unwrap();
            assert_eq!(tickets.noted_configuration().await.unwrap(), Some(variables));
            assert_eq!(calls.of("PutItem").len(), puts, "{days}");
        }
    }
}
