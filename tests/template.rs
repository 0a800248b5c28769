//! Tests of the template's deployments and monitoring: new versions, alarms, the dashboard, and the rights of
//! functions to write.

use std::collections::{BTreeMap, BTreeSet};

use serde_norway::Value as Yaml;
use support::files::{read, template, text, untagged};
use tickets_http::log::METRICS;
use tickets_http::route::ROUTES;
use tickets_repository::COUNTER;
use tickets_repository::checkpoint::CHECKPOINTS;
use tickets_repository::schema::INDEXES;

/// The metric that a metric filter makes from the export's log.
const FILTERED: &str = "WatermarkAge";

/// The metrics of AWS that the template uses: namespace, name, and the names of the dimensions.
const MEASURED: [(&str, &str, &[&str]); 22] = [
    ("AWS/ApiGateway", "Count", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "4XXError", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "5XXError", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "Latency", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "IntegrationLatency", &["ApiName", "Stage"]),
    ("AWS/Lambda", "Errors", &["FunctionName"]),
    // The errors of one version, as far as it is called through an alias.
    ("AWS/Lambda", "Errors", &["ExecutedVersion", "FunctionName", "Resource"]),
    ("AWS/Lambda", "Throttles", &["FunctionName"]),
    ("AWS/Lambda", "Duration", &["FunctionName"]),
    ("AWS/Lambda", "Invocations", &["FunctionName"]),
    ("AWS/Lambda", "IteratorAge", &["FunctionName"]),
    ("AWS/Lambda", "ConcurrentExecutions", &["FunctionName"]),
    ("AWS/Lambda", "ConcurrentExecutions", &[]),
    ("AWS/DynamoDB", "ReadThrottleEvents", &["TableName"]),
    ("AWS/DynamoDB", "ReadThrottleEvents", &["GlobalSecondaryIndexName", "TableName"]),
    ("AWS/DynamoDB", "WriteThrottleEvents", &["TableName"]),
    ("AWS/DynamoDB", "WriteThrottleEvents", &["GlobalSecondaryIndexName", "TableName"]),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits", &["TableName"]),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits", &["GlobalSecondaryIndexName", "TableName"]),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &["TableName"]),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &["GlobalSecondaryIndexName", "TableName"]),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", &["QueueName"]),
];

/// Whether functions write this metric, with the dimension `function`.
fn is_written(name: &str) -> bool {
    METRICS.iter().any(|(written, _)| *written == name)
}

/// The resources of a type, by logical id.
fn resources(template: &Yaml, kind: &str) -> BTreeMap<String, Yaml> {
    let all = template["Resources"].as_mapping().unwrap();
    let of_type = all.iter().filter(|(_, resource)| resource["Type"] == kind);
    of_type.map(|(name, resource)| (text(name).to_owned(), resource.clone())).collect()
}

fn functions(template: &Yaml) -> BTreeMap<String, Yaml> {
    resources(template, "AWS::Serverless::Function")
}

fn alarms(template: &Yaml) -> BTreeMap<String, Yaml> {
    resources(template, "AWS::CloudWatch::Alarm")
}

/// A metric that is monitored: namespace, name, and dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
}

impl Metric {
    fn assert_known(&self, place: &str) {
        let names: Vec<_> = self.dimensions.keys().map(String::as_str).collect();
        if self.namespace == "AWS::StackName" {
            assert!(is_written(&self.name), "{place}: {self:?} is written by no function");
            assert_eq!(names, ["function"], "{place}: {self:?}");
        } else if self.namespace == "${AWS::StackName}/Exports" {
            assert_eq!((&*self.name, names.len()), (FILTERED, 0), "{place}");
        } else {
            let known = (&*self.namespace, &*self.name, &*names);
            assert!(MEASURED.contains(&known), "{place}: AWS has no {self:?}");
        }
    }
}

/// The metrics of an alarm: its own, or those in its expression.
fn watched(alarm: &Yaml) -> Vec<Metric> {
    let metric = |metric: &Yaml| {
        let dimensions = metric["Dimensions"].as_sequence().cloned().unwrap_or_default();
        let each = dimensions.iter().map(|d| (text(&d["Name"]).to_owned(), text(&d["Value"]).to_owned()));
        Metric {
            namespace: text(&metric["Namespace"]).to_owned(),
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

#[test]
fn every_function_and_every_index_is_watched_and_shown() {
    let template = template();
    let alarms = alarms(&template);
    let rows = panels(&template).into_iter().flat_map(|(_, rows)| rows);
    let shown: BTreeSet<_> = rows.filter(|row| row[0].is_string()).map(|row| metric(&row)).collect();
    let of = |namespace: &str, name: &str, dimensions: &[(&str, &str)]| Metric {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions: dimensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let users = template["Resources"]["KeyUse"]["Properties"]["Roles"].as_sequence().unwrap();
    let users: BTreeSet<_> = users.iter().map(|role| text(role).to_owned()).collect();
    for name in functions(&template).keys() {
        let watched_by = |alarm: &str, metric: &str| {
            let metric = of("AWS/Lambda", metric, &[("FunctionName", name)]);
            assert!(watched(&alarms[alarm]).contains(&metric), "{alarm} does not watch {name}");
        };
        watched_by("FunctionErrorAlarm", "Errors");
        watched_by("FunctionThrottleAlarm", "Throttles");
        for metric in ["Errors", "Throttles", "Duration", "Invocations", "ConcurrentExecutions"] {
            let metric = of("AWS/Lambda", metric, &[("FunctionName", &format!("${{{name}}}"))]);
            assert!(shown.contains(&metric), "the dashboard does not show {metric:?}");
        }
        assert!(users.contains(&format!("{name}Role")), "KeyUse leaves out {name}");
    }
    for index in INDEXES {
        let dimensions = |table| [("TableName", table), ("GlobalSecondaryIndexName", index.name)];
        for metric in ["ReadThrottleEvents", "WriteThrottleEvents"] {
            let metric = of("AWS/DynamoDB", metric, &dimensions("Tickets"));
            assert!(watched(&alarms["TableThrottleAlarm"]).contains(&metric), "nothing watches {metric:?}");
        }
        for metric in [
            "ReadThrottleEvents",
            "WriteThrottleEvents",
            "ConsumedReadCapacityUnits",
            "ConsumedWriteCapacityUnits",
        ] {
            let metric = of("AWS/DynamoDB", metric, &dimensions("${Tickets}"));
            assert!(shown.contains(&metric), "the dashboard does not show {metric:?}");
        }
    }
}

#[test]
fn every_function_has_an_alias_that_shifts_gradually_and_rolls_back() {
    let template = template();
    let globals = &template["Globals"]["Function"];
    assert_eq!(globals["AutoPublishAlias"], "live");
    assert_eq!(text(&globals["DeploymentPreference"]["Type"]), "DeploymentPreference");
    let [alarm] = &globals["DeploymentPreference"]["Alarms"].as_sequence().unwrap()[..] else { panic!() };
    assert_ne!(template["Parameters"]["DeploymentPreference"]["Default"], "AllAtOnce");
    // If any version of any function fails, all functions are rolled back.
    let versions = watched(&alarms(&template)[text(alarm)]);
    let functions = functions(&template);
    for name in functions.keys() {
        let expected = [
            ("ExecutedVersion".to_owned(), format!("{name}.Version.Version")),
            ("FunctionName".to_owned(), name.clone()),
            ("Resource".to_owned(), format!("${{{name}}}:live")),
        ];
        assert!(versions.iter().any(|metric| metric.dimensions == expected.clone().into()), "{name}");
    }
    assert_eq!(versions.len(), functions.len());
    for (name, function) in functions {
        let properties = &function["Properties"];
        for overridden in ["AutoPublishAlias", "DeploymentPreference", "PermissionsBoundary"] {
            assert!(properties.get(overridden).is_none(), "{name} has a {overridden} of its own");
        }
        // Both are needed: they make each change of a property, or of a parameter, a new version.
        assert_eq!(properties["AutoPublishAliasAllProperties"], true, "{name}");
        assert_eq!(text(&properties["VersionDescription"]), "configuration ${Configuration}", "{name}");
    }
    // Event sources besides the API and the scheduler, whose events SAM sends to the alias by itself.
    assert_eq!(
        text(&template["Resources"]["TicketChanges"]["Properties"]["FunctionName"]),
        "RecordChangesFunction.Alias"
    );
    for output in ["RecordChangesFunctionName", "ExportFunctionName"] {
        assert!(text(&template["Outputs"][output]["Value"]).ends_with("Function.Alias"), "{output}");
    }
}

#[test]
fn every_parameter_that_a_function_is_configured_by_makes_a_new_version() {
    let template = template();
    let parameters: BTreeSet<&str> = template["Parameters"].as_mapping().unwrap().keys().map(text).collect();
    let mut used = BTreeSet::new();
    let mut collect = |variables: &Yaml| {
        for value in variables.as_mapping().unwrap().values() {
            // In `!If [Condition, !Ref Parameter, !Sub …]` the second element is the parameter.
            let inner = untagged(value).as_sequence().map_or(value, |choice| &choice[1]);
            used.extend(parameters.get(text(inner)).copied().map(str::to_owned));
        }
    };
    collect(&template["Globals"]["Function"]["Environment"]["Variables"]);
    for function in functions(&template).values() {
        if let Some(environment) = function["Properties"].get("Environment") {
            collect(&environment["Variables"]);
        }
    }
    used.insert("Architecture".to_owned());
    let content = text(&template["Resources"]["Configuration"]["Properties"]["Content"]).lines();
    let content: BTreeSet<String> = content.map(|line| line.split('=').next().unwrap().to_owned()).collect();
    assert_eq!(content, used);
    let variables = &template["Globals"]["Function"]["Environment"]["Variables"];
    assert_eq!(text(&variables["CONFIGURATION"]), "Configuration");
    assert_eq!(text(&variables["POWERTOOLS_METRICS_NAMESPACE"]), "AWS::StackName");
}

#[test]
fn the_benchmarks_give_the_allocator_the_template_s_settings() {
    let template = template();
    let variables = &template["Globals"]["Function"]["Environment"]["Variables"];
    let targets = read("bench/targets.toml");
    for name in ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"] {
        let setting = format!("{name} = \"{}\"", text(&variables[name]));
        assert!(targets.contains(&setting), "bench/targets.toml does not have {setting}");
    }
}

#[test]
fn every_alarm_notifies_watches_something_that_is_there_and_has_a_paragraph() {
    let template = template();
    let operations = read("docs/operations.md");
    let alarms = alarms(&template);
    for (name, alarm) in &alarms {
        let actions = alarm["Properties"]["AlarmActions"].as_sequence().unwrap();
        let topics: Vec<_> = actions.iter().map(|action| text(&untagged(action)[1])).collect();
        assert_eq!(topics, ["AlarmTopic", "AlarmTopicArn"], "{name}");
        assert!(operations.contains(&format!("`{name}`")), "docs/operations.md says what to do on {name}");
        let watched = watched(alarm);
        assert!((1..=10).contains(&watched.len()), "{name}: an alarm takes ten metrics");
        for metric in watched {
            metric.assert_known(name);
        }
    }
    assert_eq!(text(&template["Resources"]["AlarmSubscription"]["Properties"]["Endpoint"]), "AlarmEmail");
    let unauthenticated: BTreeSet<_> = watched(&alarms["UnauthenticatedAlarm"])
        .into_iter()
        .map(|m| m.dimensions["function"].clone())
        .collect();
    assert_eq!(unauthenticated, ROUTES.iter().map(|route| route.function.name().to_owned()).collect());
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
                // Expressions find functions' metrics by name, and other metrics by their ids.
                for search in expression.split("SEARCH('").skip(1) {
                    let name = search.strip_prefix("{\"${AWS::StackName}\",function} MetricName=\"").unwrap();
                    let name = name.split('"').next().unwrap();
                    assert!(is_written(name), "{title}: {name} is written by no function");
                }
                let words = expression.split(|c: char| !c.is_ascii_alphanumeric());
                let named =
                    words.filter(|word| word.len() == 2 && word.ends_with(|c: char| c.is_ascii_digit()));
                for id in named.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())) {
                    assert!(ids.contains(id), "{title}: {id} is no metric of the panel");
                }
                continue;
            }
            metric(row).assert_known(title);
        }
    }
}

#[test]
fn the_counter_and_the_checkpoint_are_written_by_the_functions_that_own_them() {
    let template = template();
    let denials = |name: &str| -> BTreeSet<(String, String, Vec<String>)> {
        let policies = functions(&template)[name]["Properties"]["Policies"].as_sequence().unwrap().clone();
        let statements = policies.iter().flat_map(|policy| policy["Statement"].as_sequence().unwrap());
        let denied = statements.filter(|statement| statement["Effect"] == "Deny");
        let denial = |statement: &Yaml| {
            assert_eq!(text(&statement["Resource"]), "Tickets.Arn");
            let condition = statement["Condition"].as_mapping().unwrap();
            let (operator, keys) = condition.iter().next().unwrap();
            let keys = keys["dynamodb:LeadingKeys"].as_sequence().unwrap();
            let keys = keys.iter().map(|key| text(key).to_owned()).collect();
            (text(&statement["Action"]).to_owned(), text(operator).to_owned(), keys)
        };
        denied.map(denial).collect()
    };
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    let put =
        ("dynamodb:PutItem".to_owned(), "ForAnyValue:StringEquals".to_owned(), keys(&[COUNTER, CHECKPOINTS]));
    let count =
        ("dynamodb:UpdateItem".to_owned(), "ForAnyValue:StringNotEquals".to_owned(), keys(&[COUNTER]));
    assert_eq!(denials("CreateTicketFunction"), [put.clone(), count].into());
    assert_eq!(denials("UpdateTicketFunction"), [put.clone()].into());
    assert_eq!(denials("DeleteTicketFunction"), [put].into());
}

#[test]
fn every_function_has_a_boundary_that_ends_at_the_stack() {
    let template = template();
    assert_eq!(text(&template["Globals"]["Function"]["PermissionsBoundary"]), "Boundary");
    let document = &template["Resources"]["Boundary"]["Properties"]["PolicyDocument"];
    for statement in document["Statement"].as_sequence().unwrap() {
        let Some(statement) = statement.as_mapping() else {
            continue; // The key's statement, which is there only if a key is configured.
        };
        let actions =
            statement["Action"].as_sequence().cloned().unwrap_or_else(|| vec![statement["Action"].clone()]);
        for action in &actions {
            let action = text(action);
            assert!(!action.contains('*'), "{action}");
            let resources = untagged(&statement["Resource"]);
            let resources = resources.as_sequence().cloned().unwrap_or_else(|| vec![resources.clone()]);
            for resource in &resources {
                let own = text(resource).contains(".Arn");
                assert!(own || action.starts_with("xray:"), "{action} on {}", text(resource));
                if action.starts_with("logs:") {
                    assert_eq!(text(resource), "FunctionLogs.Arn");
                }
            }
        }
    }
}
