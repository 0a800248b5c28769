//! `tickets create`, `tickets update` and `tickets delete`.

mod many;

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use console::{Style, Term};
use data_encoding::HEXLOWER;
use serde_json::{Map, Value};
use tickets_domain::id::CustomerId;
use tickets_domain::idempotency::{IdempotencyKey, InvalidIdempotencyKey};
use tickets_domain::tag::InvalidTag;
use tickets_domain::{Clock, Tag, TicketId};

use many::Named;

use super::show::{Shown, day, one_line};
use crate::client::Api;
use crate::client::{Answered, Client, ClientError, Creation};
use crate::error::CommandError;
use crate::output::{self, Text, note};

/// Create a ticket
///
/// Fields not given get their default or stay absent. The API names every field that it refuses.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "For example: tickets create --customer 42 --subject 'Invoice 2026-118 is wrong' --type billing --priority high"
)]
pub struct Create {
    /// Whose ticket it is
    #[arg(long, value_name = "ID")]
    customer: CustomerId,
    /// What it is about
    #[arg(long, value_name = "TEXT")]
    subject: String,
    #[command(flatten)]
    fields: Fields,
    /// Name of this create: repeated within a day, it makes no second ticket; random if not given
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    idempotency_key: Option<String>,
    /// The JSON, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Api,
}

/// Update the given fields of a ticket, or of many
///
/// Other fields stay as they are, whatever others change meanwhile. If two changes set the same field, the
/// later one holds. With --if-match nothing changes unless the ticket is still at the version you saw.
///
/// Many tickets are changed a hundred at a time. If that ends early, repeat the command: it changes nothing that is
/// already so.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "For example: tickets update 17 --status assigned --owner grace --clear followup\n             tickets update 17 23 42 --status closed\n             tickets list --open --owner ada --json | jq -r '.[].id' | tickets update - --owner grace"
)]
pub struct Update {
    /// The ticket's id, or several; - for those in standard input, with spaces, commas or line ends between
    #[arg(required = true, value_name = "ID")]
    ids: Vec<Named>,
    /// Customer to give it to
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// What it is about
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    #[command(flatten)]
    fields: Fields,
    /// Fields to clear
    #[arg(long, value_enum, value_name = "FIELD,…", value_delimiter = ',')]
    clear: Vec<Field>,
    /// Only if it is at this version, as `tickets get` shows it; for one ticket
    #[arg(long, value_name = "VERSION", value_parser = version)]
    if_match: Option<Tag>,
    /// The JSON, as the API gives it; of many tickets one object on each line, with its id and version
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Api,
}

/// Delete a ticket
///
/// On a terminal it shows the ticket and asks first, and deletes what it has shown: a ticket that changes
/// meanwhile stays. Elsewhere it does not ask.
#[derive(Debug, Clone, Args)]
pub struct Delete {
    /// The ticket's id
    id: TicketId,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only if it is at this version, as `tickets get` shows it
    #[arg(long, value_name = "VERSION", value_parser = version)]
    if_match: Option<Tag>,
    #[command(flatten)]
    api: Api,
}

/// The optional fields of a ticket. Their values are not checked here: the API knows its presets
#[derive(Debug, Clone, Args)]
struct Fields {
    /// One of the configured types
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// One of the configured statuses
    #[arg(long)]
    status: Option<String>,
    /// One of the configured priorities
    #[arg(long)]
    priority: Option<String>,
    /// The customer's address
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The content
    #[arg(long, value_name = "TEXT", conflicts_with = "content_file")]
    content: Option<String>,
    /// File with the content; - for standard input
    #[arg(long, value_name = "FILE")]
    content_file: Option<PathBuf>,
    /// Who works on it
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Users it concerns
    #[arg(long, value_name = "TEXT")]
    users: Option<String>,
    /// Departments it concerns
    #[arg(long, value_name = "TEXT")]
    departments: Option<String>,
    /// Suppliers it concerns
    #[arg(long, value_name = "TEXT")]
    suppliers: Option<String>,
    /// When to follow up: a date, a time, today or tomorrow (in UTC)
    #[arg(long, value_name = "TIME")]
    followup: Option<String>,
    /// When action is required: likewise
    #[arg(long, value_name = "TIME")]
    action: Option<String>,
}

/// An optional field, named as its flag
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Field {
    Type,
    Status,
    Priority,
    Email,
    Content,
    Owner,
    Users,
    Departments,
    Suppliers,
    Followup,
    Action,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Type => "ticketType",
            Self::Status => "status",
            Self::Priority => "ticketPriority",
            Self::Email => "customerEmail",
            Self::Content => "ticketContent",
            Self::Owner => "owner",
            Self::Users => "users",
            Self::Departments => "departments",
            Self::Suppliers => "ticketSuppliers",
            Self::Followup => "ticketFollowupDate",
            Self::Action => "ticketActionRequired",
        }
    }
}

impl Fields {
    /// The request body's members that these flags set.
    fn members(self) -> Result<Map<String, Value>, CommandError> {
        let content = match self.content_file {
            Some(file) => Some(content_of(&file)?),
            None => self.content,
        };
        let now = Clock::system().now();
        let day = |text: Option<String>| text.map(|text| day(&text, now));
        let given = [
            (Field::Type, self.kind),
            (Field::Status, self.status),
            (Field::Priority, self.priority),
            (Field::Email, self.email),
            (Field::Content, content),
            (Field::Owner, self.owner),
            (Field::Users, self.users),
            (Field::Departments, self.departments),
            (Field::Suppliers, self.suppliers),
            (Field::Followup, day(self.followup)),
            (Field::Action, day(self.action)),
        ];
        Ok(given.into_iter().filter_map(|(field, text)| Some((field.name().into(), text?.into()))).collect())
    }
}

/// Reads a file, or standard input for `-`.
fn content_of(file: &Path) -> Result<String, CommandError> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    text.map_err(|source| CommandError::File { path: file.to_owned(), source })
}

/// Parses a version: as `tickets get` shows it, or an `ETag` with its quotes.
fn version(text: &str) -> Result<Tag, InvalidTag> {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).parse()
}

fn idempotency_key(text: &str) -> Result<String, InvalidIdempotencyKey> {
    text.parse::<IdempotencyKey>().map(|_| text.to_owned())
}

impl Create {
    pub async fn run(self) -> Result<(), CommandError> {
        let client = self.api.client()?;
        let mut members = self.fields.members()?;
        members.insert("customerID".into(), self.customer.get().into());
        members.insert("subject".into(), self.subject.into());
        let key = match self.idempotency_key {
            Some(key) => key,
            None => random_key("cli")?,
        };
        let created = client.create(&Value::from(members).to_string(), &key).await;
        if created.as_ref().is_err_and(may_be_there) {
            note(format!("to repeat it without making a second ticket, add --idempotency-key {key}"));
        }
        let (ticket, creation) = created?;
        if creation == Creation::Replayed {
            note(
                "nothing new: an earlier request with this idempotency key created it, as follows; it may have changed since",
            );
        }
        show(&ticket, self.json)
    }
}

/// A random idempotency key.
pub(super) fn random_key(prefix: &str) -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{prefix}-{}", HEXLOWER.encode(&bytes)))
}

/// Whether a create that failed with this error may have taken effect, or may still do so.
fn may_be_there(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Strange { .. } | ClientError::Undecided => true,
        ClientError::Refused { status, .. } => status.is_server_error() || status.as_u16() == 409,
        ClientError::NoKey { .. } | ClientError::InvalidKey(_) => false,
    }
}

fn show(ticket: &Answered, json: bool) -> Result<(), CommandError> {
    if json {
        return Ok(output::print_json(ticket.json.get())?);
    }
    Ok(output::ticket(&ticket.json, ticket.tag)?.print()?)
}

impl Update {
    pub async fn run(self) -> Result<(), CommandError> {
        if self.ids.contains(&Named::Input) && self.fields.content_file.as_deref() == Some(Path::new("-")) {
            return Err(CommandError::Usage("standard input has either the ids or the content".into()));
        }
        let client = self.api.client()?;
        let mut members = self.fields.members()?;
        if let Some(customer) = self.customer {
            members.insert("customerID".into(), customer.get().into());
        }
        if let Some(subject) = self.subject {
            members.insert("subject".into(), subject.into());
        }
        for field in self.clear {
            if members.insert(field.name().into(), Value::Null).is_some_and(|value| !value.is_null()) {
                return Err(CommandError::Usage(format!("{} is both given and cleared", field.name())));
            }
        }
        if members.is_empty() {
            return Err(CommandError::Usage(
                "nothing to update: say a field, or --clear FIELD; `tickets update --help` has them".into(),
            ));
        }
        if let [Named::Id(id)] = self.ids[..] {
            let body = Value::from(members).to_string();
            return show(&client.update(id, &body, self.if_match).await?, self.json);
        }
        if self.if_match.is_some() {
            return Err(CommandError::Usage("--if-match is the version of one ticket".into()));
        }
        let ids = many::ids(&self.ids, &mut io::stdin().lock())?;
        many::update(&client, &ids, &members, self.json).await
    }
}

impl Delete {
    pub async fn run(self) -> Result<(), CommandError> {
        let client = self.api.client()?;
        let mut if_match = self.if_match;
        if !self.yes && io::stdin().is_terminal() && console::user_attended_stderr() {
            let (question, seen) = self.question(&client).await?;
            if !confirmed(&question, &mut io::stdin().lock(), &mut Term::stderr())? {
                note(format!("ticket {} stays", self.id));
                return Ok(());
            }
            if_match = if_match.or(seen);
        }
        client.delete(self.id, if_match).await?;
        Ok(output::print(format!("deleted ticket {}", self.id))?)
    }

    /// The question to ask, and the tag of the ticket that it shows.
    async fn question(&self, client: &Client) -> Result<(String, Option<Tag>), CommandError> {
        let ticket = match client.get(self.id).await {
            Ok(ticket) => ticket,
            // The key may delete but not read.
            Err(ClientError::Refused { status, .. }) if status.as_u16() == 403 => {
                return Ok((format!("delete ticket {}?", self.id), None));
            }
            Err(error) => return Err(error.into()),
        };
        let shown: Shown = serde_json::from_str(ticket.json.get()).map_err(io::Error::from)?;
        let question =
            format!("ticket {}, customer {}{}\ndelete it?", self.id, shown.customer, one_line(&shown));
        Ok((question, ticket.tag))
    }
}

/// Asks a question. True only if the answer is yes.
pub(super) fn confirmed(
    question: &str,
    answers: &mut impl BufRead,
    out: &mut impl Write,
) -> io::Result<bool> {
    let bold = Style::new().for_stderr().bold();
    write!(out, "{} ", Text::new(question).and(" ").styled(bold, "[y/N]"))?;
    out.flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clap::Parser;
    use tickets_domain::ticket::TEXT_FIELDS;

    use super::*;

    #[test]
    fn only_a_yes_confirms() {
        for (answer, expected) in
            [("y\n", true), (" YES\n", true), ("\n", false), ("no\n", false), ("yep\n", false), ("", false)]
        {
            let mut asked = Vec::new();
            assert_eq!(
                confirmed("delete it?", &mut answer.as_bytes(), &mut asked).unwrap(),
                expected,
                "{answer}"
            );
            assert!(asked.starts_with(b"delete it?"));
        }
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        fields: Fields,
    }

    #[test]
    fn every_field_has_a_flag_that_sets_it_and_can_be_cleared_by_its_name() {
        let flags: BTreeMap<_, _> = Field::value_variants()
            .iter()
            .map(|field| (field.name(), field.to_possible_value().unwrap().get_name().to_owned()))
            .collect();
        // A subject can be set, but not cleared.
        let fields: BTreeSet<_> = TEXT_FIELDS.into_iter().map(|(name, _)| name).collect();
        let expected: BTreeSet<_> = flags.keys().copied().chain(["subject"]).collect();
        assert_eq!(expected, fields, "each is in `Field`");
        for (name, flag) in flags {
            let line = Line::parse_from(["tickets".to_owned(), format!("--{flag}=2026-12-01")]);
            let members = line.fields.members().unwrap();
            assert_eq!(Value::from(members), serde_json::json!({name: "2026-12-01"}), "--{flag}");
        }
    }

    #[test]
    fn a_version_is_said_as_get_shows_it_or_as_an_etag() {
        let seven = "7-0c5fe1a2".parse::<Tag>();
        assert_eq!((version("7-0c5fe1a2"), version("\"7-0c5fe1a2\"")), (seven, seven));
        for bad in ["", "7", "-1", "\"7-0c5fe1a2", "W/\"7-0c5fe1a2\"", "*"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }
}
