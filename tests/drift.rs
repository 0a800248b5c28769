//! Tests that the places which list routes, tables and variables agree: the code, the template, the watch
//! router, and README.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use axum::body::Body;
use axum::http::{Method, Request};
use deliver_webhooks::Wake;
use export_tickets::{Event, Exporter, Store};
use object_store::memory::InMemory;
use serde_json::json;
use serde_norway::Value as Yaml;
use support::files::{assert_same_list, read, root, statements, template, text, untagged};
use support::model::{Faults, Model};
use support::operation::{DESCRIPTION, operation};
use support::webhooks::{Mood, Network};
use tickets_app::{App, Config, Exports};
use tickets_cli::server::gateway::{Gateway, Payload};
use tickets_domain::error::MOST_VIOLATIONS;
use tickets_domain::filter::MAX_LIMIT;
use tickets_domain::idempotency::KEY_CHARACTERS;
use tickets_domain::json_object::MOST_ROWS;
use tickets_domain::text::{CONTENT_BYTES, EMAIL_BYTES, NOTE_BYTES, SUBJECT_CHARACTERS};
use tickets_domain::{ApiKey, BearerToken, Clock, Presets, Scope, Timestamp};
use tickets_http::openapi;
use tickets_http::request::MAX_BODY;
use tickets_http::route::{BASE_PATH, DOCUMENTS, GET_TICKET_CONFIGURATION, PathId, ROUTES, Route, path_id};
use tickets_repository::checkpoint::CHECKPOINTS;
use tickets_repository::schema::{self, KeyAttribute};
use tickets_repository::{COUNTER, DynamoDb, Keys, RANGES, SETTINGS, Webhooks, limit};
use tower::ServiceExt;

/// Method, path and function of every route.
type Table = BTreeSet<(String, String, String)>;

fn routes_in_code() -> Table {
    let each = |route: &'static Route| route.methods.iter().map(move |method| (method.to_string(), route));
    let table = ROUTES.iter().flat_map(each);
    table.map(|(method, route)| (method, route.path.to_owned(), route.function.name().to_owned())).collect()
}

/// The template's functions, by name.
fn functions(template: &Yaml) -> BTreeMap<String, Yaml> {
    let resources = template["Resources"].as_mapping().unwrap();
    let functions = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
    functions
        .map(|(_, f)| (text(&f["Metadata"]["BuildProperties"]["Binary"]).to_owned(), f.clone()))
        .collect()
}

/// The functions without a route: a schedule starts the first, the tables' streams the others.
const EXPORT: &str = "export-tickets";
const RECORD: &str = "record-changes";
const DELIVER: &str = "deliver-webhooks";
/// What the last two may read. Lambda reads a stream with the function's rights.
const STREAM: &str = "${Tickets.Arn}/stream/*";
const EVENTS: &str = "${History.Arn}/stream/*";

/// The methods that each path is deployed with. API Gateway's `ANY` would be simpler, but `sam local` at
/// random prefers it to a method.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Every method of every path. If no function answers a method, the path's fallback does.
fn routes_with_fallbacks() -> Table {
    let mut table = Table::new();
    for fallback in ROUTES.iter().filter(|route| route.fallback) {
        for method in METHODS {
            let answers =
                |route: &&Route| route.path == fallback.path && route.answers(&method.parse().unwrap());
            let function = ROUTES.iter().find(answers).unwrap_or(fallback).function.name();
            table.insert((method.to_owned(), fallback.path.to_owned(), function.to_owned()));
        }
    }
    let function = GET_TICKET_CONFIGURATION.function.name();
    for document in DOCUMENTS {
        table.extend(METHODS.map(|method| (method.to_owned(), document.to_owned(), function.to_owned())));
    }
    table
}

#[test]
fn the_template_routes_what_the_code_answers() {
    let mut table = Table::new();
    for (name, function) in functions(&template()) {
        let Some(events) = function["Properties"]["Events"].as_mapping() else {
            assert_eq!(name, RECORD);
            continue;
        };
        for (_, event) in events {
            if [EXPORT, DELIVER].contains(&&*name) {
                assert_eq!(event["Type"], "ScheduleV2");
                continue;
            }
            assert_eq!(event["Type"], "Api");
            let properties = &event["Properties"];
            let path = text(&properties["Path"]).strip_prefix("/api/v1").unwrap().to_owned();
            let entry = (text(&properties["Method"]).to_uppercase(), path, name.clone());
            assert!(table.insert(entry.clone()), "{entry:?} is there twice");
        }
    }
    assert_same_list("template.yaml", &table, &routes_with_fallbacks());
    assert_eq!(template()["Resources"]["Api"]["Properties"]["StageName"], "backend");
    assert_eq!(BASE_PATH, "/backend/api/v1");
}

#[test]
fn the_watch_router_routes_what_the_code_answers_in_both_forms() {
    let manifest: toml::Value = toml::from_str(&read("Cargo.toml")).unwrap();
    let router = &manifest["workspace"]["metadata"]["lambda"]["watch"]["router"];
    let mut table = Table::new();
    for route in router.as_array().unwrap() {
        let path = route["path"].as_str().unwrap().strip_prefix(BASE_PATH).unwrap();
        let own = route
            .get("methods")
            .map(|methods| methods.as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect());
        for method in own.unwrap_or(METHODS.to_vec()) {
            let entry = (method.to_owned(), path.to_owned(), route["function"].as_str().unwrap().to_owned());
            assert!(table.insert(entry.clone()), "{entry:?} is there twice");
        }
    }
    let both = |(method, path, function): (String, String, String)| {
        ["", "/"].map(|slash| (method.clone(), format!("{path}{slash}"), function.clone()))
    };
    let expected: Table = routes_with_fallbacks().into_iter().flat_map(both).collect();
    assert_same_list("the watch router in Cargo.toml", &table, &expected);
}

#[test]
fn readme_s_table_is_what_the_code_answers() {
    let readme = read("README.md");
    let rows = readme.lines().skip_while(|line| !line.starts_with("| method and path")).skip(2);
    let mut table = Vec::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let entries = row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2);
        table.extend(entries.map(|entry| {
            let (method, path) = entry.split_once(' ').unwrap();
            (method.to_owned(), path.trim_end_matches('/').to_owned())
        }));
    }
    let expected = routes_in_code().into_iter().map(|(method, path, _)| (method, path)).collect();
    assert_same_list("README", &table.iter().cloned().collect(), &expected);
    // The page `/docs` shows the operations in the same order.
    let operations: HashMap<_, _> = DESCRIPTION["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| {
                let entry = (method.to_uppercase(), path.trim_end_matches('/').to_owned());
                (operation["operationId"].as_str().unwrap(), entry)
            })
        })
        .collect();
    let place = |id: &str| table.iter().position(|entry| *entry == operations[id]);
    let places: Vec<_> = openapi::operation_ids(&Presets::any()).into_iter().map(place).collect();
    assert!(places.len() == operations.len() && places.is_sorted(), "{places:?}");
}

#[test]
fn every_function_is_a_package_a_resource_and_sample_events() {
    let names: BTreeSet<String> = ROUTES
        .iter()
        .map(|route| route.function.name())
        .chain([EXPORT, RECORD, DELIVER])
        .map(str::to_owned)
        .collect();
    let folders = fs::read_dir(root().join("functions")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    assert_same_list("functions/", &folders, &names);
    assert_same_list("template.yaml", &functions(&template()).into_keys().collect(), &names);
    for name in names.iter().filter(|name| ![EXPORT, RECORD, DELIVER].contains(&name.as_str())) {
        for format in ["rest", "http"] {
            let event: serde_json::Value =
                serde_json::from_str(&read(&format!("events/{name}.{format}.json"))).unwrap();
            assert_eq!(event["version"] == "2.0", format == "http");
        }
    }
}

#[test]
fn the_template_s_tables_are_those_that_the_local_database_gets() {
    let template = template();
    let key = |table: &Yaml| -> Vec<(String, String)> {
        let schema = table["KeySchema"].as_sequence().unwrap();
        schema
            .iter()
            .map(|e| (text(&e["AttributeName"]).to_owned(), text(&e["KeyType"]).to_owned()))
            .collect()
    };
    let expected = |attributes: &[KeyAttribute]| -> Vec<(String, String)> {
        attributes
            .iter()
            .zip(["HASH", "RANGE"])
            .map(|((name, _), kind)| ((*name).to_owned(), kind.to_owned()))
            .collect()
    };
    let tickets = &template["Resources"][schema::TICKETS]["Properties"];
    assert_eq!(key(tickets), expected(&schema::TICKETS_KEY));
    assert_eq!(text(&tickets["TimeToLiveSpecification"]["AttributeName"]), schema::EXPIRES);
    let view = text(&tickets["StreamSpecification"]["StreamViewType"]);
    assert_eq!(view, schema::STREAM_VIEW.as_str());
    let keys = &template["Resources"][schema::API_KEYS]["Properties"];
    assert_eq!(key(keys), expected(&schema::API_KEYS_KEY));
    let history = &template["Resources"][schema::HISTORY]["Properties"];
    assert_eq!(key(history), expected(&schema::HISTORY_KEY));
    assert_eq!(text(&history["TimeToLiveSpecification"]["AttributeName"]), schema::EXPIRES);

    for (table, of_table, in_code) in [
        (tickets, &schema::TICKETS_KEY, &schema::INDEXES[..]),
        (history, &schema::HISTORY_KEY, &schema::HISTORY_INDEXES),
    ] {
        let indexes = table["GlobalSecondaryIndexes"].as_sequence().unwrap();
        assert_eq!(indexes.len(), in_code.len());
        let mut attributes: BTreeMap<String, String> = BTreeMap::new();
        attributes.extend(of_table.iter().map(|(name, kind)| ((*name).to_owned(), kind.to_string())));
        for (declared, index) in indexes.iter().zip(in_code) {
            assert_eq!((text(&declared["IndexName"]), key(declared)), (index.name, expected(&index.key)));
            assert_eq!(declared["Projection"]["ProjectionType"], "INCLUDE");
            let included: Vec<_> =
                declared["Projection"]["NonKeyAttributes"].as_sequence().unwrap().iter().map(text).collect();
            assert_eq!(included, index.includes);
            attributes.extend(index.key.iter().map(|(name, kind)| ((*name).to_owned(), kind.to_string())));
        }
        let declared = table["AttributeDefinitions"].as_sequence().unwrap().iter();
        let declared =
            declared.map(|a| (text(&a["AttributeName"]).to_owned(), text(&a["AttributeType"]).to_owned()));
        assert_eq!(declared.collect::<BTreeMap<_, _>>(), attributes);
    }
    assert_eq!(text(&history["StreamSpecification"]["StreamViewType"]), "KEYS_ONLY");
    let webhooks = &template["Resources"][schema::WEBHOOKS]["Properties"];
    assert_eq!(key(webhooks), expected(&schema::WEBHOOKS_KEY));
    for table in [tickets, keys, history, webhooks] {
        assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
        assert_eq!(table["DeletionProtectionEnabled"], true);
        assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    }
}

#[test]
fn the_template_s_variables_are_read_and_its_defaults_are_the_code_s() {
    let template = template();
    let variables = template["Globals"]["Function"]["Environment"]["Variables"].as_mapping().unwrap();
    let defaults: BTreeMap<&str, String> = variables
        .iter()
        .filter_map(|(name, value)| {
            let default = template["Parameters"].get(value.as_tagged_ref()?)?.get("Default")?;
            Some((
                text(name),
                default.as_str().map_or_else(|| default.as_u64().unwrap().to_string(), str::to_owned),
            ))
        })
        .collect();
    assert_eq!(defaults.len(), 8, "{defaults:?}");
    let (deployed, local) = (
        Config::from_lookup(|name| defaults.get(name).cloned()).unwrap(),
        Config::from_lookup(|_| None).unwrap(),
    );
    assert_eq!(deployed.presets, local.presets);
    assert_eq!(
        (deployed.settings.settle, deployed.settings.keep_tombstones),
        (local.settings.settle, local.settings.keep_tombstones)
    );
    assert_eq!(deployed.cors_origins, local.cors_origins);
    // Each variable is read: an invalid value is refused, or its effect shows.
    for name in [
        "TICKET_TYPES",
        "TICKET_STATUSES",
        "CLOSED_STATUSES",
        "TICKET_PRIORITIES",
        "TICKET_OWNERS",
        "SETTLE_SECONDS",
        "TOMBSTONE_DAYS",
        "CORS_ORIGINS",
    ] {
        assert!(
            Config::from_lookup(|asked| (asked == name).then(|| "a,A".to_owned())).is_err(),
            "{name} is not read"
        );
        assert!(defaults.contains_key(name), "{name} is not set");
    }
    let configuration = &template["Resources"]["GetTicketConfigurationFunction"]["Properties"];
    assert_eq!(configuration["Environment"]["Variables"]["SERVE_DOCS"].as_tagged_ref(), Some("ServeDocs"));
    for shown in template["Parameters"]["ServeDocs"]["AllowedValues"].as_sequence().unwrap().iter().map(text)
    {
        let config = Config::from_lookup(|name| (name == "SERVE_DOCS").then(|| shown.to_owned())).unwrap();
        assert_eq!(config.serve_docs.to_string(), shown);
    }
    assert_eq!(text(&template["Parameters"]["ServeDocs"]["Default"]), local.serve_docs.to_string());
    let deliver = &template["Resources"]["DeliverWebhooksFunction"]["Properties"]["Environment"]["Variables"];
    let default = |variable: &str| {
        let default = &template["Parameters"][deliver[variable].as_tagged_ref().unwrap()]["Default"];
        default.as_str().map_or_else(|| default.as_u64().unwrap().to_string(), str::to_owned)
    };
    let deployed = Config::from_lookup(|name| deliver.get(name).map(|_| default(name))).unwrap();
    assert_eq!(deployed.longest_failing, local.longest_failing);
    assert!(!deployed.webhooks_to_this_machine && !local.webhooks_to_this_machine);
    for name in ["WEBHOOK_FAILING_DAYS", "WEBHOOKS_TO_THIS_MACHINE"] {
        assert!(deliver.get(name).is_some(), "{name} is not set");
        assert!(Config::from_lookup(|asked| (asked == name).then(|| "a,A".to_owned())).is_err(), "{name}");
    }
    let own = &template["Resources"]["ExportTicketsFunction"]["Properties"]["Environment"]["Variables"];
    for name in [
        "TICKETS_TABLE",
        "API_KEYS_TABLE",
        "HISTORY_TABLE",
        "WEBHOOKS_TABLE",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "EXPORT_BUCKET",
        "AWS_ENDPOINT_URL_S3",
    ] {
        let config = Config::from_lookup(|asked| (asked == name).then(|| "set".to_owned())).unwrap();
        let values = [
            config.tickets_table,
            config.api_keys_table,
            config.history_table,
            config.webhooks_table,
            config.endpoint_url.unwrap_or_default(),
            match config.exports {
                Some(Exports::Bucket(name)) => name,
                Some(Exports::Directory(_)) | None => String::new(),
            },
            config.s3_endpoint_url.unwrap_or_default(),
        ];
        assert!(values.contains(&"set".to_owned()), "{name} is not read");
        assert!(variables.contains_key(name) || own.get(name).is_some(), "{name} is not set");
    }
}

/// Access to the name in a `!Ref`.
trait Reference {
    fn as_tagged_ref(&self) -> Option<&str>;
}

impl Reference for Yaml {
    fn as_tagged_ref(&self) -> Option<&str> {
        match self {
            Yaml::Tagged(tagged) if tagged.tag == "!Ref" => tagged.value.as_str(),
            _ => None,
        }
    }
}

/// The actions that a function may take, each with its resource.
fn allowed(function: &Yaml) -> BTreeSet<(String, String)> {
    let list = |value: &Yaml| untagged(value).as_sequence().cloned().unwrap_or_else(|| vec![value.clone()]);
    let mut allowed = BTreeSet::new();
    for statement in statements(&template(), function) {
        if statement["Effect"] == "Deny" {
            continue; // This limits allowed actions to some items: see tests/template.rs.
        }
        assert_eq!(statement["Effect"], "Allow");
        for (action, resource) in list(&statement["Action"])
            .iter()
            .flat_map(|a| list(&statement["Resource"]).into_iter().map(move |r| (a.clone(), r)))
        {
            allowed.insert((text(&action).to_owned(), text(&resource).to_owned()));
        }
    }
    allowed
}

/// What only these functions may do besides calling the tables, which
/// `the_calls_that_functions_are_seen_to_make_are_those_they_may_make` compares with what each does.
#[test]
fn only_the_export_writes_objects_and_each_stream_has_one_reader() {
    let functions = functions(&template());
    for (name, function) in &functions {
        let mut expected = BTreeSet::new();
        if name == EXPORT {
            let objects = ["tickets", "manifests"].map(|folder| format!("${{Exports.Arn}}/{folder}/*"));
            expected.extend(objects.map(|objects| ("s3:PutObject".to_owned(), objects)));
        }
        let streams = [(RECORD, STREAM), (DELIVER, EVENTS)];
        for (_, stream) in streams.iter().filter(|(reader, _)| name == reader) {
            let calls = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"];
            expected.extend(calls.map(|call| (format!("dynamodb:{call}"), (*stream).to_owned())));
        }
        if name == RECORD {
            expected.insert(("sqs:SendMessage".to_owned(), "HistoryFailures.Arn".to_owned()));
        }
        let mut allowed = allowed(function);
        allowed.retain(|(action, resource)| {
            !action.starts_with("dynamodb:") || [STREAM, EVENTS].contains(&&**resource)
        });
        assert_eq!(allowed, expected, "{name}");
    }
}

#[test]
fn policies_limit_what_is_written_to_a_key_and_by_the_export() {
    let functions = functions(&template());
    // A key's item: functions may only write what was leased of its limit, and that it is used. They cannot
    // widen a key.
    for (name, function) in &functions {
        let of_keys = |statement: &Yaml| {
            statement["Action"] == "dynamodb:UpdateItem" && text(&statement["Resource"]) == "ApiKeys.Arn"
        };
        for statement in statements(&template(), function).into_iter().filter(of_keys) {
            let list = |operator: &str, key: &str| {
                let values = statement["Condition"][operator][key].as_sequence().unwrap();
                values.iter().map(|value| text(value).to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(
                list("ForAllValues:StringEquals", "dynamodb:Attributes"),
                [schema::API_KEYS_KEY[0].0, limit::WINDOW, limit::LEASED, limit::LAST_USED],
                "{name}"
            );
            // `ALL_*` values would return more than these attributes.
            let returned = list("StringEqualsIfExists", "dynamodb:ReturnValues");
            assert_eq!(returned, ["NONE", "UPDATED_OLD", "UPDATED_NEW"], "{name}");
        }
    }
    // The export may write two partitions of the table.
    let statements = statements(&template(), &functions[EXPORT]);
    let mut writes = statements.iter().filter(|statement| statement["Action"] == "dynamodb:PutItem");
    let keys = &writes.next().unwrap()["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"];
    assert_eq!(keys.as_sequence().unwrap().iter().map(text).collect::<Vec<_>>(), [CHECKPOINTS, SETTINGS]);
    assert!(writes.next().is_none());
}

#[test]
fn the_gateway_s_own_answers_are_problems() {
    let template = template();
    let responses =
        template["Resources"]["Api"]["Properties"]["GatewayResponses"].as_mapping().unwrap().clone();
    for (name, response) in responses {
        let body = text(&response["ResponseTemplates"]["application/json"]);
        assert!(!body.contains('$'), "{name:?}: the gateway's own text may repeat a key");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        for member in ["type", "title", "detail", "errors"] {
            assert!(body.get(member).is_some(), "{name:?} lacks {member}");
        }
        assert_eq!(body.get("status").and_then(|s| s.as_u64()), response["StatusCode"].as_u64(), "{name:?}");
        assert_eq!(
            text(&response["ResponseParameters"]["Headers"]["Content-Type"]),
            "'application/problem+json'"
        );
    }
}

#[test]
fn the_template_s_bounds_of_numbers_are_the_code_s() {
    let template = template();
    for (parameter, variable) in [
        ("SettleSeconds", "SETTLE_SECONDS"),
        ("TombstoneDays", "TOMBSTONE_DAYS"),
        ("WebhookFailingDays", "WEBHOOK_FAILING_DAYS"),
    ] {
        let bound = |name: &str| template["Parameters"][parameter][name].as_u64().unwrap();
        let accepted =
            |value: u64| Config::from_lookup(|asked| (asked == variable).then(|| value.to_string())).is_ok();
        let (least, most) = (bound("MinValue"), bound("MaxValue"));
        assert!(accepted(least) && accepted(most), "{variable} from {least} to {most}");
        assert!(!accepted(least - 1) && !accepted(most + 1), "{variable} beyond {least} to {most}");
    }
}

#[test]
fn the_limits_in_the_api_s_document_are_the_code_s() {
    let document = read("docs/api.md");
    let kib = |bytes: usize| bytes / 1024;
    for sentence in [
        format!("| `subject` | 1 to {SUBJECT_CHARACTERS} characters; required |"),
        format!("| `ticketContent` | {} KiB of UTF-8 |", kib(CONTENT_BYTES)),
        format!("a free `owner` | {} KiB of UTF-8 each |", kib(NOTE_BYTES)),
        format!("| `customerEmail` | an address, {EMAIL_BYTES} bytes of UTF-8 |"),
        format!("a text of 1 to {KEY_CHARACTERS} characters without control characters"),
        format!("of at most {} MiB", kib(kib(MAX_BODY))),
        format!("reported at once (422): the first {MOST_VIOLATIONS} are"),
        format!("`limit` (1 to {MAX_LIMIT})"),
        format!("with an array of 1 to {MOST_ROWS} tickets"),
        format!("an array of 1 to {MOST_ROWS} elements"),
    ] {
        assert!(document.contains(&sentence), "docs/api.md does not say: {sentence}");
    }
}

#[test]
fn every_sample_event_is_one_of_its_function_s_route() {
    let mut functions = BTreeSet::new();
    for file in fs::read_dir(root().join("events")).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let event: serde_json::Value = serde_json::from_str(&read(&format!("events/{file}"))).unwrap();
        let [name, format, "json"] = file.split('.').collect::<Vec<_>>()[..] else { panic!("{file}") };
        if name == EXPORT {
            let event: export_tickets::Event = serde_json::from_value(event).unwrap();
            assert_eq!(event.since.is_some(), format == "since", "{file}");
            functions.insert(name.to_owned());
            continue;
        }
        if name == RECORD {
            let event: record_changes::Event = serde_json::from_value(event).unwrap();
            let versions =
                event.records.into_iter().map(|record| record.dynamodb.version().unwrap().unwrap());
            let versions: Vec<_> = versions.map(|version| version.entry.version.get()).collect();
            assert_eq!((format, versions), ("stream", vec![1, 2]), "{file}");
            functions.insert(name.to_owned());
            continue;
        }
        if name == DELIVER {
            let event: deliver_webhooks::Event = serde_json::from_value(event).unwrap();
            let wake = if format == "stream" { Wake::Recorded } else { Wake::Scheduled };
            assert_eq!(event.wake(), wake, "{file}");
            functions.insert(name.to_owned());
            continue;
        }
        let route = ROUTES.iter().find(|route| route.function.name() == name);
        let route = route.unwrap_or_else(|| panic!("{file} is of no function"));
        let context = &event["requestContext"];
        let (method, path) = match format {
            "rest" => {
                // The path that the client wrote. The event's own path lacks the stage.
                let path = context["path"].as_str().unwrap();
                assert_eq!(
                    path,
                    format!("/{}{}", context["stage"].as_str().unwrap(), event["path"].as_str().unwrap())
                );
                assert_eq!(event["resource"], format!("/api/v1{}", route.path), "{file}");
                assert_eq!(event["httpMethod"], context["httpMethod"]);
                (&event["httpMethod"], path.strip_prefix(BASE_PATH).unwrap())
            }
            "http" => {
                let http = &context["http"];
                let key = format!("{} {BASE_PATH}{}", http["method"].as_str().unwrap(), route.path);
                assert_eq!(event["routeKey"].as_str(), Some(&*key), "{file}");
                (&http["method"], event["rawPath"].as_str().unwrap().strip_prefix(BASE_PATH).unwrap())
            }
            // A function URL has no routes.
            "url" => (&context["http"]["method"], event["rawPath"].as_str().unwrap()),
            other => panic!("{file}: what is {other}?"),
        };
        let method = method.as_str().unwrap();
        assert!(route.methods.iter().any(|known| known == method), "{file}: {method}");
        let id = event["pathParameters"]["id"].as_str();
        assert_eq!(id.is_some(), route.path.contains("{id}") && format != "url", "{file}");
        let expected = route.path.replace("{id}", id.unwrap_or("1"));
        assert_eq!(path.strip_suffix('/').unwrap_or(path), expected, "{file}");
        functions.insert(name.to_owned());
    }
    let expected =
        ROUTES.iter().map(|route| route.function.name()).chain([EXPORT, RECORD, DELIVER]).map(str::to_owned);
    assert_same_list("events/", &functions, &expected.collect());
    for (function, name) in [("ExportTicketsFunction", EXPORT), ("DeliverWebhooksFunction", DELIVER)] {
        let scheduled = &template()["Resources"][function]["Properties"]["Events"]["Schedule"];
        let input: serde_json::Value = serde_json::from_str(text(&scheduled["Properties"]["Input"])).unwrap();
        let sample: serde_json::Value =
            serde_json::from_str(&read(&format!("events/{name}.schedule.json"))).unwrap();
        assert_eq!(input, sample, "the schedule of {name} sends what the sample has");
    }
}

/// The model, with a record of the calls: actions and resources, named as in a policy.
#[derive(Debug, Clone)]
struct Watched {
    engine: Model,
    asked: Arc<Mutex<BTreeSet<(String, String)>>>,
    /// The partitions of the tickets' table that were written to, each with the action.
    written: Arc<Mutex<BTreeSet<(String, String)>>>,
}

impl HttpConnector for Watched {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let body: serde_json::Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let resource = |call: &serde_json::Value| {
            let table = call["TableName"].as_str().unwrap();
            match call["IndexName"].as_str() {
                Some(index) => format!("${{{table}.Arn}}/index/{index}"),
                None => format!("{table}.Arn"),
            }
        };
        let calls: Vec<(String, String)> = match operation.as_str() {
            "BatchGetItem" => {
                let tables = body["RequestItems"].as_object().unwrap().keys();
                tables.map(|table| (operation.clone(), format!("{table}.Arn"))).collect()
            }
            _ => vec![(operation.clone(), resource(&body))],
        };
        let calls = calls.into_iter().map(|(action, resource)| (format!("dynamodb:{action}"), resource));
        self.asked.lock().unwrap().extend(calls);
        if body["TableName"] == schema::TICKETS && ["PutItem", "UpdateItem"].contains(&&*operation) {
            let key = body.get("Item").unwrap_or(&body["Key"]);
            let bucket = key["bucket"]["S"].as_str().unwrap().to_owned();
            self.written.lock().unwrap().insert((operation, bucket));
        }
        self.engine.call(request)
    }
}

/// A path for ticket 1 or customer 7.
fn filled(path: &str) -> String {
    let id = match path_id(path) {
        Some(PathId::Ticket) => "1",
        Some(PathId::Customer) => "7",
        None => "",
    };
    path.replace("{id}", id)
}

#[tokio::test(start_paused = true)]
async fn the_calls_that_functions_are_seen_to_make_are_those_they_may_make() {
    let engine = Model::new(1).await;
    engine.keep_stream();
    let watched = Watched { engine: engine.clone(), asked: Arc::default(), written: Arc::default() };
    let clock = Clock::system();
    let mut keys = Vec::new();
    let store = Keys::new(DynamoDb::new(&engine.sdk_config()), schema::API_KEYS, clock.clone());
    for customer in [None, Some(7.try_into().unwrap())] {
        let token = BearerToken::generate().unwrap();
        // The key has a limit, so each instance leases a part of it.
        let limit = "1000000/h".parse().ok();
        let key = ApiKey { customer, limit, ..ApiKey::new(&token, Scope::ALL, clock.now()) };
        store.insert(&key).await.unwrap();
        keys.push(token.reveal());
    }

    let gateway = async |most_keys: usize| {
        let connector = SharedHttpConnector::new(watched.clone());
        let client = http_client_fn(move |_, _| connector.clone());
        // A new client each time, so that no key is remembered.
        let sdk_config = engine.sdk_config().into_builder().http_client(client).build();
        let mut config = Config::from_lookup(|_| None).unwrap();
        config.settings.most_keys = most_keys;
        Gateway { app: Arc::new(App::open(config, &sdk_config, clock.clone())), payload: Payload::Rest }
    };
    let body = json!({"customerID": 7, "subject": "s"});
    // Requests for every path through each function, without faults and with them: after a lost answer, a
    // write is read back.
    let mut requests = vec![
        (Method::POST, "/tickets".to_owned(), body.clone()),
        (Method::POST, "/tickets".to_owned(), body.clone()),
        (Method::PUT, "/tickets/1".to_owned(), json!({"owner": "ada"})),
        (Method::PATCH, "/tickets/1".to_owned(), json!({"owner": "grace"})),
        (Method::PATCH, "/tickets".to_owned(), json!([{"id": "1", "owner": "linus"}])),
    ];
    for route in ROUTES.iter().filter(|route| route.methods.contains(&Method::GET)) {
        let parameters = operation(route, "GET").described["parameters"].to_string();
        requests.push((Method::GET, filled(route.path), json!(null)));
        // Each index, and both side by side.
        for (name, value) in
            [("updatedSince", "2020-01-01"), ("createdSince", "2020-01-01"), ("open", "true")]
        {
            if parameters.contains(&format!("\"{name}\"")) {
                let path = format!("{}?{name}={value}", filled(route.path));
                requests.push((Method::GET, path, json!(null)));
            }
        }
    }
    requests.push((Method::DELETE, "/tickets/1".to_owned(), json!(null)));
    for route in &ROUTES {
        let is_asked = |method| {
            requests.iter().any(|(asked, path, _)| {
                asked == method && path.split('?').next() == Some(&filled(route.path))
            })
        };
        assert!(route.methods.iter().all(is_asked), "{} is new: request it here", route.function.name());
    }
    let lost = Faults { reset_after: 0.5, ..Faults::default() };
    let mut seen: BTreeMap<&str, BTreeSet<(String, String)>> = BTreeMap::new();
    let mut written = seen.clone();
    for faults in [Faults::default(), lost.clone(), lost] {
        engine.set(faults);
        for most_keys in [20_000, 1] {
            for (at, key) in keys.iter().enumerate() {
                for (method, path, body) in &requests {
                    watched.asked.lock().unwrap().clear();
                    let request = Request::builder()
                        .method(method)
                        .uri(format!("{BASE_PATH}{path}"))
                        .header("authorization", format!("Bearer {key}"))
                        .header("content-type", "application/json")
                        .header("idempotency-key", at.to_string());
                    let request = request.body(Body::from(body.to_string())).unwrap();
                    let Ok(_) = gateway(most_keys).await.into_router().oneshot(request).await;
                    let bare = path.split('?').next().unwrap();
                    let answers =
                        |route: &&Route| filled(route.path) == bare && route.methods.contains(method);
                    let function = ROUTES.iter().find(answers).unwrap().function.name();
                    seen.entry(function).or_default().append(&mut watched.asked.lock().unwrap());
                    written.entry(function).or_default().append(&mut watched.written.lock().unwrap());
                }
            }
        }
    }
    // When a function starts, over TLS, it reads the format of what is stored.
    engine.set(Faults::default());
    watched.asked.lock().unwrap().clear();
    gateway(20_000).await.app.tickets.check_format_at_start().await.unwrap();
    let at_start = std::mem::take(&mut *watched.asked.lock().unwrap());
    for (function, seen) in &mut seen {
        if read(&format!("functions/{function}/src/main.rs")).contains("App::from_env()") {
            seen.extend(at_start.clone());
        }
    }
    // Every version, the last one first: a version recorded after its ticket's deletion takes a different
    // path.
    engine.set(Faults::default());
    watched.asked.lock().unwrap().clear();
    let history = gateway(20_000).await.app.history.clone();
    let mut records = engine.take_stream();
    records.reverse();
    let event: record_changes::Event = serde_json::from_value(json!({"Records": records})).unwrap();
    let outcome = record_changes::answer(&history, event).await;
    assert!(outcome.batch_item_failures.is_empty());
    seen.entry(RECORD).or_default().append(&mut watched.asked.lock().unwrap());
    // A first pass, which walks the buckets, and then a pass over what changed.
    engine.set(Faults::default());
    watched.asked.lock().unwrap().clear();
    let store = Store::new(InMemory::new());
    // Within the settle window of the first pass, so that the second one has it to read.
    let fresh = Request::builder()
        .method(Method::POST)
        .uri(format!("{BASE_PATH}/tickets"))
        .header("authorization", format!("Bearer {}", keys[0]))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let Ok(created) = gateway(20_000).await.into_router().oneshot(fresh).await;
    assert_eq!(created.status(), 201);
    watched.asked.lock().unwrap().clear();
    watched.written.lock().unwrap().clear();
    for later in [Duration::ZERO, Duration::from_secs(60)] {
        let tickets = gateway(20_000).await.app.tickets.clone();
        // The second pass runs after the settle window, so it sees what was written.
        let clock = Clock::new(move || Clock::system().now().plus(later));
        let variables = Config::from_lookup(|_| None).unwrap().variables();
        let exporter = Exporter::new(tickets, store.clone(), clock).noting(variables);
        export_tickets::answer(&exporter, Event::default(), Timestamp::MAX).await.unwrap();
    }
    seen.entry(EXPORT).or_default().append(&mut watched.asked.lock().unwrap());
    let exported = std::mem::take(&mut *watched.written.lock().unwrap());
    let put = |bucket: &str| ("PutItem".to_owned(), bucket.to_owned());
    assert_eq!(exported, [put(CHECKPOINTS), put(SETTINGS)].into());
    // Events, to a receiver.
    let webhooks = Webhooks::new(DynamoDb::new(&engine.sdk_config()), schema::WEBHOOKS, clock.clone());
    let webhook = support::webhooks::webhook("a", "2020-01-01".parse().unwrap());
    webhooks.insert(&webhook).await.unwrap();
    let network = Network::new(1);
    network.set(&support::webhooks::url("a"), Mood::Well);
    let connector = SharedHttpConnector::new(watched.clone());
    let client = http_client_fn(move |_, _| connector.clone());
    let sdk_config = engine.sdk_config().into_builder().http_client(client).build();
    let config = Config::from_lookup(|_| None).unwrap();
    let deliverer =
        deliver_webhooks::deliverer(&config, DynamoDb::new(&sdk_config), clock.clone(), network.clone());
    watched.asked.lock().unwrap().clear();
    deliverer.run(Wake::Scheduled, Timestamp::MAX).await.unwrap();
    assert!(!network.received(&support::webhooks::url("a")).is_empty());
    seen.entry(DELIVER).or_default().append(&mut watched.asked.lock().unwrap());
    // Functions never ask for the partitions that the policies deny.
    for (function, written) in written {
        for (action, bucket) in written {
            assert_eq!(bucket == COUNTER, action == "UpdateItem", "{function}: {action} to {bucket}");
            assert!(![CHECKPOINTS, SETTINGS, RANGES].contains(&&*bucket), "{function}: {action} to {bucket}");
        }
    }
    for (name, function) in functions(&template()) {
        let mut allowed = allowed(&function);
        allowed.retain(|(action, resource)| {
            action.starts_with("dynamodb:") && ![STREAM, EVENTS].contains(&&**resource)
        });
        assert_eq!(seen.get(&*name), Some(&allowed), "{name}");
    }
}

#[test]
fn every_policy_names_its_actions_and_resources() {
    for (name, function) in functions(&template()) {
        let allowed = allowed(&function);
        assert!(!allowed.is_empty(), "{name}");
        for (action, resource) in allowed {
            if name == EXPORT && action == "s3:PutObject" {
                assert!(resource.starts_with("${Exports.Arn}/"), "{resource}");
                continue;
            }
            if (name == RECORD && (action == "sqs:SendMessage" || resource == STREAM))
                || (name == DELIVER && resource == EVENTS)
            {
                continue; // The policy names one queue, and the streams of one table.
            }
            let call = action.strip_prefix("dynamodb:").unwrap_or_else(|| panic!("{name}: {action}"));
            assert!(call.chars().all(char::is_alphabetic) && call != "Scan", "{name}: {action}");
            assert!(!resource.contains('*') && resource.contains(".Arn"), "{name}: {resource}");
            // Functions look up a key and count its use. None may list or create keys.
            let of_keys = ["GetItem", "UpdateItem"].contains(&call);
            assert!(!resource.contains("ApiKeys") || of_keys, "{name}: {action} on {resource}");
        }
    }
}
