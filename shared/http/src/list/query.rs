//! The parameters of a list: parses them, and writes those of the next page.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::convert::Infallible;

use percent_encoding::utf8_percent_encode;
use tickets_domain::filter::MAX_IDS;
use tickets_domain::id::{CustomerId, InvalidId};
use tickets_domain::preset::{Choice, Preset};
use tickets_domain::status::Statuses;
use tickets_domain::time::{DateOrTime, InvalidTime};
use tickets_domain::work_queue::AnyOf;
use tickets_domain::{
    Continuation, Error, Filter, Presets, TicketId, Timestamp, Violation, Visibility, WorkQueue,
};

use super::parameter::{Parameter, Purpose, Spec, Value};
use crate::Problem;
use crate::parameters::{Parameters, QUERY, array_name, flag, integer, limit, time};

/// Why `settled` is refused on a page that says nothing of the first page's horizon.
const MOVING_HORIZON: &str = "with idAfter needs the updatedUntil of the first page, because a record that one \
    page holds back could be skipped by the next: follow the Link of the first page";
/// Why a filter that no index can answer is refused.
const NEEDS_INDEX: &str = "needs open=true beside it, or a status that is an open one, or a customer, or id, or \
    createdSince or updatedSince: without one of these the API would have to read every ticket";

/// The parameters of a list, with what its next page needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Which records the list holds.
    pub filter: Filter,
    /// What the previous page found out.
    pub continuation: Continuation,
    /// Whether records that changed after the horizon are held back.
    settled: bool,
    /// The work-queue filters with their values as they were given, for the next page.
    filters: Vec<(Parameter, Vec<String>)>,
}

impl ListQuery {
    /// Parses the query of a list of all tickets, or of a customer's, for a caller with this visibility.
    /// `horizon` is the instant up to which every change is visible.
    ///
    /// # Errors
    /// 400 with every violation: unknown parameters with the nearest known one, values that are not
    /// configured, contradictions, and filters that only a scan could answer.
    pub fn parse(
        given: Vec<(&str, &str)>,
        customer: Option<CustomerId>,
        visibility: Visibility,
        presets: &Presets,
        horizon: Timestamp,
    ) -> Result<Self, Problem> {
        let of_customer = customer.is_some() || visibility != Visibility::All;
        let filters = filters(&given, presets);
        let mut parameters = Parameters::new(given);
        let ids = parameters.take_any(Parameter::Id.name(), ids);
        let ids: Option<BTreeSet<_>> = ids.map(|ids| ids.into_iter().collect());
        let id_after = parameters.take(Parameter::IdAfter.name(), integer);
        let mut instant = |parameter: Parameter| parameters.take(parameter.name(), time::<Timestamp>);
        let created_since = instant(Parameter::CreatedSince);
        let updated_since = instant(Parameter::UpdatedSince);
        let updated_until = instant(Parameter::UpdatedUntil);
        let limit = parameters.take(Parameter::Limit.name(), limit);
        let include_deleted = parameters.flag(Parameter::IncludeDeleted.name());
        let settled = parameters.flag(Parameter::Settled.name());
        let queue = work_queue(&mut parameters, presets);
        // Only a hint: one that cannot be read, as after a new version was deployed, is ignored.
        let hint = |text: &str| Ok::<_, Infallible>(text.parse().unwrap_or_default());
        let continuation = parameters.take(Parameter::Continuation.name(), hint).unwrap_or_default();
        let mut violations = parameters.finish(&Parameter::ALL.map(Parameter::name));
        if ids.as_ref().is_some_and(|ids| ids.len() > MAX_IDS) {
            violations.push(Violation::new(Parameter::Id.name(), format!("must be at most {MAX_IDS} ids")));
        }
        let mut filter = Filter {
            customer,
            ids,
            id_after: id_after.unwrap_or(0),
            created_since,
            updated_since,
            updated_until,
            limit,
            include_deleted,
            queue,
        };
        // Only a query without mistakes says what else it needs.
        if violations.is_empty() && settled && id_after.is_some() && filter.updated_until.is_none() {
            violations.push(Violation::new(Parameter::Settled.name(), MOVING_HORIZON));
        }
        if violations.is_empty() && !of_customer && !has_index(&filter, presets) {
            let unanswered = filters.iter().filter(|(filter, _)| filter.spec().purpose == Purpose::Queue);
            unanswered.for_each(|(filter, _)| violations.push(Violation::new(filter.name(), NEEDS_INDEX)));
        }
        if !violations.is_empty() {
            return Err(Error::InvalidParameters(violations).into());
        }
        if settled {
            filter.updated_until = Some(filter.updated_until.map_or(horizon, |until| until.min(horizon)));
        }
        Ok(Self { filter, continuation, settled, filters })
    }

    /// The query for the page after the id `after`, beginning with `?`. It includes what this page found out.
    pub fn next(&self, after: u64, found: &Continuation) -> String {
        let Filter {
            customer: _,
            ids,
            id_after: _,
            created_since,
            updated_since,
            updated_until,
            limit,
            include_deleted,
            queue: _,
        } = &self.filter;
        let time = |time: &Option<Timestamp>| Vec::from_iter(time.map(|time| time.to_string()));
        let flag = |flag: bool| Vec::from_iter(flag.then(|| "true".to_owned()));
        let given = |filter: Parameter| self.filters.iter().find(|(given, _)| *given == filter);
        let values = |parameter: Parameter| match parameter {
            Parameter::Id => Vec::from_iter(ids.as_ref().map(comma_separated)),
            Parameter::IdAfter => vec![after.to_string()],
            Parameter::CreatedSince => time(created_since),
            Parameter::UpdatedSince => time(updated_since),
            Parameter::UpdatedUntil => time(updated_until),
            Parameter::Limit => Vec::from_iter(limit.map(|limit| limit.to_string())),
            Parameter::IncludeDeleted => flag(*include_deleted),
            Parameter::Settled => flag(self.settled),
            Parameter::Open
            | Parameter::Status
            | Parameter::TicketType
            | Parameter::TicketPriority
            | Parameter::Owner
            | Parameter::FollowupUntil
            | Parameter::ActionUntil => {
                given(parameter).map(|(_, values)| values.clone()).unwrap_or_default()
            }
            Parameter::Continuation => {
                Vec::from_iter(Some(found.to_string()).filter(|found| !found.is_empty()))
            }
        };
        // The only one that differs from page to page comes last, where people look for it.
        let others = Parameter::ALL.into_iter().filter(|parameter| *parameter != Parameter::IdAfter);
        let pairs = others.chain([Parameter::IdAfter]).flat_map(|parameter| {
            let encoded = |value: String| utf8_percent_encode(&value, QUERY).to_string();
            values(parameter).into_iter().map(move |value| format!("{}={}", parameter.name(), encoded(value)))
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    }
}

/// The work-queue filters that are given, with their values as a `Link` has them: with commas between, but one by
/// one where a value may have commas in it.
fn filters(given: &[(&str, &str)], presets: &Presets) -> Vec<(Parameter, Vec<String>)> {
    let all = Parameter::ALL.into_iter().filter(|parameter| parameter.is_filter());
    let given = all.filter_map(|filter| {
        let values = given.iter().filter(|(name, _)| array_name(name) == filter.name());
        let values: Vec<_> = values.map(|(_, value)| (*value).to_owned()).collect();
        let any = |preset: fn(&Presets) -> Cow<'_, Preset>| preset(presets).values().is_empty();
        let one_by_one = matches!(filter.spec().value, Value::AnyOf(preset) if any(preset));
        let values = if one_by_one || values.is_empty() { values } else { vec![values.join(",")] };
        (!values.is_empty()).then_some((filter, values))
    });
    given.collect()
}

/// Parses ids with commas between.
fn ids(text: &str) -> Result<Vec<TicketId>, String> {
    let ids: Result<_, _> = text.split(',').map(|id| id.trim().parse()).collect();
    ids.map_err(|error: InvalidId| format!("{error}, or several with commas between"))
}

fn comma_separated(ids: &BTreeSet<TicketId>) -> String {
    ids.iter().map(TicketId::to_string).collect::<Vec<_>>().join(",")
}

/// Takes the work-queue filters.
pub(crate) fn work_queue(parameters: &mut Parameters<'_>, presets: &Presets) -> WorkQueue {
    let open = parameters.take(Parameter::Open.name(), flag).map(|open| Statuses::open(open, presets));
    let named = choices(parameters, Parameter::Status, presets).map(|statuses| Statuses::any_of(&statuses));
    let statuses = match (open, named) {
        (Some(open), Some(named)) => Some(open.and(&named)),
        (open, named) => open.or(named),
    };
    let mut any_of = |filter| choices(parameters, filter, presets).map(|choices| AnyOf::of(&choices));
    let (types, priorities, owners) =
        (any_of(Parameter::TicketType), any_of(Parameter::TicketPriority), any_of(Parameter::Owner));
    let mut until = |filter: Parameter| parameters.take(filter.name(), end_of);
    WorkQueue {
        statuses,
        types,
        priorities,
        owners,
        followup_until: until(Parameter::FollowupUntil),
        action_until: until(Parameter::ActionUntil),
    }
}

/// Takes the values of a filter that takes those of a preset.
fn choices(parameters: &mut Parameters<'_>, filter: Parameter, presets: &Presets) -> Option<Vec<Choice>> {
    let Spec { name, value: Value::AnyOf(preset), .. } = filter.spec() else { return None };
    parameters.take_any(name, |text| preset(presets).choose_any(text))
}

/// Whether a list of all customers' tickets can be answered without reading every ticket.
fn has_index(filter: &Filter, presets: &Presets) -> bool {
    let statuses = filter.queue.statuses.as_ref();
    filter.ids.is_some()
        || filter.created_since.or(filter.updated_since).is_some()
        || statuses.is_some_and(|statuses| statuses.are_open(presets))
}

/// Parses the last instant of a period. A date stands for its whole day.
fn end_of(text: &str) -> Result<Timestamp, InvalidTime> {
    time(text).map(DateOrTime::ends)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tickets_domain::PresetLists;

    use super::*;

    const HORIZON: &str = "2026-11-23T17:00:00.000Z";

    fn parse(query: &[(&str, &str)]) -> Result<ListQuery, Vec<String>> {
        let presets = Presets::parse(&PresetLists::default()).unwrap();
        let horizon = HORIZON.parse().unwrap();
        ListQuery::parse(query.to_vec(), None, Visibility::All, &presets, horizon).map_err(|problem| {
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
    fn id_after_takes_any_integer() {
        for (text, id) in [("0", 0), ("-1", 0), ("043", 43), ("99999999999999999999", u64::MAX)] {
            assert_eq!(parse(&[("idAfter", text)]).unwrap().filter.id_after, id);
        }
        assert!(parse(&[("idAfter", "")]).is_err() && parse(&[("idAfter", "1.5")]).is_err());
    }

    #[test]
    fn settled_holds_back_what_is_fresher_than_the_horizon() {
        let until = |query: &[(&str, &str)]| parse(query).unwrap().filter.updated_until.unwrap().to_string();
        assert_eq!(until(&[("settled", "true")]), HORIZON);
        assert_eq!(until(&[("settled", "TRUE"), ("updatedUntil", "2030-01-01")]), HORIZON);
        assert_eq!(until(&[("settled", "1"), ("updatedUntil", "2020-01-01")]), "2020-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_settled_page_after_the_first_needs_the_first_ones_horizon() {
        let errors = parse(&[("settled", "true"), ("idAfter", "5")]).unwrap_err();
        assert!(errors[0].starts_with("settled: with idAfter needs the updatedUntil"), "{errors:?}");
        assert!(parse(&[("settled", "true"), ("idAfter", "5"), ("updatedUntil", HORIZON)]).is_ok());
        assert!(parse(&[("settled", "false"), ("idAfter", "5")]).is_ok());
    }

    #[test]
    fn a_filter_that_no_index_answers_is_refused_with_what_to_add() {
        for (name, value) in [
            ("owner", "grace"),
            ("ticketType", "billing"),
            ("ticketPriority", "urgent,high"),
            ("followupUntil", "2026-11-24"),
            ("actionUntil", "2026-11-24T12:00Z"),
        ] {
            let errors = parse(&[(name, value)]).unwrap_err();
            assert!(errors[0].starts_with(&format!("{name}: needs open=true")), "{errors:?}");
            assert!(
                parse(&[(name, value), ("open", "false")]).is_err(),
                "closed tickets are all there ever were"
            );
            assert!(parse(&[(name, value), ("status", "open,closed")]).is_err());
            for beside in [
                ("open", "true"),
                ("status", "Open, assigned"),
                ("updatedSince", "2026-11-01"),
                ("createdSince", "2026-11-01"),
            ] {
                assert!(parse(&[(name, value), beside]).is_ok(), "{name} beside {beside:?}");
            }
        }
        assert!(parse(&[("open", "false")]).is_ok() && parse(&[("status", "closed")]).is_ok());
    }

    #[test]
    fn a_value_that_is_not_configured_is_refused_with_those_that_are() {
        let errors = parse(&[("status", "done"), ("ticketType", ""), ("open", "maybe")]).unwrap_err();
        assert_eq!(
            errors,
            [
                "open: must be true or false",
                "status: must be one of open, assigned, resolved, closed",
                "ticketType: must be one of sales, billing, support",
            ]
        );
        assert_eq!(parse(&[("owner", " "), ("open", "true")]).unwrap_err(), ["owner: must not be empty"]);
    }

    #[test]
    fn a_flag_with_nothing_behind_it_is_refused() {
        let flag = |parameter: &Parameter| match parameter.spec().value {
            Value::Flag | Value::TrueOrFalse => true,
            Value::Integer
            | Value::Time
            | Value::DueDate
            | Value::Limit
            | Value::Ids
            | Value::AnyOf(_)
            | Value::Opaque => false,
        };
        for flag in Parameter::ALL.into_iter().filter(flag).map(Parameter::name) {
            let errors = parse(&[(flag, "")]).unwrap_err();
            assert_eq!(errors, [format!("{flag}: must be true or false, and is empty")]);
            assert!(parse(&[(flag, "true")]).is_ok() && parse(&[(flag, "False")]).is_ok());
        }
    }

    #[test]
    fn up_to_a_hundred_tickets_can_be_asked_for_by_their_ids() {
        let ids = |query: &[(&str, &str)]| -> Vec<u64> {
            parse(query).unwrap().filter.ids.unwrap().iter().map(|id| id.get()).collect()
        };
        assert_eq!(ids(&[("id", "3, 1,2,3")]), [1, 2, 3]);
        assert_eq!(ids(&[("id", "3"), ("id[]", "1"), ("id[7]", "2,4")]), [1, 2, 3, 4]);
        let many = |most: u64| (1..=most).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(ids(&[("id", &many(100)), ("id", "7")]).len(), 100);
        assert_eq!(parse(&[("id", &many(101))]).unwrap_err(), ["id: must be at most 100 ids"]);
        for bad in ["", "0", "1,", "x", "-1", "1.0", "9007199254740992", "1;2"] {
            let errors = parse(&[("id", bad), ("id", "1")]).unwrap_err();
            let right =
                "id: must be a whole number from 1 to 9007199254740991, or several with commas between";
            assert_eq!(errors, [right], "{bad}");
        }
        // No index is needed for what is known.
        assert!(parse(&[("id", "1"), ("owner", "grace"), ("followupUntil", "2026-11-24")]).is_ok());
    }

    #[test]
    fn clients_write_several_values_in_several_ways() {
        let presets = Presets::parse(&PresetLists::default()).unwrap();
        let two = Some(Statuses::any_of(&presets.status.choose_any("open,closed").unwrap()));
        let given: [&[(&str, &str)]; 5] = [
            &[("status", "open,closed")],
            &[("status", "open"), ("status", "closed")],
            &[("status[]", "open"), ("status[]", "closed")],
            &[("status[0]", "open"), ("status[1]", "Closed")],
            &[("status", "open"), ("status[]", "closed,open")],
        ];
        for query in given {
            let query = parse(query).unwrap();
            assert_eq!(query.filter.queue.statuses, two);
            let next = query.next(43, &Continuation::Unknown);
            assert!(!next.contains('[') && next.matches("status=open%2C").count() == 1, "{next}");
        }
        for name in ["limit[]", "open[0]", "status[a]"] {
            let errors = parse(&[(name, "1")]).unwrap_err();
            assert!(errors[0].starts_with(&format!("{name}: unknown parameter; ")), "{errors:?}");
        }
    }

    #[test]
    fn a_free_owner_may_have_a_comma_in_it_and_several_are_given_one_by_one() {
        let open = ("open", "true");
        let names = [("owner", "Smith, John"), open, ("owner[]", "jos\u{e9}")];
        let query = parse(&names).unwrap();
        let presets = Presets::parse(&PresetLists::default()).unwrap();
        let owners = ["smith, john", "JOSE\u{301} "].map(|name| presets.owner.choose(name).unwrap());
        assert_eq!(query.filter.queue.owners, Some(AnyOf::of(&owners)));
        let next = query.next(43, &Continuation::Unknown);
        assert_eq!(next, "?open=true&owner=Smith%2C%20John&owner=jos%C3%A9&idAfter=43");
        let configured =
            Presets::parse(&PresetLists { owners: "Ada, Grace", ..PresetLists::default() }).unwrap();
        let horizon = HORIZON.parse().unwrap();
        let given = vec![open, ("owner", "ada,grace")];
        let query = ListQuery::parse(given, None, Visibility::All, &configured, horizon).unwrap();
        let both = configured.owner.choose_any("ada,grace").unwrap();
        assert_eq!((both.len(), query.filter.queue.owners), (2, Some(AnyOf::of(&both))));
    }

    #[test]
    fn a_due_date_means_the_whole_day() {
        let until =
            |text| parse(&[("open", "1"), ("followupUntil", text)]).unwrap().filter.queue.followup_until;
        assert_eq!(until("2026-11-24").unwrap().to_string(), "2026-11-24T23:59:59.999Z");
        assert_eq!(until("2026-11-24T12:00").unwrap().to_string(), "2026-11-24T12:00:00.000Z");
    }

    #[test]
    fn every_filter_is_parsed_and_repeated_for_the_next_page() {
        let presets = Presets::parse(&PresetLists::default()).unwrap();
        for filter in Parameter::ALL.into_iter().filter(|parameter| parameter.is_filter()) {
            let value = match filter.spec().value {
                Value::AnyOf(preset) => preset(&presets).values().first().cloned().unwrap_or("ada".into()),
                Value::DueDate => "2026-11-24".into(),
                Value::TrueOrFalse => "true".into(),
                other => panic!("{other:?} is new: say here what a filter takes"),
            };
            let query = parse(&[(filter.name(), &value), ("updatedSince", "2026-11-01")]).unwrap();
            assert!(!query.filter.queue.is_empty(), "{filter:?}");
            let next = query.next(1, &Continuation::Unknown);
            assert!(next.contains(&format!("&{}={value}&", filter.name())), "{next}");
        }
    }

    #[test]
    fn a_work_queue_is_what_the_parameters_say() {
        let queue = |query: &[(&str, &str)]| parse(query).unwrap().filter.queue;
        let presets = Presets::parse(&PresetLists::default()).unwrap();
        assert!(queue(&[]).is_empty());
        assert_eq!(queue(&[("open", "TRUE")]).statuses, Some(Statuses::open(true, &presets)));
        assert_eq!(queue(&[("open", "0")]).statuses, Some(Statuses::open(false, &presets)));
        let closed = presets.status.choose_any("closed").unwrap();
        assert_eq!(queue(&[("status", "CLOSED")]).statuses, Some(Statuses::any_of(&closed)));
        let both = queue(&[("status", "open"), ("status", "closed"), ("open", "false")]).statuses;
        assert_eq!(both, Some(Statuses::any_of(&closed)), "named twice it is one list");
        let all =
            queue(&[("open", "1"), ("ticketType", "sales"), ("ticketPriority", "low"), ("owner", "ada")]);
        let any = |preset: &Preset, text: &str| Some(AnyOf::of(&preset.choose_any(text).unwrap()));
        assert_eq!(all.types, any(&presets.ticket_type, "sales"));
        assert_eq!((all.priorities, all.owners), (any(&presets.priority, "low"), any(&presets.owner, "ada")));
    }

    #[test]
    fn a_work_queue_of_one_customer_needs_no_other_filter() {
        let presets = Presets::parse(&PresetLists::default()).unwrap();
        let customer = CustomerId::try_from(7).ok();
        let parse = |customer, visibility| {
            let query = vec![("owner", "grace")];
            ListQuery::parse(query, customer, visibility, &presets, HORIZON.parse().unwrap())
        };
        assert_eq!(parse(customer, Visibility::All).unwrap().filter.customer, customer);
        assert!(
            parse(None, Visibility::Only(customer.unwrap())).is_ok(),
            "all a restricted key sees is one's"
        );
        assert!(parse(None, Visibility::All).is_err());
    }

    #[test]
    fn an_absent_parameter_filters_nothing() {
        let query = parse(&[]).unwrap();
        assert_eq!(query.filter, Filter::default());
        assert_eq!((query.continuation, query.settled), (Continuation::Unknown, false));
        let query =
            parse(&[("includeDeleted", "1"), ("continuation", "w"), ("updatedUntil", "2026-11-01")]).unwrap();
        assert!(query.filter.include_deleted && !query.settled);
        assert_eq!(query.continuation, Continuation::Walk);
        assert_eq!(query.filter.updated_until.unwrap().to_string(), "2026-11-01T00:00:00.000Z");
        assert_eq!(parse(&[("continuation", "?")]).unwrap().continuation, Continuation::Unknown, "a hint");
        assert!(parse(&[("idAfter", "-")]).is_err() && parse(&[("idAfter", "1x")]).is_err());
    }

    #[test]
    fn mistakes_are_reported_before_missing_parameters() {
        let errors = parse(&[("owner", "grace"), ("limit", "0")]).unwrap_err();
        assert_eq!(errors, ["limit: must be a whole number from 1 to 1000"]);
        let errors = parse(&[("settled", "1"), ("idAfter", "5"), ("limit", "0")]).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
    }

    #[test]
    fn the_link_to_the_next_page_has_only_what_was_asked() {
        let next = |query: &[(&str, &str)], found: &Continuation| parse(query).unwrap().next(43, found);
        assert_eq!(next(&[], &Continuation::Unknown), "?idAfter=43");
        assert_eq!(next(&[("id[]", "50"), ("id[]", "9")], &Continuation::Unknown), "?id=9%2C50&idAfter=43");
        assert_eq!(
            next(&[("open", "true"), ("owner", "a b"), ("limit", "5")], &Continuation::Walk),
            "?limit=5&open=true&owner=a%20b&continuation=w&idAfter=43"
        );
    }

    proptest! {
        #[test]
        fn the_next_page_is_the_same_query_after_the_last_id(
            since in proptest::option::of(0i64..4_000_000_000_000),
            limit in proptest::option::of(1usize..=1000),
            deleted: bool, settled: bool, last in 1u64..1_000_000,
            owners in proptest::collection::vec(
                "[^,\\pC\\pZ][^,\\pC\\p{Zl}\\p{Zp}]{0,20}(, ?[^,\\pC\\pZ]{1,20})?", 0..3
            ), open: bool,
        ) {
            let since = since.map(|millis| Timestamp::from_millis(millis).unwrap().to_string());
            let limit = limit.map(|limit| limit.to_string());
            let deleted = deleted.to_string();
            let settled = settled.to_string();
            let mut query = vec![("includeDeleted", deleted.as_str()), ("settled", settled.as_str())];
            query.extend(since.as_deref().map(|since| ("updatedSince", since)));
            query.extend(owners.iter().map(|owner| ("owner", owner.as_str())));
            query.extend((open || !owners.is_empty()).then_some(("open", "true")));
            query.extend(limit.as_deref().map(|limit| ("limit", limit)));
            let first = parse(&query).unwrap();
            let next = first.next(last, &Continuation::Walk);
            prop_assert!(next.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\".contains(&b)));
            let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
            let pairs = next[1..].split('&').map(|pair| pair.split_once('=').unwrap());
            let pairs: Vec<_> = pairs.map(|(name, value)| (name, decode(value))).collect();
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let second = parse(&pairs).unwrap();
            prop_assert_eq!(second.filter.id_after, last);
            prop_assert_eq!(Filter { id_after: 0, ..second.filter }, first.filter);
            prop_assert_eq!(second.settled, first.settled);
        }
    }
}
