//! Tests that `openapi.json` is what the code generates, with every route and parameter.

use std::collections::BTreeSet;

use serde_json::json;
use support::files::{assert_generated, assert_same_list};
use support::operation::{DESCRIPTION, Operation, operation};
use tickets_app::Config;
use tickets_domain::input::ASSIGNED;
use tickets_domain::ticket::field_names;
use tickets_http::list::Parameter;
use tickets_http::route::{BASE_PATH, ROUTES};
use tickets_http::{history, openapi};

#[test]
fn the_file_is_what_the_code_generates() {
    let document = serde_json::to_string_pretty(&*DESCRIPTION).unwrap();
    assert_generated("openapi.json", &format!("{document}\n"));
}

#[test]
fn every_route_parameter_and_field_is_described() {
    let document = &*DESCRIPTION;
    assert_eq!(document["servers"][0]["url"], BASE_PATH);
    for route in &ROUTES {
        for method in route.methods {
            let Operation { path, described, .. } = operation(route, method);
            assert!(described["operationId"].is_string(), "{method} {path}");
            let scope = format!("`{}`", route.scope);
            assert!(described["description"].as_str().unwrap().contains(&scope), "{method} {path}");
        }
    }
    let names = |path: &str| {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap().iter();
        parameters.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let parameters = Parameter::ALL.map(Parameter::name);
    assert_eq!(names("/tickets/"), parameters);
    assert_eq!(names("/customers/{id}/tickets/"), [&["id"], &parameters[..]].concat());
    assert_eq!(names("/tickets/{id}/history/"), [&["id"], &history::PARAMETERS[..]].concat());
    let of = |name: &str| -> BTreeSet<String> {
        document["components"]["schemas"][name]["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let assigned = ASSIGNED.map(str::to_owned);
    assert_same_list("the schema Ticket", &of("Ticket"), &field_names().map(str::to_owned).collect());
    assert_eq!(of("Ticket"), of("TicketUpdate"));
    assert_eq!(of("Ticket"), of("TicketCreate").into_iter().chain(assigned).collect());
}

#[test]
fn presets_are_those_of_the_deployment() {
    let own = |name: &str| (name == "TICKET_STATUSES").then(|| "Offen, Erledigt".to_owned());
    let document = openapi::document(&Config::from_lookup(own).unwrap().presets);
    let status = &document["components"]["schemas"]["TicketCreate"]["properties"]["status"];
    assert_eq!(status["enum"], json!(["Offen", "Erledigt", null]));
    assert_eq!(status["type"], json!(["string", "null"]));
    let example = &document["paths"]["/tickets/{id}"]["get"]["responses"]["200"]["content"];
    assert_eq!(example["application/json"]["examples"]["ticket"]["value"]["status"], "Offen");
}

#[test]
fn a_path_has_operations_only_and_its_id_an_example() {
    let document = &*DESCRIPTION;
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    for (method, operation) in operations {
        assert!(
            ["get", "put", "post", "patch", "delete"].contains(&method.as_str()),
            "{method} is no method"
        );
        assert!(
            operation["description"].as_str().unwrap().contains("of this path")
                || operation["description"].as_str().unwrap().contains("slash"),
            "{operation}"
        );
        for parameter in
            operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "path")
        {
            assert!(!parameter["example"].is_null(), "{parameter}");
        }
    }
}

/// `format: email` has no characters beyond ASCII and no quoted part, which the API stores.
#[test]
fn an_address_is_described_by_what_every_address_has() {
    for schema in ["Ticket", "TicketCreate", "TicketUpdate", "TicketOrTombstone"] {
        let email = &DESCRIPTION["components"]["schemas"][schema]["properties"]["customerEmail"];
        assert_eq!((&email["format"], &email["maxLength"]), (&json!(null), &json!(254)), "{schema}");
        assert_eq!(email["pattern"], "^.+@.+\\..+$", "{schema}");
    }
}

/// An operation or answer described by a type alone is of no use to a client's author.
#[test]
fn every_body_and_every_answer_has_an_example() {
    let document = &*DESCRIPTION;
    let mut contents = Vec::new();
    for (_, path) in document["paths"].as_object().unwrap() {
        for (_, operation) in path.as_object().unwrap().iter().filter(|(_, operation)| operation.is_object())
        {
            contents.push(&operation["requestBody"]["content"]);
            contents.extend(operation["responses"].as_object().unwrap().values().map(|response| {
                match response["$ref"].as_str() {
                    Some(reference) => &document.pointer(&reference[1..]).unwrap()["content"],
                    None => &response["content"],
                }
            }));
        }
    }
    let examples =
        contents.iter().filter_map(|content| content.as_object()).flat_map(|content| content.values());
    assert!(examples.clone().count() > 50);
    for content in examples {
        assert!(!content["examples"].as_object().unwrap().is_empty(), "{content}");
    }
}

/// A reader must learn first what an operation does, and then which key it takes.
#[test]
fn operations_differ_in_what_they_say() {
    let document = &*DESCRIPTION;
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let operations: Vec<_> = operations.filter(|operation| operation.is_object()).collect();
    for text in ["summary", "description", "operationId"] {
        let texts: BTreeSet<&str> =
            operations.iter().map(|operation| operation[text].as_str().unwrap()).collect();
        assert_eq!(texts.len(), operations.len(), "{text}");
        assert!(texts.iter().all(|text| !text.starts_with("Needs")));
    }
}

/// The gateway answers this itself: the template has the problem, and no function's code makes it.
#[test]
fn the_gateway_s_problem_is_the_template_s() {
    let document = &*DESCRIPTION;
    let response =
        &document["components"]["responses"]["TooManyRequests"]["content"]["application/problem+json"];
    let template: serde_norway::Value = serde_norway::from_str(include_str!("../template.yaml")).unwrap();
    let answer =
        &template["Resources"]["Api"]["Properties"]["GatewayResponses"]["THROTTLED"]["ResponseTemplates"];
    let answer: serde_json::Value =
        serde_json::from_str(answer["application/json"].as_str().unwrap()).unwrap();
    assert_eq!(response["examples"]["too-many-requests"]["value"], answer);
}

#[test]
fn every_reference_in_the_description_leads_somewhere() {
    fn references(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(members) => {
                found.extend(members.get("$ref").and_then(|to| to.as_str()).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            serde_json::Value::Array(elements) => elements.iter().for_each(|one| references(one, found)),
            _ => {}
        }
    }
    let document = &*DESCRIPTION;
    let mut found = BTreeSet::new();
    references(document, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
