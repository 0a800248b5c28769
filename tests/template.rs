//! Tests of the template's deployments: new versions, throttles, and the rights of functions to write.

use std::collections::{BTreeMap, BTreeSet};

use serde_norway::Value as Yaml;
use support::files::{read, statements, template, text, untagged};
use tickets_http::route::{BASE_PATH, DOCUMENTS, ROUTES};
use tickets_repository::checkpoint::CHECKPOINTS;
use tickets_repository::{COUNTER, RANGES, SETTINGS};

use crate::monitoring::watched;

/// The resources of a type, by logical id.
pub fn resources(template: &Yaml, kind: &str) -> BTreeMap<String, Yaml> {
    let all = template["Resources"].as_mapping().unwrap();
    let of_type = all.iter().filter(|(_, resource)| resource["Type"] == kind);
    of_type.map(|(name, resource)| (text(name).to_owned(), resource.clone())).collect()
}

pub fn functions(template: &Yaml) -> BTreeMap<String, Yaml> {
    resources(template, "AWS::Serverless::Function")
}

#[test]
fn every_function_has_an_alias_that_shifts_gradually_and_rolls_back() {
    let template = template();
    let globals = &template["Globals"]["Function"];
    assert_eq!(globals["AutoPublishAlias"], "live");
    assert_eq!(text(&globals["DeploymentPreference"]["Type"]), "DeploymentPreference");
    assert_ne!(template["Parameters"]["DeploymentPreference"]["Default"], "AllAtOnce");
    // If any version of any function fails, all functions are rolled back.
    let functions = functions(&template);
    let alarms = globals["DeploymentPreference"]["Alarms"].as_sequence().unwrap();
    let versions = alarms.iter().flat_map(|alarm| watched(&template["Resources"][text(alarm)]));
    let mut versions: Vec<_> = versions.map(|metric| metric.dimensions).collect();
    versions.sort();
    let version = |name: &String| {
        BTreeMap::from([
            ("ExecutedVersion".to_owned(), format!("{name}.Version.Version")),
            ("FunctionName".to_owned(), name.clone()),
            ("Resource".to_owned(), format!("${{{name}}}:live")),
        ])
    };
    let mut expected: Vec<_> = functions.keys().map(version).collect();
    expected.sort();
    assert_eq!(versions, expected, "each function has a line in one of the alarms that roll back");
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
    let mapping = &template["Resources"]["RecordedEvents"]["Properties"];
    assert_eq!(text(&mapping["FunctionName"]), "DeliverWebhooksFunction.Alias");
    // Only new entries are events: an erasure changes entries, and TTL removes them.
    assert_eq!(text(&mapping["EventSourceArn"]), "History.StreamArn");
    let pattern = text(&mapping["FilterCriteria"]["Filters"][0]["Pattern"]);
    assert_eq!(pattern, r#"{"eventName": ["INSERT"]}"#);
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
fn the_counter_and_the_checkpoint_are_written_by_the_functions_that_own_them() {
    let template = template();
    let denials = |name: &str| -> BTreeSet<(String, String, Vec<String>)> {
        let statements = statements(&template, &functions(&template)[name]);
        let denied = statements.iter().filter(|statement| statement["Effect"] == "Deny");
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
    let denied = keys(&[COUNTER, RANGES, CHECKPOINTS, SETTINGS]);
    let put = ("dynamodb:PutItem".to_owned(), "ForAnyValue:StringEquals".to_owned(), denied);
    let count =
        ("dynamodb:UpdateItem".to_owned(), "ForAnyValue:StringNotEquals".to_owned(), keys(&[COUNTER]));
    assert_eq!(denials("CreateTicketFunction"), [put.clone(), count].into());
    assert_eq!(denials("UpdateTicketFunction"), [put.clone()].into());
    assert_eq!(denials("UpdateTicketsFunction"), [put.clone()].into());
    assert_eq!(denials("DeleteTicketFunction"), [put].into());
}

#[test]
fn the_feed_reads_the_counter_and_the_note_and_no_ticket() {
    let template = template();
    let statements = statements(&template, &functions(&template)["ListEventsFunction"]);
    let is_of_tickets = |statement: &&Yaml| untagged(&statement["Resource"]).as_str() == Some("Tickets.Arn");
    let of_tickets = statements.iter().filter(is_of_tickets);
    let conditions: Vec<_> = of_tickets.map(|statement| &statement["Condition"]).collect();
    let [condition] = conditions[..] else { panic!("{conditions:?}") };
    let keys = condition["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"].as_sequence().unwrap();
    assert_eq!(keys.iter().map(text).collect::<Vec<_>>(), [COUNTER, SETTINGS]);
}

#[test]
fn every_function_that_answers_with_stored_data_may_see_their_format_when_it_starts() {
    let template = template();
    let functions = functions(&template);
    for function in ROUTES.iter().map(|route| route.function) {
        let name = function.name();
        let may_read = |statement: &Yaml| {
            let actions = untagged(&statement["Action"]).as_sequence().cloned();
            let actions = actions.unwrap_or_else(|| vec![statement["Action"].clone()]);
            let keys = &statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"];
            statement["Effect"] == "Allow"
                && actions.iter().any(|action| action == "dynamodb:GetItem")
                && untagged(&statement["Resource"]).as_str() == Some("Tickets.Arn")
                && keys.as_sequence().is_none_or(|keys| keys.iter().any(|key| text(key) == SETTINGS))
        };
        let is_it = |function: &&Yaml| text(&function["Metadata"]["BuildProperties"]["Binary"]) == name;
        let reads = statements(&template, functions.values().find(is_it).unwrap()).iter().any(may_read);
        // What starts by `App::from_env` reads the note.
        let main = read(&format!("functions/{name}/src/main.rs"));
        assert_eq!(reads, main.contains("App::from_env()"), "{name}");
    }
}

#[test]
fn a_big_day_is_prepared_for_tickets_history_and_all_their_indexes() {
    let template = template();
    let mut warmed = 0;
    for name in ["Tickets", "History"] {
        let table = &template["Resources"][name]["Properties"];
        let indexes = table["GlobalSecondaryIndexes"].as_sequence().unwrap();
        for place in indexes.iter().chain([table]) {
            let choice = untagged(&place["WarmThroughput"]).as_sequence().unwrap();
            assert_eq!((text(&choice[0]), text(&choice[2])), ("WarmsUnits", "AWS::NoValue"), "{name}");
            let units = ["ReadUnitsPerSecond", "WriteUnitsPerSecond"].map(|unit| text(&choice[1][unit]));
            assert_eq!(units, ["WarmReadUnits", "WarmWriteUnits"], "{name}");
            warmed += 1;
        }
    }
    assert_eq!(warmed, 6);
    // What a new table has: a lower number would be refused, and the same costs nothing.
    for (parameter, least) in [("WarmReadUnits", 12_000), ("WarmWriteUnits", 4_000)] {
        let parameter = &template["Parameters"][parameter];
        assert_eq!((&parameter["Default"], &parameter["MinValue"]), (&least.into(), &least.into()));
    }
}

#[test]
fn what_cannot_be_made_again_stays_when_the_stack_is_removed() {
    let template = template();
    let kinds = [
        ("AWS::DynamoDB::Table", "Retain"),
        ("AWS::S3::Bucket", "Retain"),
        ("AWS::S3::BucketPolicy", "Retain"),
        // Unlike a protected table, what a failed first deployment has made of these can be deleted.
        ("AWS::Logs::LogGroup", "RetainExceptOnCreate"),
    ];
    let operations = read("docs/operations.md");
    for (kind, policy) in kinds {
        for (name, resource) in resources(&template, kind) {
            assert_eq!(resource["DeletionPolicy"], policy, "{name}");
            assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{name}");
            let described = kind == "AWS::S3::BucketPolicy" || operations.contains(&format!("`{name}`"));
            assert!(described, "docs/operations.md says what becomes of {name}");
        }
    }
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

#[test]
fn every_function_may_use_the_key_that_encrypts_what_it_reads() {
    let template = template();
    assert_eq!(template["Resources"]["KeyUse"]["Condition"], "HasKmsKey");
    for (name, function) in functions(&template) {
        let policies = function["Properties"]["Policies"].as_sequence().unwrap();
        let mut choices = policies.iter().filter_map(|policy| untagged(policy).as_sequence());
        let choice: Vec<_> =
            choices.next().unwrap_or_else(|| panic!("{name} lacks KeyUse")).iter().map(text).collect();
        assert_eq!(choice, ["HasKmsKey", "KeyUse", "AWS::NoValue"], "{name}");
        assert!(choices.next().is_none(), "{name}");
    }
}

#[test]
fn services_of_other_accounts_may_take_no_role_of_the_stack() {
    for (name, role) in resources(&template(), "AWS::IAM::Role") {
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"].as_sequence().unwrap() {
            let condition =
                statement["Condition"].as_mapping().unwrap_or_else(|| panic!("{name}: a condition"));
            let account = condition.values().map(|keys| text(&keys["aws:SourceAccount"])).collect::<Vec<_>>();
            assert_eq!(account, ["AWS::AccountId"], "{name}");
        }
    }
    for function in ["ExportTicketsFunction", "DeliverWebhooksFunction"] {
        let schedule = &template()["Resources"][function]["Properties"]["Events"]["Schedule"];
        assert_eq!(text(&schedule["Properties"]["RoleArn"]), "SchedulerRole.Arn", "{function}");
    }
}

#[test]
fn what_needs_no_key_has_throttles_of_its_own() {
    let template = template();
    let settings = template["Resources"]["Api"]["Properties"]["MethodSettings"].as_sequence().unwrap();
    let limits = |setting: &Yaml| {
        ["ThrottlingRateLimit", "ThrottlingBurstLimit"].map(|limit| text(&setting[limit]).to_owned())
    };
    assert_eq!((text(&settings[0]["ResourcePath"]), text(&settings[0]["HttpMethod"])), ("/*", "*"));
    assert_eq!(limits(&settings[0]), ["ThrottleRate", "ThrottleBurst"]);
    let mut own = BTreeSet::new();
    for setting in &settings[1..] {
        assert_eq!(limits(setting), ["KeylessRate", "KeylessBurst"]);
        // CloudFormation wants slashes within a path as ~1.
        let path = text(&setting["ResourcePath"]).strip_prefix("/~1api~1v1").unwrap().replace("~1", "/");
        assert!(own.insert((path, text(&setting["HttpMethod"]).to_owned())), "{setting:?} is there twice");
    }
    let preflights = ROUTES.iter().map(|route| (route.path, "OPTIONS"));
    let documents =
        DOCUMENTS.iter().flat_map(|path| ["OPTIONS", "GET", "HEAD"].map(|method| (*path, method)));
    let expected = preflights.chain(documents).map(|(path, method)| (path.to_owned(), method.to_owned()));
    assert_eq!(own, expected.collect());
}

/// What a condition or an assertion says if only these parameters are given.
fn holds(condition: &Yaml, given: &[&str]) -> bool {
    let Yaml::Tagged(tagged) = condition else { panic!("a function, not {condition:?}") };
    let arguments = tagged.value.as_sequence().unwrap();
    let mut each = arguments.iter().map(|argument| holds(argument, given));
    match tagged.tag.to_string().as_str() {
        // Of a parameter and the empty text.
        "!Equals" => {
            assert_eq!(arguments[1], "");
            !given.contains(&text(&arguments[0]))
        }
        "!Not" => !each.next().unwrap(),
        "!And" => each.all(|holds| holds),
        other => panic!("{other} is new"),
    }
}

#[test]
fn what_belongs_to_a_domain_is_refused_without_it() {
    let template = template();
    let refused = |given: &[&str]| -> Vec<String> {
        let rules = template["Rules"].as_mapping().unwrap().values();
        let asked = rules.filter(|rule| holds(&rule["RuleCondition"], given));
        let assertions = asked.flat_map(|rule| rule["Assertions"].as_sequence().unwrap());
        let failed = assertions.filter(|assertion| !holds(&assertion["Assert"], given));
        failed.map(|assertion| text(&assertion["AssertDescription"]).to_owned()).collect()
    };
    let domain = ["DomainName", "CertificateArn"];
    for more in [&[][..], &["HostedZoneId"], &["TruststoreUri"], &["TruststoreUri", "TruststoreVersion"]] {
        assert!(refused(&[&domain, more].concat()).is_empty(), "{more:?}");
    }
    assert!(refused(&[]).is_empty());
    assert_eq!(refused(&["DomainName"]), ["DomainName needs CertificateArn"]);
    for alone in ["CertificateArn", "HostedZoneId", "TruststoreUri"] {
        assert_eq!(refused(&[alone]), [format!("{alone} needs DomainName")]);
    }
    assert_eq!(
        refused(&[&domain[..], &["TruststoreVersion"]].concat()),
        ["TruststoreVersion needs TruststoreUri"]
    );
}

#[test]
fn pages_can_read_the_gateway_s_own_answers_if_there_are_origins() {
    let template = template();
    let condition = &template["Conditions"]["HasCorsOrigins"];
    assert!(holds(condition, &["CorsOrigins"]) && !holds(condition, &[]));
    let responses = &template["Resources"]["Api"]["Properties"]["GatewayResponses"];
    for (name, response) in responses.as_mapping().unwrap() {
        let headers = response["ResponseParameters"]["Headers"].as_mapping().unwrap();
        let with_origins = |header: &str| -> &str {
            let choice = untagged(&headers[header]).as_sequence().unwrap();
            assert_eq!((text(&choice[0]), text(&choice[2])), ("HasCorsOrigins", "AWS::NoValue"), "{name:?}");
            text(&choice[1]).trim_matches('\'')
        };
        assert_eq!(with_origins("Access-Control-Allow-Origin"), "*", "{name:?}");
        let exposed: BTreeSet<_> = with_origins("Access-Control-Expose-Headers").split(", ").collect();
        let own = headers.keys().map(|header| text(header).to_lowercase());
        let own: BTreeSet<_> =
            own.filter(|header| header != "content-type" && !header.starts_with("access-control-")).collect();
        assert_eq!(exposed, own.iter().map(String::as_str).collect(), "{name:?}");
        let is_temporary = matches!(response["StatusCode"].as_u64(), Some(429 | 503));
        assert_eq!(own.contains("retry-after"), is_temporary, "{name:?}");
    }
}

#[test]
fn a_domain_has_every_path_of_the_api_and_mutual_tls_has_no_way_around() {
    let template = template();
    let resource = |name: &str| &template["Resources"][name];
    let choice = |value: &Yaml| -> Vec<String> {
        let Yaml::Tagged(tagged) = value else { panic!("a choice, not {value:?}") };
        assert_eq!(tagged.tag, "!If");
        let parts = tagged.value.as_sequence().unwrap();
        parts.iter().map(|part| untagged(part).as_str().map_or(format!("{part:?}"), str::to_owned)).collect()
    };
    let mapping = &resource("DomainMapping")["Properties"];
    assert_eq!(format!("/{}/api/v1", text(&mapping["BasePath"])), BASE_PATH);
    assert_eq!((text(&mapping["RestApiId"]), text(&mapping["Stage"])), ("Api", "Api.Stage"));
    for (name, condition) in
        [("Domain", "HasDomain"), ("DomainMapping", "HasDomain"), ("DomainRecord", "HasHostedZone")]
    {
        assert_eq!(resource(name)["Condition"], condition, "{name}");
    }
    let domain = &resource("Domain")["Properties"];
    assert_eq!(domain["EndpointConfiguration"]["Types"][0], "REGIONAL");
    assert_eq!(choice(&domain["SecurityPolicy"]), ["HasMutualTls", "TLS_1_2", "TlsPolicy"]);
    assert_eq!(choice(&domain["MutualTlsAuthentication"])[0], "HasMutualTls");
    let api = &resource("Api")["Properties"];
    assert_eq!(choice(&api["DisableExecuteApiEndpoint"]), ["HasMutualTls", "Bool(true)", "Bool(false)"]);
    // Otherwise the stage would keep the endpoint, and the origins, of the deployment before.
    assert_eq!(api["AlwaysDeploy"], true);
    let address = choice(&template["Outputs"]["ApiBaseUrl"]["Value"]);
    assert_eq!(address[..2], ["HasDomain", "https://${DomainName}/backend/api/v1/"]);
    for (given, mutual_tls) in
        [(&["TruststoreUri"][..], false), (&["DomainName"], false), (&["DomainName", "TruststoreUri"], true)]
    {
        let conditions = template["Conditions"]["HasMutualTls"].clone();
        let Yaml::Tagged(and) = &conditions else { panic!("{conditions:?}") };
        let parts = and.value.as_sequence().unwrap();
        let both = parts.iter().all(|part| match part.get("Condition") {
            Some(name) => holds(&template["Conditions"][text(name)], given),
            None => holds(part, given),
        });
        assert_eq!(both, mutual_tls, "{given:?}");
    }
}
