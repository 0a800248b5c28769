//! A list's parameters, in and out again.

use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tickets_domain::filter::MAX_LIMIT;
use tickets_domain::id::CustomerId;
use tickets_domain::{Error, Filter, TicketId, Timestamp, Violation};

use crate::Problem;

const ID_AFTER: &str = "idAfter";
const CREATED_SINCE: &str = "createdSince";
const UPDATED_SINCE: &str = "updatedSince";
const UPDATED_UNTIL: &str = "updatedUntil";
const LIMIT: &str = "limit";
const INCLUDE_DELETED: &str = "includeDeleted";
const SETTLED: &str = "settled";

/// Every parameter a list knows.
pub const PARAMETERS: [&str; 7] =
    [ID_AFTER, CREATED_SINCE, UPDATED_SINCE, UPDATED_UNTIL, LIMIT, INCLUDE_DELETED, SETTLED];

/// All that RFC 3986 does not leave unreserved, but for the colons of times: a query may hold them.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// What a list was asked for, with what its next page needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Which records it holds.
    pub filter: Filter,
    /// Whether records fresher than the horizon are held back.
    settled: bool,
}

/// Takes parameters one by one and notes every problem.
struct Parameters<'a> {
    given: Vec<(&'a str, &'a str)>,
    violations: Vec<Violation>,
}

impl Parameters<'_> {
    fn take<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let mut values = Vec::new();
        self.given.retain(|(known, value)| {
            if *known == name {
                values.push(*value);
            }
            *known != name
        });
        match values.as_slice() {
            [] => None,
            [value] => parse(value).map_err(|error| self.violations.push(Violation::new(name, error))).ok(),
            _ => {
                self.violations.push(Violation::new(name, "is given twice"));
                None
            }
        }
    }

    fn flag(&mut self, name: &'static str) -> bool {
        let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
            // `?settled` alone says yes.
            "true" | "1" | "" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("must be true or false"),
        };
        self.take(name, parse).unwrap_or(false)
    }
}

impl ListQuery {
    /// Reads a query. `horizon` is the instant up to which every change is visible.
    ///
    /// # Errors
    /// 400 with every violation: unknown parameters with the nearest known one, contradictions.
    pub fn parse(
        given: Vec<(&str, &str)>,
        customer: Option<CustomerId>,
        horizon: Timestamp,
    ) -> Result<Self, Problem> {
        let mut parameters = Parameters { given, violations: Vec::new() };
        let id_after = parameters.take(ID_AFTER, id_after);
        let created_since = parameters.take(CREATED_SINCE, Timestamp::from_str);
        let updated_since = parameters.take(UPDATED_SINCE, Timestamp::from_str);
        let updated_until = parameters.take(UPDATED_UNTIL, Timestamp::from_str);
        let limit = parameters.take(LIMIT, limit);
        let include_deleted = parameters.flag(INCLUDE_DELETED);
        let settled = parameters.flag(SETTLED);
        let Parameters { given, mut violations } = parameters;
        violations.extend(given.iter().map(|(name, _)| Violation::unknown("parameter", name, &PARAMETERS)));
        if settled && id_after.is_some() && updated_until.is_none() && violations.is_empty() {
            violations.push(Violation::new(
                SETTLED,
                "with idAfter needs the updatedUntil of the first page, or the horizon would move from page \
                 to page and a record held back on one be skipped for good: follow the Link of the first page",
            ));
        }
        if !violations.is_empty() {
            return Err(Error::InvalidParameters(violations).into());
        }
        let updated_until = match (settled, updated_until) {
            (true, Some(until)) => Some(until.min(horizon)),
            (true, None) => Some(horizon),
            (false, until) => until,
        };
        let filter = Filter {
            customer,
            id_after: id_after.unwrap_or(0),
            created_since,
            updated_since,
            updated_until,
            limit,
            include_deleted,
        };
        Ok(Self { filter, settled })
    }

    /// The same query for the page after `last`, as a relative reference (RFC 3986, section 4.2) that
    /// is right behind any host, stage or proxy.
    pub fn next(&self, last: TicketId) -> String {
        let Filter {
            customer: _,
            id_after: _,
            created_since,
            updated_since,
            updated_until,
            limit,
            include_deleted,
        } = &self.filter;
        let time = |time: &Option<Timestamp>| time.map(|time| time.to_string());
        let flag = |flag: bool| flag.then(|| "true".to_owned());
        let parameters = [
            (CREATED_SINCE, time(created_since)),
            (UPDATED_SINCE, time(updated_since)),
            (UPDATED_UNTIL, time(updated_until)),
            (LIMIT, limit.map(|limit| limit.to_string())),
            (INCLUDE_DELETED, flag(*include_deleted)),
            (SETTLED, flag(self.settled)),
            (ID_AFTER, Some(last.to_string())),
        ];
        let given = parameters.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        let pairs: Vec<_> =
            given.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY))).collect();
        format!("?{}", pairs.join("&"))
    }
}

/// Any integer, for clients that begin at -1 or end past the last id.
fn id_after(text: &str) -> Result<u64, &'static str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("must be an integer");
    }
    // No id is higher than any number too large for this type.
    Ok(if text.starts_with('-') { 0 } else { digits.parse().unwrap_or(u64::MAX) })
}

fn limit(text: &str) -> Result<usize, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let limit = text.parse().ok().filter(|limit| digits && (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("must be a whole number from 1 to {MAX_LIMIT}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HORIZON: &str = "2026-11-23T17:00:00.000Z";

    fn parse(query: &[(&str, &str)]) -> Result<ListQuery, Vec<String>> {
        ListQuery::parse(query.to_vec(), None, HORIZON.parse().unwrap()).map_err(|problem| {
            let response = problem.into_response();
            assert_eq!(response.status(), 400);
            let lambda_http::Body::Text(body) = response.body() else { panic!() };
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            let errors = body["errors"].as_array().unwrap().iter();
            errors
                .map(|e| format!("{}: {}", e["field"].as_str().unwrap(), e["detail"].as_str().unwrap()))
                .collect()
        })
    }

    #[test]
    fn every_problem_of_a_query_is_reported() {
        let errors = parse(&[
            ("limit", "0"),
            ("limit", "1"),
            ("idAfter", "x"),
            ("updateSince", "2026-01-01"),
            ("createdSince", "soon"),
        ]);
        let errors = errors.unwrap_err();
        assert_eq!(errors.len(), 4, "{errors:?}");
        assert!(errors.contains(&"limit: is given twice".to_owned()));
        assert!(errors.contains(&"updateSince: unknown parameter; did you mean updatedSince?".to_owned()));
    }

    #[test]
    fn a_limit_is_1_to_1000() {
        assert!(parse(&[("limit", "1")]).is_ok() && parse(&[("limit", "1000")]).is_ok());
        for bad in ["0", "1001", "-1", "+5", "", "1e3"] {
            assert!(parse(&[("limit", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn any_integer_is_an_id_to_go_on_after() {
        for (text, id) in [("0", 0), ("-1", 0), ("043", 43), ("99999999999999999999", u64::MAX)] {
            assert_eq!(parse(&[("idAfter", text)]).unwrap().filter.id_after, id);
        }
        assert!(parse(&[("idAfter", "")]).is_err() && parse(&[("idAfter", "1.5")]).is_err());
    }

    #[test]
    fn settled_holds_back_what_is_fresher_than_the_horizon() {
        let until = |query: &[(&str, &str)]| parse(query).unwrap().filter.updated_until.unwrap().to_string();
        assert_eq!(until(&[("settled", "true")]), HORIZON);
        assert_eq!(until(&[("settled", ""), ("updatedUntil", "2030-01-01")]), HORIZON);
        assert_eq!(until(&[("settled", "1"), ("updatedUntil", "2020-01-01")]), "2020-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_settled_page_after_the_first_needs_the_first_ones_horizon() {
        let errors = parse(&[("settled", "true"), ("idAfter", "5")]).unwrap_err();
        assert!(errors[0].starts_with("settled: with idAfter needs the updatedUntil"), "{errors:?}");
        assert!(parse(&[("settled", "true"), ("idAfter", "5"), ("updatedUntil", HORIZON)]).is_ok());
        assert!(parse(&[("settled", "false"), ("idAfter", "5")]).is_ok());
    }

    proptest! {
        #[test]
        fn the_next_page_is_the_same_query_after_the_last_id(
            since in proptest::option::of(0i64..4_000_000_000_000),
            limit in proptest::option::of(1usize..=1000),
            deleted: bool, settled: bool, last in 1u64..1_000_000,
        ) {
            let since = since.map(|millis| Timestamp::from_millis(millis).unwrap().to_string());
            let limit = limit.map(|limit| limit.to_string());
            let deleted = deleted.to_string();
            let settled = settled.to_string();
            let mut query = vec![("includeDeleted", deleted.as_str()), ("settled", settled.as_str())];
            query.extend(since.as_deref().map(|since| ("updatedSince", since)));
            query.extend(limit.as_deref().map(|limit| ("limit", limit)));
            let first = parse(&query).unwrap();
            let next = first.next(TicketId::try_from(last).unwrap());
            prop_assert!(next.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\".contains(&b)));
            let pairs: Vec<_> = next[1..].split('&').map(|pair| pair.split_once('=').unwrap()).collect();
            let second = parse(&pairs).unwrap();
            prop_assert_eq!(second.filter.id_after, last);
            prop_assert_eq!(Filter { id_after: 0, ..second.filter }, first.filter);
            prop_assert_eq!(second.settled, first.settled);
        }
    }
}
