//! The parameters and the response of the feed of events.

use std::str::FromStr;

use lambda_http::http::header::LINK;
use percent_encoding::utf8_percent_encode;
use tickets_domain::event::InvalidEventType;
use tickets_domain::{Epoch, Error, Event, EventFilter, EventId, EventType, EventsEnd, Fit, Timestamp};

use crate::array::JsonArray;
use crate::headers::{SYNC_EPOCH, SYNC_UNTIL};
use crate::parameters::{Parameters, QUERY, limit, time};
use crate::reply::header;
use crate::{Problem, Request, Response, reply};

const AFTER: &str = "after";
const SINCE: &str = "since";
const TYPE: &str = "type";
const LIMIT: &str = "limit";

/// Every parameter of the feed.
pub const PARAMETERS: [&str; 4] = [AFTER, SINCE, TYPE, LIMIT];

/// Parses the parameters of a request for events.
///
/// # Errors
/// 400 with every violation.
pub fn filter(given: Vec<(&str, &str)>) -> Result<EventFilter, Problem> {
    let mut parameters = Parameters::new(given);
    let filter = EventFilter {
        after: parameters.take(AFTER, EventId::from_str),
        since: parameters.take(SINCE, time::<Timestamp>),
        types: parameters.take_any(TYPE, types).unwrap_or_default(),
        limit: parameters.take(LIMIT, limit),
    };
    let violations = parameters.finish(&PARAMETERS);
    if violations.is_empty() { Ok(filter) } else { Err(Error::InvalidParameters(violations).into()) }
}

fn types(text: &str) -> Result<Vec<EventType>, InvalidEventType> {
    text.split(',').map(EventType::from_str).collect()
}

/// The query of the page that goes on at this place.
fn next(filter: &EventFilter, (name, place): (&str, String)) -> String {
    let types: Vec<_> = filter.types.iter().map(|kind| kind.name()).collect();
    let types = (!types.is_empty()).then(|| (TYPE, types.join(",")));
    let limit = filter.limit.map(|limit| (LIMIT, limit.to_string()));
    let pairs = types.into_iter().chain(limit).chain([(name, place)]);
    let pairs = pairs.map(|(name, value)| format!("{name}={}", utf8_percent_encode(&value, QUERY)));
    format!("?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The response with a page of events, while it is written.
#[derive(Debug, Default)]
pub struct EventsReply {
    array: JsonArray,
    last: Option<EventId>,
}

impl EventsReply {
    /// Adds an event if it still fits. The first always fits.
    pub fn push(&mut self, event: &Event) -> Fit {
        let fit = self.array.push(event);
        if fit == Fit::Added {
            self.last = Some(event.id);
        }
        fit
    }

    /// The response. If there may be more events, it has a `Link` to the next page.
    pub fn finish(
        self,
        request: &Request,
        filter: &EventFilter,
        end: EventsEnd,
        epoch: &Epoch,
        sync_until: Timestamp,
    ) -> Result<Response, Problem> {
        let mut response = reply::json(self.array.into_text()?);
        let headers = response.headers_mut();
        headers.insert(SYNC_UNTIL, header(&sync_until.to_string())?);
        headers.insert(SYNC_EPOCH, header(&epoch.to_string())?);
        let place = match end {
            EventsEnd::Complete => None,
            EventsEnd::Full => self.last.map(|last| (AFTER, last.to_string())),
            // No event's id: the last one that was read may be one that the caller may not see.
            EventsEnd::Paused(reached) => Some((SINCE, reached.to_string())),
        };
        if let Some(place) = place {
            let next = format!("{}{}", request.path(), next(filter, place));
            headers.insert(LINK, header(&format!("<{next}>; rel=\"next\""))?);
        }
        Ok(response)
    }
}
