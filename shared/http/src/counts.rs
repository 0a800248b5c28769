//! The parameters and the response of counts.

use tickets_domain::count::{CountBy, CountQuery, InvalidCountBy, TicketCounts};
use tickets_domain::status::Statuses;
use tickets_domain::{Error, Fit, Presets};

use crate::array::JsonArray;
use crate::list::{Parameter, work_queue};
use crate::parameters::Parameters;
use crate::{Problem, Response, reply};

/// What to count by.
pub const BY: &str = "by";

/// The parameters of a count that are those of lists: the filters of a work queue.
pub fn filters() -> impl Iterator<Item = Parameter> {
    Parameter::ALL.into_iter().filter(|parameter| parameter.is_filter())
}

/// Parses the parameters of a count. Without a status it counts the open tickets, which are those that wait.
///
/// # Errors
/// 400 with every violation.
pub fn query(given: Vec<(&str, &str)>, presets: &Presets) -> Result<CountQuery, Problem> {
    let mut parameters = Parameters::new(given);
    let by = parameters.take_any(BY, by).unwrap_or_default();
    let mut queue = work_queue(&mut parameters, presets);
    let known: Vec<_> = [BY].into_iter().chain(filters().map(Parameter::name)).collect();
    let violations = parameters.finish(&known);
    if !violations.is_empty() {
        return Err(Error::InvalidParameters(violations).into());
    }
    let statuses = queue.statuses.take().unwrap_or_else(|| Statuses::open(true, presets));
    Ok(CountQuery { by, statuses, queue })
}

fn by(text: &str) -> Result<Vec<CountBy>, InvalidCountBy> {
    text.split(',').map(|name| name.trim().parse()).collect()
}

/// 200 with the counts. If there are more groups than fit, the smallest are left out, and the counts are not complete.
pub fn reply(mut counts: TicketCounts) -> Result<Response, Problem> {
    let mut array = JsonArray::default();
    let fit = counts.counts.iter().take_while(|count| array.push(count) == Fit::Added).count();
    counts.complete &= fit == counts.counts.len();
    counts.counts.truncate(fit);
    reply::of(&counts)
}

#[cfg(test)]
mod tests {
    use lambda_http::Body;
    use tickets_domain::PresetLists;
    use tickets_domain::count::TicketCount;

    use super::*;

    fn presets() -> Presets {
        Presets::parse(&PresetLists::default()).unwrap()
    }

    #[test]
    fn tickets_are_counted_by_one_field_or_several_and_open_ones_if_nothing_is_said() {
        let parsed = |given: &[(&str, &str)]| query(given.to_vec(), &presets()).unwrap();
        let none = parsed(&[]);
        assert_eq!((none.by, none.statuses), (vec![], Statuses::open(true, &presets())));
        let both = vec![CountBy::Status, CountBy::Owner];
        for given in [
            &[("by", "status, owner")][..],
            &[("by[]", "status"), ("by[]", "owner")],
            &[("by", "status"), ("by", "owner")],
        ] {
            assert_eq!(parsed(given).by, both);
        }
        let closed = parsed(&[("open", "false"), ("ticketPriority", "high")]);
        assert_eq!(closed.statuses, Statuses::open(false, &presets()));
        assert!(closed.queue.priorities.is_some() && closed.queue.statuses.is_none());
    }

    #[test]
    fn every_mistake_is_reported_and_parameters_of_lists_are_unknown() {
        let given = vec![("by", "status,user"), ("status", "done"), ("limit", "5"), ("ownr", "ada")];
        let refused = query(given, &presets()).unwrap_err().into_response();
        assert_eq!(refused.status(), 400);
        let Body::Text(text) = refused.body() else { panic!() };
        for detail in [
            "must be one or more of status, ticketType",
            "must be one of open, assigned",
            "unknown parameter",
            "did you mean owner?",
        ] {
            assert!(text.contains(detail), "{detail} in {text}");
        }
        assert!(query(vec![("by", "")], &presets()).is_err());
    }

    #[test]
    fn groups_that_do_not_fit_are_left_out_and_the_counts_are_not_complete() {
        let owner = serde_json::from_value(serde_json::Value::from("o".repeat(4096))).unwrap();
        let group = TicketCount { owner, count: 1, ..TicketCount::default() };
        for (groups, fit) in [(1500, 1500), (1600, 1523)] {
            let counts =
                TicketCounts { total: groups, complete: true, counts: vec![group.clone(); groups as usize] };
            let response = reply(counts).unwrap();
            let Body::Text(text) = response.body() else { panic!() };
            let shown: TicketCounts = serde_json::from_str(text).unwrap();
            assert_eq!((shown.total, shown.complete), (groups, groups == fit));
            assert!(
                shown.counts.len() as u64 >= fit - 20 && shown.counts.len() as u64 <= fit,
                "{}",
                shown.counts.len()
            );
        }
    }
}
