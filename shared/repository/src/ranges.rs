//! The ranges of ids that imports and restores moved the counter past. They are an item of their own, because every
//! create pays for the size of the counter's item.
//!
//! The counter and its ranges have to change together, and there are no transactions. So a list of ranges never
//! changes: a new one is put under an id of its own, and then one update of the counter moves `last` and names the
//! list. A list that no counter names was put by a move that came too late. Lists that were replaced stay, for
//! readers that have read the counter before.

use std::sync::{Arc, PoisonError};

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use tickets_domain::{Error, Result};

use crate::failure::Failure;
use crate::item;
use crate::primary_key::PrimaryKey;
use crate::tickets::Tickets;

/// A range of ids, first and last.
pub(crate) type IdRange = (u64, u64);

/// A range of ids that are free for imported records, first and last; and when the last id ahead of it was
/// reserved, in milliseconds, or 0.
pub(crate) type FreeRange = (u64, u64, i64);

/// The ranges that belong to a state of the counter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ranges {
    /// Ids that were never given out. A walk skips them.
    #[serde(default)]
    pub(crate) skipped: Vec<IdRange>,
    /// Ids that imports may use.
    #[serde(default)]
    pub(crate) moved: Vec<FreeRange>,
}

#[derive(Serialize)]
struct RangesItem<'a> {
    bucket: String,
    id: u64,
    skipped: &'a [IdRange],
    moved: &'a [FreeRange],
}

/// A list of ranges, with its id.
pub(crate) type NamedRanges = (u64, Arc<Ranges>);

impl Ranges {
    fn is_empty(&self) -> bool {
        self.skipped.is_empty() && self.moved.is_empty()
    }
}

impl Tickets {
    /// The ranges of a counter: those in the list that it names, and those in its own item, where earlier versions
    /// put them.
    pub(crate) async fn ranges(&self, named: Option<u64>, own: Ranges) -> Result<Arc<Ranges>> {
        let Some(id) = named else { return Ok(Arc::new(own)) };
        let known = self.known_ranges.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut ranges = match known {
            Some((known, ranges)) if known == id => ranges,
            _ => {
                let found = self.read(PrimaryKey::ranges(id)).await?;
                let found =
                    found.ok_or_else(|| Error::internal("the counter names ranges that are not there"))?;
                let ranges = Arc::new(item::from_item(found)?);
                let read = Some((id, Arc::clone(&ranges)));
                *self.known_ranges.lock().unwrap_or_else(PoisonError::into_inner) = read;
                ranges
            }
        };
        if !own.is_empty() {
            let ranges = Arc::make_mut(&mut ranges);
            ranges.skipped.extend(own.skipped);
            ranges.moved.extend(own.moved);
        }
        Ok(ranges)
    }

    /// Puts a list of ranges, and returns the update that moves the counter to `next` and names the list, if it
    /// still is at `last` (`None` if there is no counter). The caller names what else it sets in `sets`.
    pub(crate) async fn move_counter(
        &self,
        last: Option<u64>,
        next: u64,
        ranges: &Ranges,
        sets: &str,
    ) -> Result<UpdateItemFluentBuilder> {
        let number = |number: u64| AttributeValue::N(number.to_string());
        // Numbers of DynamoDB are exact to 38 digits; those of other readers often only to 2^53.
        let key = PrimaryKey::ranges(fastrand::u64(1..1 << 53));
        let Ranges { skipped, moved } = ranges;
        let item = RangesItem { bucket: key.bucket.clone(), id: key.id, skipped, moved };
        let put = self.dynamodb.client().put_item().table_name(&self.table);
        put.set_item(Some(item::to_item(item)?)).send().await.map_err(Failure::of)?;
        let update = self
            .update_counter()
            .update_expression(format!(
                "SET #last = :next, #ranges = :ranges, {sets} REMOVE #skipped, #moved"
            ))
            .expression_attribute_names("#last", "last")
            .expression_attribute_names("#ranges", "ranges")
            .expression_attribute_names("#skipped", "skipped")
            .expression_attribute_names("#moved", "moved")
            .expression_attribute_values(":next", number(next))
            .expression_attribute_values(":ranges", number(key.id));
        Ok(match last {
            None => update.condition_expression("attribute_not_exists(#last)"),
            Some(last) => update
                .condition_expression("#last = :last")
                .expression_attribute_values(":last", number(last)),
        })
    }
}
