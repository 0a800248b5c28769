//! Tests of the template's monitoring: every function, table and index is watched and shown, and a new function
//! needs no other alarm.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use serde_norway::Value as Yaml;
use support::files::{read, template, text, untagged};
use tickets_http::log::METRICS;
use tickets_http::route::{DOCUMENTS, ROUTES};
use tickets_repository::schema::{HISTORY_INDEXES, INDEXES};

use crate::template::{functions, resources};

/// The metrics of AWS that the template uses: namespace, name, and the names of the dimensions.
const MEASURED: [(&str, &str, &[&str]); 15] = [
    ("AWS/ApiGateway", "Count", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "4XXError", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "5XXError", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "Latency", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "IntegrationLatency", &["ApiName", "Stage"]),
    // The errors of one version, as far as it is called through an alias.
    ("AWS/Lambda", "Errors", &["ExecutedVersion", "FunctionName", "Resource"]),
    ("AWS/Lambda", "IteratorAge", &["FunctionName"]),
    ("AWS/Lambda", "ConcurrentExecutions", &[]),
    ("AWS/DynamoDB", "ReadThrottleEvents", &["TableName"]),
    ("AWS/DynamoDB", "ReadThrottleEvents", &["GlobalSecondaryIndexName", "TableName"]),
    ("AWS/DynamoDB", "WriteThrottleEvents", &["TableName"]),
    ("AWS/DynamoDB", "WriteThrottleEvents", &["GlobalSecondaryIndexName", "TableName"]),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits", &["TableName"]),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &["TableName"]),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", &["QueueName"]),
];

/// Whether functions write this metric, with the dimension `function`.
fn is_written(name: &str) -> bool {
    METRICS.iter().any(|(written, _)| *written == name)
}

fn alarms(template: &Yaml) -> BTreeMap<String, Yaml> {
    resources(template, "AWS::CloudWatch::Alarm")
}

/// A metric that is monitored: namespace, name, and dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    namespace: String,
    name: String,
    pub dimensions: BTreeMap<String, String>,
}

impl Metric {
    fn assert_known(&self, template: &Yaml, place: &str) {
        let names: Vec<_> = self.dimensions.keys().map(String::as_str).collect();
        let own = self.namespace.starts_with("${AWS::StackName}");
        if own && names.is_empty() {
            let made = filters(template).into_values().any(|filter| filter.metric == *self);
            assert!(made, "{place}: no filter makes {self:?}");
        } else if own {
            assert!(is_written(&self.name), "{place}: {self:?} is written by no function");
            assert_eq!(names, ["function"], "{place}: {self:?}");
        } else {
            let known = (&*self.namespace, &*self.name, &*names);
            assert!(MEASURED.contains(&known), "{place}: AWS has no {self:?}");
        }
    }
}

/// A namespace as `!Sub` has it.
fn namespace(value: &Yaml) -> String {
    let namespace = text(value);
    if namespace == "AWS::StackName" { "${AWS::StackName}".to_owned() } else { namespace.to_owned() }
}

/// The metrics of an alarm: its own, or those in its expression.
pub fn watched(alarm: &Yaml) -> Vec<Metric> {
    let metric = |metric: &Yaml| {
        let dimensions = metric["Dimensions"].as_sequence().cloned().unwrap_or_default();
        let each = dimensions.iter().map(|d| (text(&d["Name"]).to_owned(), text(&d["Value"]).to_owned()));
        Metric {
            namespace: namespace(&metric["Namespace"]),
            name: text(&metric["MetricName"]).to_owned(),
            dimensions: each.collect(),
        }
    };
    match alarm["Properties"]["Metrics"].as_sequence() {
        None => vec![metric(&alarm["Properties"])],
        Some(metrics) => {
            let stats = metrics.iter().filter_map(|one| one.get("MetricStat"));
            stats.map(|stat| metric(&stat["Metric"])).collect()
        }
    }
}

/// A metric filter: the group whose lines it reads, which of them it counts, and the metric that it makes.
struct Filter {
    group: String,
    pattern: String,
    value: String,
    metric: Metric,
}

/// The template's metric filters, by logical id.
fn filters(template: &Yaml) -> BTreeMap<String, Filter> {
    let filter = |resource: &Yaml| {
        let properties = &resource["Properties"];
        let [made] = &properties["MetricTransformations"].as_sequence().unwrap()[..] else {
            panic!("one metric")
        };
        assert!(made.get("Dimensions").is_none(), "a dimension would make a metric for each of its values");
        let value = &made["MetricValue"];
        Filter {
            group: text(&properties["LogGroupName"]).to_owned(),
            pattern: text(&properties["FilterPattern"]).to_owned(),
            value: value.as_str().map_or_else(|| value.as_u64().unwrap().to_string(), str::to_owned),
            metric: Metric {
                namespace: namespace(&made["MetricNamespace"]),
                name: text(&made["MetricName"]).to_owned(),
                dimensions: BTreeMap::new(),
            },
        }
    };
    let filters = resources(template, "AWS::Logs::MetricFilter");
    filters.into_iter().map(|(name, resource)| (name, filter(&resource))).collect()
}

/// Whether a filter's pattern matches a line, as far as the template's patterns go (CloudWatch Logs, *Filter pattern
/// syntax*): comparisons, joined by `&&`, or by `||` in parentheses.
fn matches(pattern: &str, line: &serde_json::Value) -> bool {
    let terms = pattern.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap();
    terms.split("&&").all(|term| {
        let alternatives = term.trim().trim_start_matches('(').trim_end_matches(')');
        alternatives.split("||").any(|comparison| {
            let [field, operator, value] = comparison.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("{comparison}")
            };
            let path = field.strip_prefix("$.").unwrap().replace('.', "/");
            let found = line.pointer(&format!("/{path}"));
            match (operator, found) {
                (_, None) => false,
                ("=", Some(found)) => *found == serde_json::from_str::<serde_json::Value>(value).unwrap(),
                ("!=", Some(found)) => *found != serde_json::from_str::<serde_json::Value>(value).unwrap(),
                _ => panic!("{comparison}"),
            }
        })
    })
}

/// The panels of the dashboard that show metrics, by title, each with its rows.
fn panels(template: &Yaml) -> Vec<(String, Vec<Row>)> {
    let body = text(&template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]);
    let dashboard: serde_json::Value = serde_json::from_str(body).unwrap();
    let panel = |widget: &serde_json::Value| {
        let properties = &widget["properties"];
        let rows = properties["metrics"].as_array()?.iter().map(|row| row.as_array().unwrap().clone());
        Some((properties["title"].as_str().unwrap().to_owned(), rows.collect()))
    };
    dashboard["widgets"].as_array().unwrap().iter().filter_map(panel).collect()
}

/// A row of a panel: a metric, or an expression.
type Row = Vec<serde_json::Value>;

/// The metric of a row.
fn metric(row: &Row) -> Metric {
    let words: Vec<_> = row.iter().filter_map(|word| word.as_str()).collect();
    let [namespace, name, dimensions @ ..] = &words[..] else { panic!("{row:?}") };
    let dimensions = dimensions.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
    Metric { namespace: (*namespace).to_owned(), name: (*name).to_owned(), dimensions: dimensions.collect() }
}

/// A search of an expression: the schema in braces, and the terms, `Name="value"`.
fn searches(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let search = |text: &str| {
        let (text, _) = text.split_once('\'').unwrap();
        let (schema, terms) = text.strip_prefix('{').unwrap().split_once("} ").unwrap();
        let terms = terms.split_whitespace().map(|term| {
            let (name, value) = term.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        });
        (schema.to_owned(), terms.collect())
    };
    expression.split("SEARCH('").skip(1).map(search).collect()
}

#[test]
fn every_invocation_that_fails_or_does_not_start_sets_off_an_alarm_whatever_the_function() {
    let template = template();
    let (alarms, filters) = (alarms(&template), filters(&template));
    // Every function's reports go to the one group of which the filter reads every line.
    let logging = &template["Globals"]["Function"]["LoggingConfig"];
    assert_eq!((text(&logging["LogGroup"]), text(&logging["LogFormat"])), ("FunctionLogs", "JSON"));
    assert!(logging.get("SystemLogLevel").is_none(), "reports have the levels INFO and WARN");
    for (name, function) in functions(&template) {
        assert!(function["Properties"].get("LoggingConfig").is_none(), "{name} has a log of its own");
    }
    let counts = |alarm: &str, filter: &str, group: &str| {
        let filter = &filters[filter];
        assert_eq!((&*filter.group, &*filter.value), (group, "1"));
        assert_eq!(watched(&alarms[alarm]), std::slice::from_ref(&filter.metric));
        assert_eq!(alarms[alarm]["Properties"]["Statistic"], "Sum");
        &filter.pattern
    };
    let failed = counts("FunctionErrorAlarm", "FailedInvocationFilter", "FunctionLogs");
    assert_eq!(alarms["FunctionErrorAlarm"]["Properties"]["Threshold"], 1);
    // Lambda Telemetry API, *Event schema reference*: `Status`.
    for (status, fails) in [("success", false), ("failure", true), ("error", true), ("timeout", true)] {
        let line =
            |kind: &str| json!({"time": "…", "type": kind, "record": {"requestId": "…", "status": status}});
        assert_eq!(matches(failed, &line("platform.report")), fails, "{status}");
        assert!(!matches(failed, &line("platform.runtimeDone")), "counted twice");
    }
    assert!(!matches(failed, &json!({"level": "INFO", "message": "request", "status": 503, "Errors": 1})));

    let unauthenticated = counts("UnauthenticatedAlarm", "UnauthenticatedFilter", "FunctionLogs");
    assert!(
        is_written("Unauthenticated"),
        "the member is in the line of every function that answers requests"
    );
    for (value, counted) in [(1, true), (0, false)] {
        assert_eq!(
            matches(unauthenticated, &json!({"function": "get-ticket", "Unauthenticated": value})),
            counted
        );
    }

    // The gateway counts requests, and the functions' lines count the rows of batches that failed like a 5xx.
    let filter = &filters["FailedRowsFilter"];
    assert_eq!((&*filter.group, &*filter.value), ("FunctionLogs", "$.Errors"));
    assert!(watched(&alarms["ServerErrorAlarm"]).contains(&filter.metric));
    for (status, errors, counted) in [(207, 3, true), (207, 0, false), (503, 1, false), (200, 0, false)] {
        let line = json!({"message": "request", "status": status, "Errors": errors});
        assert_eq!(matches(&filter.pattern, &line), counted, "{status}, {errors}");
    }

    // The access log has what API Gateway tells of each request. Its members are texts.
    let format = text(&template["Resources"]["Api"]["Properties"]["AccessLogSetting"]["Format"]);
    let format: serde_json::Value = serde_json::from_str(format).unwrap();
    let request = |variables: &[(&str, &str)]| {
        let mut line = format.clone();
        for member in line.as_object_mut().unwrap().values_mut() {
            let variable = member.as_str().unwrap().strip_prefix("$context.").unwrap();
            *member =
                json!(variables.iter().find(|(name, _)| *name == variable).map_or("-", |(_, value)| value));
        }
        line
    };
    let throttled = counts("FunctionThrottleAlarm", "NotStartedFilter", "AccessLogs");
    assert!(matches(throttled, &request(&[("status", "503"), ("integrationStatus", "429")])));
    assert!(
        !matches(throttled, &request(&[("status", "429"), ("integrationStatus", "200")])),
        "a key's limit"
    );
    assert!(!matches(throttled, &request(&[("status", "429")])), "the gateway's throttle");

    let refused = counts("KeylessAlarm", "KeylessFilter", "AccessLogs");
    let keyless = |status: &str, method: &str, path: &str| {
        let path = format!("/api/v1{path}");
        request(&[("status", status), ("httpMethod", method), ("resourcePath", &path)])
    };
    for document in DOCUMENTS {
        assert!(matches(refused, &keyless("429", "GET", document)));
        assert!(!matches(refused, &keyless("200", "GET", document)));
    }
    for route in ROUTES {
        assert!(matches(refused, &keyless("429", "OPTIONS", route.path)));
        assert!(!matches(refused, &keyless("429", "GET", route.path)), "over the throttle of all callers");
    }
}

#[test]
fn only_what_tells_versions_apart_and_the_stream_s_reader_name_functions() {
    let template = template();
    let roll_back = template["Globals"]["Function"]["DeploymentPreference"]["Alarms"].as_sequence().unwrap();
    for (name, alarm) in alarms(&template) {
        let named = watched(&alarm).iter().any(|metric| {
            metric.dimensions.keys().any(|dimension| dimension == "FunctionName" || dimension == "function")
        });
        let may = roll_back.iter().any(|alarm| text(alarm) == name) || name == "HistoryLateAlarm";
        assert!(!named || may, "{name} would have to change for a new function");
    }
    for (title, rows) in panels(&template) {
        for row in rows.iter().filter(|row| row[0].is_string()).map(metric) {
            let named = row.dimensions.keys().any(|dimension| dimension == "FunctionName");
            assert!(!named || row.name == "IteratorAge", "{title} would have to change for a new function");
        }
    }
    // The time that is billed, by memory: of every memory that a function has.
    let own = functions(&template).into_values().filter_map(|f| f["Properties"]["MemorySize"].as_u64());
    let sizes: BTreeSet<_> = own.chain(template["Globals"]["Function"]["MemorySize"].as_u64()).collect();
    let filters = filters(&template);
    let billed: BTreeSet<u64> =
        filters.keys().filter_map(|name| name.strip_prefix("BilledFilter")?.parse().ok()).collect();
    assert_eq!(billed, sizes);
    let lambda = panels(&template).into_iter().flat_map(|(_, rows)| rows).find_map(|row| {
        let row = row[0].as_object()?;
        (row.get("id")? == "lambda").then(|| row["expression"].as_str().unwrap().to_owned())
    });
    for size in sizes {
        let filter = &filters[&format!("BilledFilter{size}")];
        let report = json!({"type": "platform.report", "record": {"metrics": {"memorySizeMB": size}}});
        assert!(matches(&filter.pattern, &report));
        assert_eq!(filter.value, "$.record.metrics.billedDurationMs");
        assert_eq!(filter.metric.name, format!("Billed{size}"));
        for id in [format!("FILL(b{size}, 0)"), format!("FILL(n{size}, 0)")] {
            assert!(lambda.as_ref().unwrap().contains(&id), "the costs leave out {id}");
        }
    }
}

#[test]
fn every_table_and_every_index_is_watched_and_shown() {
    let template = template();
    let alarms = alarms(&template);
    let watched: BTreeSet<_> = alarms.values().flat_map(watched).collect();
    let rows: Vec<_> = panels(&template).into_iter().flat_map(|(_, rows)| rows).collect();
    let shown: BTreeSet<_> = rows.iter().filter(|row| row[0].is_string()).map(metric).collect();
    let searched: BTreeSet<_> =
        rows.iter().filter_map(|row| row[0]["expression"].as_str()).flat_map(searches).collect();
    let of = |name: &str, dimensions: &[(&str, &str)]| Metric {
        namespace: "AWS/DynamoDB".to_owned(),
        name: name.to_owned(),
        dimensions: dimensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let metrics = [
        "ReadThrottleEvents",
        "WriteThrottleEvents",
        "ConsumedReadCapacityUnits",
        "ConsumedWriteCapacityUnits",
    ];
    for table in resources(&template, "AWS::DynamoDB::Table").keys() {
        for metric in &metrics[..2] {
            assert!(
                watched.contains(&of(metric, &[("TableName", table)])),
                "nothing watches {metric} of {table}"
            );
        }
        for metric in metrics {
            let shown = shown.contains(&of(metric, &[("TableName", &format!("${{{table}}}"))]));
            assert!(shown, "the dashboard does not show {metric} of {table}");
        }
    }
    for (table, indexes) in [("Tickets", &INDEXES[..]), ("History", &HISTORY_INDEXES)] {
        for index in indexes {
            for metric in &metrics[..2] {
                let dimensions = [("TableName", table), ("GlobalSecondaryIndexName", index.name)];
                assert!(
                    watched.contains(&of(metric, &dimensions)),
                    "nothing watches {metric} of {}",
                    index.name
                );
            }
        }
        // A search finds all indexes of the table.
        for metric in metrics {
            let search = (
                "AWS/DynamoDB,TableName,GlobalSecondaryIndexName".to_owned(),
                vec![
                    ("TableName".to_owned(), format!("${{{table}}}")),
                    ("MetricName".to_owned(), metric.to_owned()),
                ],
            );
            assert!(searched.contains(&search), "the dashboard does not show {metric} of indexes of {table}");
        }
    }
}

#[test]
fn every_alarm_notifies_watches_something_that_is_there_and_has_a_paragraph() {
    let template = template();
    let operations = read("docs/operations.md");
    for (name, alarm) in &alarms(&template) {
        let [condition, both, own] =
            &untagged(&alarm["Properties"]["AlarmActions"]).as_sequence().unwrap()[..]
        else {
            panic!("{name}: a choice")
        };
        let topics = |topics: &Yaml| {
            topics.as_sequence().unwrap().iter().map(|topic| text(topic).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(text(condition), "HasAlarmTopic", "{name}");
        assert_eq!(
            (topics(both), topics(own)),
            (vec!["AlarmTopic".to_owned(), "AlarmTopicArn".to_owned()], vec!["AlarmTopic".to_owned()],)
        );
        assert!(operations.contains(&format!("`{name}`")), "docs/operations.md says what to do on {name}");
        let watched = watched(alarm);
        assert!((1..=10).contains(&watched.len()), "{name}: an alarm takes ten metrics");
        for metric in watched {
            metric.assert_known(&template, name);
        }
    }
    let topics = resources(&template, "AWS::SNS::Topic");
    assert_eq!(topics.keys().collect::<Vec<_>>(), ["AlarmTopic"]);
    assert!(topics["AlarmTopic"].get("Condition").is_none(), "every alarm names it");
    let subscription = &template["Resources"]["AlarmSubscription"];
    assert_eq!(text(&subscription["Properties"]["TopicArn"]), "AlarmTopic");
    assert_eq!(text(&subscription["Properties"]["Endpoint"]), "AlarmEmail");
}

#[test]
fn every_panel_of_the_dashboard_shows_metrics_that_are_there_and_is_described() {
    let template = template();
    let operations = read("docs/operations.md");
    let body = text(&template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]);
    let dashboard: serde_json::Value = serde_json::from_str(body).unwrap();
    let mut place = BTreeSet::new();
    for widget in dashboard["widgets"].as_array().unwrap() {
        let number = |name: &str| widget[name].as_u64().unwrap();
        for x in number("x")..number("x") + number("width") {
            for y in number("y")..number("y") + number("height") {
                assert!(x < 24 && place.insert((x, y)), "panels overlap at {x}, {y}");
            }
        }
        let properties = &widget["properties"];
        let title = properties["title"].as_str().unwrap();
        let described = title.split([',', '(']).next().unwrap().trim();
        assert!(operations.contains(&format!("**{described}**")), "docs/operations.md describes {described}");
        if widget["type"] == "alarm" {
            let shown =
                properties["alarms"].as_array().unwrap().iter().map(|arn| arn.as_str().unwrap().to_owned());
            let all = alarms(&template).into_keys().map(|name| format!("${{{name}.Arn}}"));
            assert_eq!(shown.collect::<BTreeSet<_>>(), all.collect());
            continue;
        }
        let rows: Vec<_> =
            properties["metrics"].as_array().unwrap().iter().map(|row| row.as_array().unwrap()).collect();
        let ids: BTreeSet<_> = rows.iter().filter_map(|row| row.last()?["id"].as_str()).collect();
        for row in rows {
            if let Some(expression) = row[0]["expression"].as_str() {
                // Expressions find metrics by name, and other rows by their ids.
                for (schema, terms) in searches(expression) {
                    let (_, name) = terms.iter().find(|(term, _)| term == "MetricName").unwrap();
                    if schema == "\"${AWS::StackName}\",function" {
                        assert!(is_written(name), "{title}: {name} is written by no function");
                    } else {
                        assert!(schema.starts_with("AWS/DynamoDB,"), "{title}: {schema}");
                    }
                }
                for call in ["FILL(", "PERIOD("] {
                    for id in expression.split(call).skip(1) {
                        let id = id.split([',', ')']).next().unwrap();
                        assert!(ids.contains(id), "{title}: {id} is no row of the panel");
                    }
                }
                continue;
            }
            metric(row).assert_known(&template, title);
        }
    }
}
