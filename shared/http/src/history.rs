//! The parameters and the response of a ticket's history.

use lambda_http::http::header::LINK;
use tickets_domain::{Error, Fit, HistoryEntry, Version};

use crate::array::JsonArray;
use crate::parameters::{Parameters, integer, limit};
use crate::reply::header;
use crate::{Problem, Request, Response, reply};

const VERSION_AFTER: &str = "versionAfter";
const LIMIT: &str = "limit";

/// Every parameter of a history.
pub const PARAMETERS: [&str; 2] = [VERSION_AFTER, LIMIT];

/// The parameters of a request for a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only later versions.
    pub version_after: u64,
    /// The most entries on a page.
    pub limit: Option<usize>,
}

impl HistoryQuery {
    /// Parses a query.
    ///
    /// # Errors
    /// 400 with every violation.
    pub fn parse(given: Vec<(&str, &str)>) -> Result<Self, Problem> {
        let mut parameters = Parameters::new(given);
        let version_after = parameters.take(VERSION_AFTER, integer);
        let limit = parameters.take(LIMIT, limit);
        let violations = parameters.finish(&PARAMETERS);
        if violations.is_empty() {
            Ok(Self { version_after: version_after.unwrap_or(0), limit })
        } else {
            Err(Error::InvalidParameters(violations).into())
        }
    }

    fn next(&self, last: Version) -> String {
        let limit = self.limit.map(|limit| format!("{LIMIT}={limit}&")).unwrap_or_default();
        format!("?{limit}{VERSION_AFTER}={}", last.get())
    }
}

/// The response with a history, while it is written.
#[derive(Debug, Default)]
pub struct HistoryReply {
    array: JsonArray,
    last: Option<Version>,
}

impl HistoryReply {
    /// Adds an entry if it still fits. The first always fits.
    pub fn push(&mut self, entry: &HistoryEntry) -> Fit {
        let fit = self.array.push(entry);
        if fit == Fit::Added {
            self.last = Some(entry.version);
        }
        fit
    }

    /// The response. If there are more entries, it has a `Link` to the next page.
    pub fn finish(self, request: &Request, query: &HistoryQuery, more: bool) -> Result<Response, Problem> {
        let mut response = reply::json(self.array.into_text()?);
        if let (true, Some(last)) = (more, self.last) {
            let next = format!("{}{}", request.path(), query.next(last));
            response.headers_mut().insert(LINK, header(&format!("<{next}>; rel=\"next\""))?);
        }
        Ok(response)
    }
}
