//! `tickets webhooks`: makes, lists, tries and stops webhooks.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use console::Style;
use deliver_webhooks::send::Request;
use deliver_webhooks::{Behind, Deliverer, HttpSender, Sender};
use serde_json::json;
use tickets_app::Config;
use tickets_domain::delivery::{Delivery, Hold, Verdict};
use tickets_domain::webhook::{Message, Secret, Secrets, State, WebhookUrl};
use tickets_domain::{Clock, CustomerId, EventId, EventType, Timestamp, Webhook, WebhookId};
use tickets_repository::http_client::is_on_this_machine;
use tickets_repository::{Webhooks as Store, schema};

use super::keys::duration;
use crate::error::CommandError;
use crate::operator::connect::{Opened, local_data, open};
use crate::output::{Table, Text, note, print, print_json, sanitize};

/// Make, list, try and stop webhooks: who is told of changes
#[derive(Debug, Clone, Args)]
pub struct Webhooks {
    #[command(subcommand)]
    action: Action,
    /// Database to use; without this and --data, the one in .tickets if that exists and no table is named,
    /// else that of your AWS configuration
    #[arg(long, global = true, env = "AWS_ENDPOINT_URL_DYNAMODB", value_name = "URL")]
    endpoint_url: Option<String>,
    /// Local data directory to use, as `tickets serve` does
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "endpoint_url")]
    data: Option<PathBuf>,
    /// Name of the table of webhooks
    #[arg(long, global = true, env = "WEBHOOKS_TABLE", default_value = schema::WEBHOOKS, value_name = "NAME")]
    webhooks_table: String,
    /// Name of the history's table, which says how far behind a webhook is
    #[arg(long, global = true, env = "HISTORY_TABLE", default_value = schema::HISTORY, value_name = "NAME")]
    history_table: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Make a webhook; its secret is shown once
    Create(Create),
    /// List the webhooks, and how far behind each is
    List,
    /// Show a webhook, and the events that its receiver has refused
    Show {
        /// The webhook's id
        id: WebhookId,
    },
    /// Send no more events; what happens meanwhile is sent after `resume`
    Pause {
        /// The webhook's id
        id: WebhookId,
    },
    /// Send events again, from where it stopped: a paused webhook's, a disabled one's, or at once a failing one's
    Resume {
        /// The webhook's id
        id: WebhookId,
        /// Where to begin instead: now, after the event with this id, or with what was recorded since a date or time
        #[arg(long, value_name = "now|ID|TIME", value_parser = from)]
        from: Option<From>,
    },
    /// Give a webhook a new secret, shown once; for a while requests are signed with both
    Rotate {
        /// The webhook's id
        id: WebhookId,
        /// How long the old secret still lasts, in minutes, hours or days like 30m, 24h, 7d; 0m if it has leaked
        #[arg(long, default_value = "24h", value_name = "TIME", value_parser = duration)]
        old_lasts: Duration,
    },
    /// Send a signed message of type webhook.test now, and print what the receiver answers
    Test {
        /// The webhook's id
        id: WebhookId,
    },
    /// Delete a webhook
    Delete {
        /// The webhook's id
        id: WebhookId,
    },
}

#[derive(Debug, Clone, Args)]
struct Create {
    /// Where events are sent: an https URL; for a local database also http://127.0.0.1:PORT/
    url: WebhookUrl,
    /// Only events of these types: ticket.created, ticket.updated, ticket.deleted
    #[arg(long, value_delimiter = ',', value_name = "TYPE,…")]
    types: Vec<EventType>,
    /// Only events of this customer's tickets
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// Where to begin: now, after the event with this id, or with what was recorded since a date or time
    #[arg(long, default_value = "now", value_name = "now|ID|TIME", value_parser = from)]
    from: From,
    /// Whose receiver it is: a note for people
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Who makes the webhook, as `webhooks show` says; the user of this machine if not given
    #[arg(long, env = "USER", hide_env = true, value_name = "NAME")]
    by: Option<String>,
}

/// Where a webhook begins.
#[derive(Debug, Clone, Copy)]
enum From {
    Now,
    After(EventId),
    Since(Timestamp),
}

fn from(text: &str) -> Result<From, String> {
    match (text, text.parse(), text.parse()) {
        ("now", _, _) => Ok(From::Now),
        (_, Ok(id), _) => Ok(From::After(id)),
        (_, _, Ok(time)) => Ok(From::Since(time)),
        _ => Err("must be now, the id of an event, or a date or time like 2026-11-23T17:45:00Z".to_owned()),
    }
}

impl From {
    fn delivery(self, now: Timestamp) -> Delivery {
        match self {
            Self::Now => Delivery::since(now),
            Self::After(id) => Delivery::after(id),
            Self::Since(time) => Delivery::since(time),
        }
    }
}

/// What the actions work with.
struct Tools {
    store: Store,
    deliverer: Deliverer<HttpSender>,
    sender: HttpSender,
    clock: Clock,
    /// Whether the database is on this machine: then receivers may be, too.
    is_local: bool,
    /// Stays open as long as the tables are used.
    _opened: Opened,
}

impl Webhooks {
    pub async fn run(self) -> Result<(), CommandError> {
        let is_local_name = self.webhooks_table == schema::WEBHOOKS;
        let data = self.data.clone().or_else(|| {
            local_data(self.endpoint_url.as_deref(), is_local_name, "webhooks", "--webhooks-table")
        });
        let opened = open(self.endpoint_url.as_deref(), data.as_ref()).await?;
        let is_local = opened.local.is_some() || self.endpoint_url.as_deref().is_some_and(is_on_this_machine);
        let config = Config {
            webhooks_table: self.webhooks_table,
            history_table: self.history_table,
            ..Config::from_env()?
        };
        let (clock, sender) = (Clock::system(), HttpSender::new(is_local)?);
        let dynamodb = opened.dynamodb.clone();
        let tools = Tools {
            store: Store::new(dynamodb.clone(), &config.webhooks_table, clock.clone()),
            deliverer: deliver_webhooks::deliverer(&config, dynamodb, clock.clone(), sender.clone()),
            sender,
            clock,
            is_local,
            _opened: opened,
        };
        let named = |id: &WebhookId| {
            let id = id.clone();
            move |error: tickets_domain::Error| match error {
                tickets_domain::Error::NotFound => CommandError::NoSuchWebhook(id),
                error => error.into(),
            }
        };
        match self.action {
            Action::Create(create) => create.run(&tools).await,
            Action::List => list(&tools).await,
            Action::Show { id } => show(&tools, tools.store.get(&id).await.map_err(named(&id))?).await,
            Action::Pause { id } => {
                tools.store.pause(&id).await.map_err(named(&id))?;
                Ok(print(format!(
                    "paused {id}; what happens meanwhile is sent after `tickets webhooks resume {id}`"
                ))?)
            }
            Action::Resume { id, from } => {
                let from = from.map(|from| from.delivery(tools.clock.now()));
                tools.store.resume(&id, from).await.map_err(named(&id))?;
                Ok(print(format!("resumed {id}"))?)
            }
            Action::Rotate { id, old_lasts } => {
                let (secret, ends) = (Secret::generate()?, tools.clock.now().plus(old_lasts));
                tools.store.rotate(&id, &secret, ends).await.map_err(named(&id))?;
                show_secret(&id, &secret)?;
                note(format!("Until {ends} requests are signed with the old secret, too."));
                Ok(())
            }
            Action::Test { id } => test(&tools, tools.store.get(&id).await.map_err(named(&id))?).await,
            Action::Delete { id } => {
                tools.store.delete(&id).await.map_err(named(&id))?;
                Ok(print(format!("deleted {id}"))?)
            }
        }
    }
}

impl Create {
    async fn run(self, tools: &Tools) -> Result<(), CommandError> {
        if self.url.is_local() && !tools.is_local {
            return Err(CommandError::Usage(format!(
                "{}: a deployment sends events only by https, to public addresses",
                self.url
            )));
        }
        let (id, secret, now) = (WebhookId::generate()?, Secret::generate()?, tools.clock.now());
        let webhook = Webhook {
            id: id.clone(),
            url: self.url,
            types: self.types,
            customer: self.customer,
            secrets: Secrets::new(secret.clone()),
            note: self.note,
            created: now,
            created_by: self.by,
            state: State::Active,
            delivery: self.from.delivery(now),
            last_answer: None,
        };
        tools.store.insert(&webhook).await?;
        show_secret(&id, &secret)
    }
}

/// Prints a webhook's secret on standard output, for scripts, and an explanation on standard error.
fn show_secret(id: &WebhookId, secret: &Secret) -> Result<(), CommandError> {
    print(format!("webhook  {id}\nsecret   {}", secret.reveal()))?;
    note(
        "This is the only time the secret is shown. Its receiver verifies requests with it: docs/events.md.",
    );
    Ok(())
}

/// The state in a word or two.
fn state(webhook: &Webhook) -> String {
    match webhook.state {
        State::Active if webhook.delivery.failing.is_some() => "failing".into(),
        State::Active => "active".into(),
        State::Paused => "paused".into(),
        State::Disabled(reason, _) => format!("disabled: {reason}"),
    }
}

/// How far behind, as `12 events, 3 min`.
fn behind(behind: Behind, now: Timestamp) -> String {
    let Behind { events, has_more, since } = behind;
    let Some(since) = since else { return "-".into() };
    let seconds = (now.millis() - since.millis()).max(0) / 1000;
    let age = match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    let (more, s) = (if has_more { "+" } else { "" }, if events == 1 { "" } else { "s" });
    format!("{events}{more} event{s}, {age}")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

fn names(types: &[EventType]) -> String {
    let names: Vec<_> = types.iter().map(EventType::to_string).collect();
    if names.is_empty() { "all".into() } else { names.join(",") }
}

async fn list(tools: &Tools) -> Result<(), CommandError> {
    let mut table = Table::new(
        ["WEBHOOK", "STATE", "BEHIND", "LAST ANSWER", "TYPES", "CUSTOMER", "URL", "NOTE"],
        &["TYPES", "CUSTOMER", "LAST ANSWER", "URL"],
    );
    let list = tools.store.list().await?;
    for webhook in list.webhooks {
        let behind = behind(tools.deliverer.behind(&webhook).await?, tools.clock.now());
        let row = [
            webhook.id.to_string(),
            state(&webhook),
            behind,
            or_dash(webhook.last_answer.map(|(answer, at)| format!("{answer} at {at}"))),
            names(&webhook.types),
            or_dash(webhook.customer.map(|customer| customer.to_string())),
            sanitize(webhook.url.as_str()).into_owned(),
            or_dash(webhook.note.map(|note| sanitize(&note).into_owned())),
        ];
        table.push(row.map(Text::new));
    }
    for id in &list.broken {
        table.push([Text::new(sanitize(id)), Text::default().styled(Style::new().red(), "broken")]);
    }
    table.print()?;
    if !list.broken.is_empty() {
        note("A broken webhook gets no events: delete it, and make another one.");
    }
    Ok(())
}

async fn show(tools: &Tools, webhook: Webhook) -> Result<(), CommandError> {
    let behind = tools.deliverer.behind(&webhook).await?;
    let held = webhook.delivery.held.iter().map(|(id, hold)| {
        let why = match hold {
            Hold::Behind => "behind another event of its ticket",
            Hold::Refused(_) => "refused",
            Hold::Failed(_) => "failed",
        };
        let wait = hold.wait();
        json!({
            "id": id, "ticket": id.ticket(), "why": why, "errors": wait.map(|wait| wait.errors),
            "since": wait.map(|wait| wait.since), "nextTry": wait.map(|wait| wait.until),
        })
    });
    let held: Vec<_> = held.collect();
    let failing = webhook.delivery.failing;
    let shown = json!({
        "webhook": webhook.id,
        "url": webhook.url.as_str(),
        "state": state(&webhook),
        "disabledDate": match webhook.state {
            State::Disabled(_, at) => Some(at),
            State::Active | State::Paused => None,
        },
        "types": names(&webhook.types),
        "customerID": webhook.customer,
        "note": webhook.note,
        "createdDate": webhook.created,
        "createdBy": webhook.created_by,
        "oldSecretEnds": webhook.secrets.former.as_ref().map(|(_, ends)| *ends),
        "cursor": webhook.delivery.cursor,
        "behind": {"events": behind.events, "more": behind.has_more, "since": behind.since},
        "lastAnswer": webhook.last_answer.as_ref().map(|(answer, at)| json!({"answer": answer, "date": at})),
        "failingSince": failing.map(|wait| wait.since),
        "nextTry": failing.map(|wait| wait.until),
        "held": held,
    });
    // Line by line, because in a line no control character is left as it is.
    for line in format!("{shown:#}").lines() {
        print_json(line)?;
    }
    Ok(())
}

async fn test(tools: &Tools, webhook: Webhook) -> Result<(), CommandError> {
    let now = tools.clock.now();
    let body = serde_json::to_string(&Message::test(&webhook.id, now)).map_err(std::io::Error::from)?;
    let id = format!("test_{:016x}", fastrand::u64(..));
    let began = Instant::now();
    let answer = tools.sender.send(Request::signed(webhook.url, &webhook.secrets, id, now, body)).await;
    let took = format!("{answer} after {} ms", began.elapsed().as_millis());
    match answer.verdict() {
        Verdict::Accepted => Ok(print(took)?),
        Verdict::Refused | Verdict::Failed(_) | Verdict::Gone => Err(CommandError::NotAccepted(took)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_begins_now_after_an_event_or_at_a_time() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let id: EventId = "019ab697e8000000000000002b0000000002".parse().unwrap();
        let begins = |text: &str| from(text).map(|from| from.delivery(now).cursor);
        assert_eq!(begins("now"), Ok(Delivery::since(now).cursor));
        assert_eq!(begins(&id.to_string()), Ok(id));
        assert_eq!(begins("2026-11-28T12:00:00Z"), Ok(Delivery::since(now).cursor));
        assert!(begins("yesterday").unwrap_err().contains("must be now, the id of an event"));
    }

    #[test]
    fn how_far_behind_a_webhook_is_is_a_number_and_an_age() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let of = |events, has_more, seconds| {
            behind(Behind { events, has_more, since: Some(now.minus(Duration::from_secs(seconds))) }, now)
        };
        assert_eq!(behind(Behind { events: 0, has_more: false, since: None }, now), "-");
        assert_eq!(of(1, false, 119), "1 event, 119 s");
        assert_eq!(of(200, true, 120), "200+ events, 2 min");
        assert_eq!(of(3, false, 7200), "3 events, 2 h");
        assert_eq!(of(3, false, 172_800), "3 events, 2 days");
    }
}
