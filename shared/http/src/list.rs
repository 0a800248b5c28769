//! A list's response: written ticket by ticket as they arrive, cut where no more fits.

use lambda_http::http::HeaderValue;
use lambda_http::http::header::LINK;
use tickets_domain::{Error, ListEnd, Listed, Row, Taken, TicketId, Timestamp};

use crate::array::JsonArray;
pub use crate::array::MAX_REPLY;
use crate::headers::{SYNC_EPOCH, SYNC_UNTIL};
use crate::query::ListQuery;
use crate::{Problem, Request, Response, reply};

/// A list being written.
#[derive(Debug, Default)]
pub struct ListReply {
    array: JsonArray,
    last: Option<TicketId>,
}

impl ListReply {
    /// Writes a record, unless it does not fit any more. One always fits.
    pub fn push(&mut self, row: &Row) -> Taken {
        let taken = self.array.push_json(&row.json);
        if taken == Taken::Accepted {
            self.last = Some(row.key.id);
        }
        taken
    }

    /// The response to a list that was read. If there are more records, they are a `Link` away.
    ///
    /// # Errors
    /// 500 where a record could not be written.
    pub fn finish(
        self,
        request: &Request,
        query: &ListQuery,
        listed: &Listed,
        sync_until: Timestamp,
    ) -> Result<Response, Problem> {
        let mut response = reply::json(self.array.into_text()?);
        let headers = response.headers_mut();
        headers.insert(SYNC_UNTIL, header(&sync_until.to_string())?);
        headers.insert(SYNC_EPOCH, header(&listed.epoch.to_string())?);
        if let (ListEnd::More(found), Some(last)) = (&listed.end, self.last) {
            let next = format!("{}{}", request.path(), query.next(last, found));
            headers.insert(LINK, header(&format!("<{next}>; rel=\"next\""))?);
        }
        Ok(response)
    }
}

pub(crate) fn header(value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(Error::internal)
}
