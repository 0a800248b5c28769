//! The table of webhooks: an item for each, with how far it has come.
//!
//! One run at a time sends a webhook's events. It holds a lease, which is in the item, and every save is on the
//! condition that it still does. A run that dies loses its lease by time. An operator's change takes the lease away, so
//! that no run saves what it knew before.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use tickets_domain::delivery::{Delivery, Disabled, Hold, Wait};
use tickets_domain::webhook::{Secret, Secrets, State, WebhookUrl};
use tickets_domain::{
    Clock, CustomerId, Error, EventId, EventType, Meter, Result, Timestamp, Webhook, WebhookId,
};

use crate::dynamodb::DynamoDb;
use crate::failure::{Failure, WriteError};
use crate::item::{self, Item, millis};

/// How long a lease lasts from the last save: longer than a look at the feed, its requests, and a save.
pub const LEASE: Duration = Duration::from_secs(30);

/// The partition of all webhooks. They are few, and always read together.
const KIND: &str = "webhook";
/// The attributes of a lease: the run that holds it, and until when.
const LEASE_ATTRIBUTES: [&str; 2] = ["leaseHolder", "leaseUntil"];

/// The table of webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    dynamodb: DynamoDb,
    table: String,
    clock: Clock,
}

/// The webhooks of a table.
#[derive(Debug, Default)]
pub struct WebhookList {
    /// Sorted by id.
    pub webhooks: Vec<Webhook>,
    /// The ids of items that are no webhooks, because attributes are missing or wrong. Nothing is sent for them.
    pub broken: Vec<String>,
}

/// The right to send a webhook's events.
#[derive(Debug)]
pub struct Lease {
    /// The webhook, as it was when the lease was taken.
    pub webhook: Webhook,
    holder: String,
}

/// The result of asking for a lease.
#[derive(Debug)]
pub enum Leased {
    Taken(Box<Lease>),
    /// Another run holds it, or the webhook was deleted.
    Held,
    /// The webhook is not active.
    Inactive,
}

/// The result of saving how far a webhook has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    Done,
    /// The lease was lost: nothing was saved, and another run goes on.
    LeaseLost,
}

impl Webhooks {
    /// Its writes may be repeated: each takes effect once.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>, clock: Clock) -> Self {
        Self { dynamodb: dynamodb.repeating_writes(), table: table.into(), clock }
    }

    /// The same table, with a meter that counts what its calls consume.
    #[must_use]
    pub fn metered(&self, meter: Meter) -> Self {
        Self { dynamodb: self.dynamodb.metered(meter), ..self.clone() }
    }

    /// Stores a new webhook.
    pub async fn insert(&self, webhook: &Webhook) -> Result<()> {
        let item = item::to_item(WebhookItem::from(webhook))?;
        // No condition: no two webhooks get the same random id, and a repeated put must not fail.
        let put = self.dynamodb.put_item().table_name(&self.table).set_item(Some(item));
        self.dynamodb.wrote(put.send().await)?;
        Ok(())
    }

    /// Returns every webhook. A broken one does not hide the others.
    pub async fn list(&self) -> Result<WebhookList> {
        let (mut list, mut start) = (WebhookList::default(), None);
        loop {
            let query = self
                .dynamodb
                .query()
                .table_name(&self.table)
                .key_condition_expression("#kind = :kind")
                .expression_attribute_names("#kind", "kind")
                .expression_attribute_values(":kind", AttributeValue::S(KIND.into()))
                .set_exclusive_start_key(start);
            let output = self.dynamodb.read(query.send().await)?;
            for item in output.items.unwrap_or_default() {
                let id = item.get("webhookId").and_then(|id| id.as_s().ok()).cloned();
                match webhook(item) {
                    Ok(webhook) => list.webhooks.push(webhook),
                    Err(_) => list.broken.push(id.unwrap_or_default()),
                }
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(list);
            }
        }
    }

    /// Returns a webhook.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn get(&self, id: &WebhookId) -> Result<Webhook> {
        webhook(self.item(id).await?)
    }

    async fn item(&self, id: &WebhookId) -> Result<Item> {
        let get =
            self.dynamodb.get_item().table_name(&self.table).set_key(Some(key(id))).consistent_read(true);
        self.dynamodb.read(get.send().await)?.item.ok_or(Error::NotFound)
    }

    /// Sends no more events of a webhook.
    pub async fn pause(&self, id: &WebhookId) -> Result<()> {
        let update = self.change(id, "SET #state = :state", &["disabled"]);
        self.send(
            update
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":state", item::to_attribute(StateItem::Paused)?),
        )
        .await
    }

    /// Sends a webhook's events again: from where it stopped, or as `from` says.
    pub async fn resume(&self, id: &WebhookId, from: Option<Delivery>) -> Result<()> {
        let delivery = match from {
            Some(delivery) => delivery,
            None => {
                let mut delivery = self.get(id).await?.delivery;
                delivery.retry_now();
                delivery
            }
        };
        let update = self.change(id, "SET #state = :state, #delivery = :delivery", &["disabled"]);
        let update = update
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#delivery", "delivery")
            .expression_attribute_values(":state", item::to_attribute(StateItem::Active)?)
            .expression_attribute_values(":delivery", item::to_attribute(DeliveryItem::from(&delivery))?);
        self.send(update).await
    }

    /// Gives a webhook a new secret. The current one is used beside it until `former_ends`.
    pub async fn rotate(&self, id: &WebhookId, secret: &Secret, former_ends: Timestamp) -> Result<()> {
        let former =
            FormerSecretItem { secret: self.get(id).await?.secrets.current.reveal(), ends: former_ends };
        // After a lost answer the repeated call would make the new secret the former one, too.
        let update = self
            .change(id, "SET #secret = :secret, #former = :former", &[])
            .condition_expression("#secret = :old OR #secret = :secret")
            .expression_attribute_names("#secret", "secret")
            .expression_attribute_names("#former", "former")
            .expression_attribute_values(":old", item::to_attribute(&former.secret)?)
            .expression_attribute_values(":secret", item::to_attribute(secret.reveal())?)
            .expression_attribute_values(":former", item::to_attribute(former)?);
        self.dynamodb.wrote(update.send().await)?;
        Ok(())
    }

    /// Deletes a webhook, or a broken one.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn delete(&self, id: &WebhookId) -> Result<()> {
        self.item(id).await?;
        let delete = self.dynamodb.client().delete_item().table_name(&self.table).set_key(Some(key(id)));
        delete.send().await.map_err(Failure::of)?;
        Ok(())
    }

    /// Takes the lease of an active webhook, unless another run holds it.
    pub async fn lease(&self, id: &WebhookId) -> Result<Leased> {
        let (now, holder) = (self.clock.now(), format!("{:016x}", fastrand::u64(..)));
        let update = self
            .update(id)
            .update_expression("SET #holder = :holder, #until = :until")
            // A repeated call finds its own lease.
            .condition_expression(
                "#state = :active AND (attribute_not_exists(#until) OR #until < :now OR #holder = :holder)",
            )
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#holder", LEASE_ATTRIBUTES[0])
            .expression_attribute_names("#until", LEASE_ATTRIBUTES[1])
            .expression_attribute_values(":active", item::to_attribute(StateItem::Active)?)
            .expression_attribute_values(":holder", AttributeValue::S(holder.clone()))
            .expression_attribute_values(":now", time(now))
            .expression_attribute_values(":until", time(now.plus(LEASE)))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew);
        match self.dynamodb.wrote(update.send().await) {
            Ok(output) => {
                let item = output.attributes.ok_or_else(|| Error::internal("an update without its item"))?;
                Ok(Leased::Taken(Box::new(Lease { webhook: webhook(item)?, holder })))
            }
            Err(WriteError::ConditionFailed(found)) => match found.map(webhook).transpose()? {
                Some(webhook) if !webhook.is_active() => Ok(Leased::Inactive),
                // Not every engine returns the item that is there.
                Some(_) | None => Ok(Leased::Held),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Saves how far a webhook has come, its state and its last answer. Extends the lease, or gives it back.
    pub async fn save(&self, lease: &Lease, give_back: bool) -> Result<Saved> {
        let Lease { webhook, holder } = lease;
        let (state, disabled) = StateItem::of(webhook.state);
        let mut set = vec![("state", item::to_attribute(state)?)];
        set.push(("delivery", item::to_attribute(DeliveryItem::from(&webhook.delivery))?));
        if let Some(disabled) = disabled {
            set.push(("disabled", item::to_attribute(disabled)?));
        }
        if let Some((answer, at)) = &webhook.last_answer {
            set.push(("lastAnswer", item::to_attribute(AnswerItem { answer: answer.clone(), at: *at })?));
        }
        if !give_back {
            set.push((LEASE_ATTRIBUTES[1], time(self.clock.now().plus(LEASE))));
        }
        let assignments: Vec<_> = set.iter().map(|(name, _)| format!("#{name} = :{name}")).collect();
        let mut expression = format!("SET {}", assignments.join(", "));
        let mut update = self
            .update(&webhook.id)
            .expression_attribute_names("#leaseHolder", LEASE_ATTRIBUTES[0])
            .expression_attribute_values(":leaseHolder", AttributeValue::S(holder.clone()));
        // A lease that was given back is no other run's: a repeated call finds it so.
        let mut condition = "#leaseHolder = :leaseHolder".to_owned();
        if give_back {
            expression.push_str(" REMOVE #leaseUntil");
            update = update.expression_attribute_names("#leaseUntil", LEASE_ATTRIBUTES[1]);
        } else {
            condition.push_str(" AND attribute_exists(#leaseUntil)");
        }
        let update = set.into_iter().fold(update, |update, (name, value)| {
            update
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), value)
        });
        let update = update.update_expression(expression).condition_expression(condition);
        match self.dynamodb.wrote(update.send().await) {
            Ok(_) => Ok(Saved::Done),
            Err(WriteError::ConditionFailed(_)) => Ok(Saved::LeaseLost),
            Err(error) => Err(error.into()),
        }
    }

    fn update(&self, id: &WebhookId) -> UpdateItemFluentBuilder {
        self.dynamodb.update_item().table_name(&self.table).set_key(Some(key(id)))
    }

    /// An operator's change, which takes the lease away, and removes these attributes too.
    fn change(&self, id: &WebhookId, set: &str, remove: &[&str]) -> UpdateItemFluentBuilder {
        let removed: Vec<_> = LEASE_ATTRIBUTES.iter().chain(remove).map(|name| format!("#{name}")).collect();
        let update = self.update(id).update_expression(format!("{set} REMOVE {}", removed.join(", ")));
        let names = LEASE_ATTRIBUTES.iter().chain(remove);
        names.fold(update, |update, name| update.expression_attribute_names(format!("#{name}"), *name))
    }

    /// Sends an operator's change.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such webhook.
    async fn send(&self, update: UpdateItemFluentBuilder) -> Result<()> {
        let update = update.condition_expression("attribute_exists(#id)");
        match self.dynamodb.wrote(update.expression_attribute_names("#id", "webhookId").send().await) {
            Ok(_) => Ok(()),
            Err(WriteError::ConditionFailed(_)) => Err(Error::NotFound),
            Err(error) => Err(error.into()),
        }
    }
}

fn key(id: &WebhookId) -> Item {
    Item::from([
        ("kind".into(), AttributeValue::S(KIND.into())),
        ("webhookId".into(), AttributeValue::S(id.to_string())),
    ])
}

fn time(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.millis().to_string())
}

#[derive(Serialize, Deserialize)]
struct WebhookItem {
    kind: String,
    #[serde(rename = "webhookId")]
    id: WebhookId,
    url: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer: Option<CustomerId>,
    secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<FormerSecretItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(with = "millis")]
    created: Timestamp,
    #[serde(default, rename = "createdBy", skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    state: StateItem,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disabled: Option<DisabledItem>,
    delivery: DeliveryItem,
    #[serde(default, rename = "lastAnswer", skip_serializing_if = "Option::is_none")]
    last_answer: Option<AnswerItem>,
}

/// The secret that a webhook had before.
#[derive(Serialize, Deserialize)]
struct FormerSecretItem {
    secret: String,
    #[serde(with = "millis")]
    ends: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateItem {
    Active,
    Paused,
    Disabled,
}

#[derive(Serialize, Deserialize)]
struct DisabledItem {
    reason: ReasonItem,
    #[serde(with = "millis")]
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReasonItem {
    Gone,
    Failing,
}

#[derive(Serialize, Deserialize)]
struct AnswerItem {
    answer: String,
    #[serde(with = "millis")]
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct DeliveryItem {
    cursor: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accepted: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<HeldItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing: Option<WaitItem>,
}

#[derive(Serialize, Deserialize)]
struct HeldItem {
    id: String,
    /// Absent if an earlier event of its ticket is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<WaitItem>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    refused: bool,
}

#[derive(Serialize, Deserialize)]
struct WaitItem {
    #[serde(with = "millis")]
    since: Timestamp,
    errors: u32,
    #[serde(with = "millis")]
    until: Timestamp,
}

impl StateItem {
    fn of(state: State) -> (Self, Option<DisabledItem>) {
        match state {
            State::Active => (Self::Active, None),
            State::Paused => (Self::Paused, None),
            State::Disabled(disabled, at) => {
                let reason = match disabled {
                    Disabled::Gone => ReasonItem::Gone,
                    Disabled::Failing => ReasonItem::Failing,
                };
                (Self::Disabled, Some(DisabledItem { reason, at }))
            }
        }
    }
}

impl From<Wait> for WaitItem {
    fn from(Wait { since, errors, until }: Wait) -> Self {
        Self { since, errors, until }
    }
}

impl From<WaitItem> for Wait {
    fn from(WaitItem { since, errors, until }: WaitItem) -> Self {
        Self { since, errors, until }
    }
}

impl From<&Delivery> for DeliveryItem {
    fn from(Delivery { cursor, accepted, held, failing }: &Delivery) -> Self {
        let held = held.iter().map(|(id, hold)| HeldItem {
            id: id.to_string(),
            wait: hold.wait().map(WaitItem::from),
            refused: matches!(hold, Hold::Refused(_)),
        });
        Self {
            cursor: cursor.to_string(),
            accepted: accepted.iter().map(EventId::to_string).collect(),
            held: held.collect(),
            failing: failing.map(WaitItem::from),
        }
    }
}

impl DeliveryItem {
    fn parse(self) -> Result<Delivery> {
        let id = |text: String| text.parse::<EventId>().map_err(Error::internal);
        let held = self.held.into_iter().map(|held| {
            let hold = match held.wait.map(Wait::from) {
                None => Hold::Behind,
                Some(wait) if held.refused => Hold::Refused(wait),
                Some(wait) => Hold::Failed(wait),
            };
            Ok((id(held.id)?, hold))
        });
        Ok(Delivery {
            cursor: id(self.cursor)?,
            accepted: self.accepted.into_iter().map(id).collect::<Result<_>>()?,
            held: held.collect::<Result<_>>()?,
            failing: self.failing.map(Wait::from),
        })
    }
}

impl From<&Webhook> for WebhookItem {
    fn from(webhook: &Webhook) -> Self {
        let (state, disabled) = StateItem::of(webhook.state);
        let former = webhook.secrets.former.as_ref();
        Self {
            kind: KIND.to_owned(),
            id: webhook.id.clone(),
            url: webhook.url.to_string(),
            types: webhook.types.iter().map(EventType::to_string).collect(),
            customer: webhook.customer,
            secret: webhook.secrets.current.reveal(),
            former: former.map(|(secret, ends)| FormerSecretItem { secret: secret.reveal(), ends: *ends }),
            note: webhook.note.clone(),
            created: webhook.created,
            created_by: webhook.created_by.clone(),
            state,
            disabled,
            delivery: DeliveryItem::from(&webhook.delivery),
            last_answer: webhook.last_answer.clone().map(|(answer, at)| AnswerItem { answer, at }),
        }
    }
}

fn webhook(item: Item) -> Result<Webhook> {
    let item: WebhookItem = item::from_item(item)?;
    let secret = |text: &str| text.parse::<Secret>().map_err(Error::internal);
    let types = item.types.iter().map(|name| name.parse::<EventType>().map_err(Error::internal));
    let state = match (item.state, item.disabled) {
        (StateItem::Active, _) => State::Active,
        (StateItem::Paused, _) => State::Paused,
        (StateItem::Disabled, disabled) => {
            let disabled = disabled.ok_or_else(|| Error::internal("a webhook disabled for no reason"))?;
            let reason = match disabled.reason {
                ReasonItem::Gone => Disabled::Gone,
                ReasonItem::Failing => Disabled::Failing,
            };
            State::Disabled(reason, disabled.at)
        }
    };
    Ok(Webhook {
        id: item.id,
        url: item.url.parse::<WebhookUrl>().map_err(Error::internal)?,
        types: types.collect::<Result<_>>()?,
        customer: item.customer,
        secrets: Secrets {
            current: secret(&item.secret)?,
            former: item
                .former
                .map(|former| Ok::<_, Error>((secret(&former.secret)?, former.ends)))
                .transpose()?,
        },
        note: item.note,
        created: item.created,
        created_by: item.created_by,
        state,
        delivery: item.delivery.parse()?,
        last_answer: item.last_answer.map(|AnswerItem { answer, at }| (answer, at)),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::{schema, scripted};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(scripted::NOW + millis).unwrap()
    }

    fn event(millis: i64) -> EventId {
        EventId::new(at(millis), 43.try_into().unwrap(), tickets_domain::Version::new(2))
    }

    fn a_webhook() -> Webhook {
        Webhook {
            id: WebhookId::generate().unwrap(),
            url: "https://example.com/".parse().unwrap(),
            types: Vec::new(),
            customer: None,
            secrets: Secrets::new(Secret::generate().unwrap()),
            note: None,
            created: at(0),
            created_by: None,
            state: State::Active,
            delivery: Delivery::since(at(0)),
            last_answer: None,
        }
    }

    /// The table, and its time in milliseconds after [`scripted::NOW`].
    async fn table() -> (Webhooks, Arc<AtomicI64>) {
        let (tickets, _) = scripted::engine(0).await;
        schema::create_webhook_table(&tickets.dynamodb, schema::WEBHOOKS).await.unwrap();
        let millis = Arc::new(AtomicI64::new(0));
        let shown = Arc::clone(&millis);
        let clock = Clock::new(move || at(shown.load(Ordering::Relaxed)));
        (Webhooks::new(tickets.dynamodb, schema::WEBHOOKS, clock), millis)
    }

    async fn lease(webhooks: &Webhooks, id: &WebhookId) -> Option<Lease> {
        match webhooks.lease(id).await.unwrap() {
            Leased::Taken(lease) => Some(*lease),
            Leased::Held | Leased::Inactive => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_is_read_as_it_was_stored() {
        let (webhooks, _) = table().await;
        let wait = Wait { since: at(1), errors: 3, until: at(2) };
        let full = Webhook {
            types: vec![EventType::Created, EventType::Deleted],
            customer: 7.try_into().ok(),
            secrets: Secrets {
                current: Secret::generate().unwrap(),
                former: Some((Secret::generate().unwrap(), at(5))),
            },
            note: Some("the CRM".into()),
            created_by: Some("ada".into()),
            state: State::Disabled(Disabled::Gone, at(9)),
            delivery: Delivery {
                cursor: event(3),
                accepted: BTreeSet::from([event(4), event(5)]),
                held: BTreeMap::from([
                    (event(1), Hold::Refused(wait)),
                    (event(2), Hold::Failed(wait)),
                    (event(3), Hold::Behind),
                ]),
                failing: Some(wait),
            },
            last_answer: Some(("410".into(), at(8))),
            ..a_webhook()
        };
        let state = State::Disabled(Disabled::Failing, at(1));
        for webhook in [
            full,
            a_webhook(),
            Webhook { state, ..a_webhook() },
            Webhook { state: State::Paused, ..a_webhook() },
        ] {
            webhooks.insert(&webhook).await.unwrap();
            assert_eq!(webhooks.get(&webhook.id).await.unwrap(), webhook);
            assert_eq!(webhooks.list().await.unwrap().webhooks, std::slice::from_ref(&webhook));
            webhooks.delete(&webhook.id).await.unwrap();
            assert!(matches!(webhooks.get(&webhook.id).await, Err(Error::NotFound)));
            assert!(matches!(webhooks.delete(&webhook.id).await, Err(Error::NotFound)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_webhook_is_listed_as_one_beside_the_others_and_can_be_deleted() {
        let (webhooks, _) = table().await;
        let (sound, broken) = (a_webhook(), a_webhook());
        webhooks.insert(&sound).await.unwrap();
        webhooks.insert(&broken).await.unwrap();
        let update = webhooks.update(&broken.id).update_expression("REMOVE #secret");
        update.expression_attribute_names("#secret", "secret").send().await.unwrap();
        let list = webhooks.list().await.unwrap();
        assert_eq!((list.webhooks, list.broken), (vec![sound], vec![broken.id.to_string()]));
        webhooks.delete(&broken.id).await.unwrap();
        assert!(webhooks.list().await.unwrap().broken.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_run_at_a_time_holds_the_lease_and_one_that_died_loses_it() {
        let (webhooks, now) = table().await;
        let webhook = a_webhook();
        webhooks.insert(&webhook).await.unwrap();
        let mut first = lease(&webhooks, &webhook.id).await.unwrap();
        assert!(matches!(webhooks.lease(&webhook.id).await.unwrap(), Leased::Held));
        // A save extends it.
        now.store(20_000, Ordering::Relaxed);
        first.webhook.delivery.cursor = event(1);
        assert_eq!(webhooks.save(&first, false).await.unwrap(), Saved::Done);
        now.store(50_000, Ordering::Relaxed);
        assert!(matches!(webhooks.lease(&webhook.id).await.unwrap(), Leased::Held));
        now.store(50_001, Ordering::Relaxed);
        let mut second = lease(&webhooks, &webhook.id).await.unwrap();
        assert_eq!(second.webhook.delivery.cursor, event(1), "it goes on from the last save");
        first.webhook.delivery.cursor = event(2);
        for give_back in [false, true] {
            assert_eq!(webhooks.save(&first, give_back).await.unwrap(), Saved::LeaseLost);
        }
        second.webhook.delivery.cursor = event(3);
        assert_eq!(webhooks.save(&second, true).await.unwrap(), Saved::Done);
        assert_eq!(webhooks.get(&webhook.id).await.unwrap().delivery.cursor, event(3));
        assert!(lease(&webhooks, &webhook.id).await.is_some(), "it was given back");
        assert_eq!(webhooks.save(&second, true).await.unwrap(), Saved::LeaseLost);
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_s_change_takes_the_lease_away() {
        let (webhooks, _) = table().await;
        let webhook = a_webhook();
        webhooks.insert(&webhook).await.unwrap();
        let mut run = lease(&webhooks, &webhook.id).await.unwrap();
        run.webhook.delivery.cursor = event(9);
        webhooks.pause(&webhook.id).await.unwrap();
        assert_eq!(webhooks.save(&run, false).await.unwrap(), Saved::LeaseLost);
        assert!(matches!(webhooks.lease(&webhook.id).await.unwrap(), Leased::Inactive));
        webhooks.resume(&webhook.id, None).await.unwrap();
        assert_eq!(webhooks.get(&webhook.id).await.unwrap(), webhook);
        let run = lease(&webhooks, &webhook.id).await.unwrap();
        webhooks.resume(&webhook.id, Some(Delivery::after(event(5)))).await.unwrap();
        assert_eq!(webhooks.save(&run, true).await.unwrap(), Saved::LeaseLost);
        assert_eq!(webhooks.get(&webhook.id).await.unwrap().delivery, Delivery::after(event(5)));
        let secret = Secret::generate().unwrap();
        let run = lease(&webhooks, &webhook.id).await.unwrap();
        webhooks.rotate(&webhook.id, &secret, at(60)).await.unwrap();
        assert_eq!(
            webhooks.save(&run, true).await.unwrap(),
            Saved::LeaseLost,
            "it would sign with the old secret"
        );
        let secrets = webhooks.get(&webhook.id).await.unwrap().secrets;
        assert_eq!(secrets, Secrets { current: secret, former: Some((webhook.secrets.current, at(60))) });
        webhooks.delete(&webhook.id).await.unwrap();
        assert!(lease(&webhooks, &webhook.id).await.is_none());
        assert!(matches!(webhooks.pause(&webhook.id).await, Err(Error::NotFound)));
        assert!(matches!(webhooks.resume(&webhook.id, None).await, Err(Error::NotFound)));
        assert!(matches!(
            webhooks.rotate(&webhook.id, &Secret::generate().unwrap(), at(1)).await,
            Err(Error::NotFound)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_resumed_webhook_tries_again_at_once() {
        let (webhooks, _) = table().await;
        let wait = Wait { since: at(0), errors: 9, until: at(3_600_000) };
        let mut webhook = a_webhook();
        webhook.delivery.failing = Some(wait);
        webhook.delivery.held.insert(event(1), Hold::Refused(wait));
        webhook.state = State::Disabled(Disabled::Failing, at(1));
        webhooks.insert(&webhook).await.unwrap();
        webhooks.resume(&webhook.id, None).await.unwrap();
        let resumed = webhooks.get(&webhook.id).await.unwrap();
        assert!(resumed.is_active());
        let held = BTreeMap::from([(event(1), Hold::Behind)]);
        assert_eq!(resumed.delivery, Delivery { held, failing: None, ..webhook.delivery });
    }
}
