//! The response of a list. Records are added as they arrive, until no more fit.

use lambda_http::http::header::LINK;
use tickets_domain::{Fit, ListEnd, Listed, Row, Timestamp};

use crate::array::JsonArray;
use crate::headers::{SYNC_EPOCH, SYNC_UNTIL};
use crate::list::ListQuery;
use crate::reply::header;
use crate::{Problem, Request, Response, reply};

/// The response with a list, while it is written.
#[derive(Debug, Default)]
pub struct ListReply {
    array: JsonArray,
}

impl ListReply {
    /// Adds a record if it still fits. The first always fits.
    pub fn push(&mut self, row: &Row) -> Fit {
        self.array.push_json(&row.json)
    }

    /// The response. If there are more records, it has a `Link` to the next page.
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
        if let ListEnd::More { after, found } = &listed.end {
            let next = format!("{}{}", request.path(), query.next(*after, found));
            headers.insert(LINK, header(&format!("<{next}>; rel=\"next\""))?);
        }
        Ok(response)
    }
}
