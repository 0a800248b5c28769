//! A list's response: written ticket by ticket as they arrive, cut where no more fits.

use std::ops::ControlFlow;

use lambda_http::http::HeaderValue;
use lambda_http::http::header::{HeaderName, LINK};
use tickets_domain::{Error, Record, TicketId, Timestamp};

use crate::query::ListQuery;
use crate::{Problem, Response, reply};

/// Lambda refuses a reply of more bytes than this, after the function has returned it (AWS Lambda
/// quotas: 6 MB; the error message gives the exact number).
pub const MAX_REPLY: usize = 6_291_556;
/// What status and headers need of it, generously.
const ENVELOPE: usize = 16 * 1024;
/// What the body of a list may need, escaped as it is inside the reply.
const MAX_ESCAPED: usize = MAX_REPLY - ENVELOPE;

/// Up to when every change is in this pass.
pub const SYNC_UNTIL: HeaderName = HeaderName::from_static("sync-until");

/// A list being written.
#[derive(Debug)]
pub struct ListReply {
    body: Vec<u8>,
    /// The body's size once it is a JSON string in Lambda's reply.
    escaped: usize,
    last: Option<TicketId>,
    failed: Option<serde_json::Error>,
}

impl Default for ListReply {
    fn default() -> Self {
        // The brackets; a comma is counted with its ticket.
        Self { body: vec![b'['], escaped: 2, last: None, failed: None }
    }
}

impl ListReply {
    /// Writes a record, or breaks where it does not fit any more. One always fits: a ticket of 256 KiB
    /// takes 1.8 MB at worst.
    pub fn push(&mut self, record: &Record) -> ControlFlow<()> {
        let start = self.body.len();
        if self.last.is_some() {
            self.body.push(b',');
        }
        if let Err(error) = serde_json::to_writer(&mut self.body, record) {
            self.failed = Some(error);
            return ControlFlow::Break(());
        }
        let escaped = escaped_len(&self.body[start..]);
        if self.last.is_some() && self.escaped + escaped > MAX_ESCAPED {
            self.body.truncate(start);
            return ControlFlow::Break(());
        }
        self.escaped += escaped;
        self.last = Some(record.stamps().id);
        ControlFlow::Continue(())
    }

    /// The response. `flow` tells whether there are more records; they are a `Link` away.
    ///
    /// # Errors
    /// 500 where a record could not be written.
    pub fn finish(
        mut self,
        query: &ListQuery,
        flow: ControlFlow<()>,
        sync_until: Timestamp,
    ) -> Result<Response, Problem> {
        if let Some(error) = self.failed {
            return Err(Error::internal(error).into());
        }
        self.body.push(b']');
        let text = String::from_utf8(self.body).map_err(Error::internal)?;
        let mut response = reply::json(text);
        let headers = response.headers_mut();
        headers.insert(SYNC_UNTIL, header(&sync_until.to_string())?);
        if let (ControlFlow::Break(()), Some(last)) = (flow, self.last) {
            headers.insert(LINK, header(&format!("<{}>; rel=\"next\"", query.next(last)))?);
        }
        Ok(response)
    }
}

fn header(value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(Error::internal)
}

/// The length of a JSON text inside a JSON string: quotes and backslashes double. It holds no
/// control characters, and what is not ASCII stays as it is.
fn escaped_len(json: &[u8]) -> usize {
    json.len() + json.iter().filter(|b| matches!(b, b'"' | b'\\')).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::escaped_len;

    proptest! {
        #[test]
        fn the_escaped_length_is_what_serde_makes_of_it(text in ".{0,200}") {
            let json = serde_json::to_string(&text).unwrap();
            let inside = serde_json::to_string(&json).unwrap();
            prop_assert_eq!(escaped_len(json.as_bytes()), inside.len() - 2);
        }
    }
}
