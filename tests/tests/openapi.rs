//! `openapi.json` is what the code makes; every route and parameter is in it.

use std::fs;
use std::path::Path;

use tickets_app::Config;
use tickets_http::openapi;
use tickets_http::query::PARAMETERS;
use tickets_http::route::{BASE_PATH, ROUTES};

/// The document of a deployment that configures nothing, as the file has it.
fn made() -> String {
    let document = openapi::document(&Config::from_lookup(|_| None).unwrap().presets);
    format!("{}\n", serde_json::to_string_pretty(&document).unwrap())
}

#[test]
fn the_file_is_what_the_code_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("openapi.json");
    #[expect(clippy::disallowed_methods, reason = "the tests' own configuration")]
    if std::env::var("UPDATE_OPENAPI").is_ok() {
        fs::write(&path, made()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made(),
        "openapi.json is out of date: run UPDATE_OPENAPI=1 cargo test -p tickets-tests --test openapi"
    );
}

#[test]
fn every_route_parameter_and_field_is_described() {
    let document: serde_json::Value = serde_json::from_str(&made()).unwrap();
    assert_eq!(document["servers"][0]["url"], BASE_PATH);
    for route in ROUTES {
        let path = if route.path.ends_with('}') { route.path.to_owned() } else { format!("{}/", route.path) };
        for method in route.methods {
            let operation = &document["paths"][&path][method.as_str().to_lowercase()];
            assert!(operation["operationId"].is_string(), "{method} {path}");
            let scope = format!("`{}`", route.scope);
            assert!(operation["description"].as_str().unwrap().contains(&scope), "{method} {path}");
        }
    }
    let list = document["paths"]["/tickets/"]["get"]["parameters"].as_array().unwrap();
    let names: Vec<&str> = list.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, PARAMETERS);
    let of = |name: &str| document["components"]["schemas"][name]["properties"].as_object().unwrap().clone();
    let (ticket, new, change) = (of("Ticket"), of("NewTicket"), of("TicketChange"));
    assert_eq!(new.keys().collect::<Vec<_>>(), change.keys().collect::<Vec<_>>());
    let assigned = ["id", "createdDate", "updatedDate"];
    let all = new.keys().map(String::as_str).chain(assigned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(ticket.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), all);
}

#[test]
fn presets_are_those_of_the_deployment() {
    let own = |name: &str| (name == "TICKET_STATUSES").then(|| "Offen, Erledigt".to_owned());
    let document = openapi::document(&Config::from_lookup(own).unwrap().presets);
    let status = &document["components"]["schemas"]["NewTicket"]["properties"]["status"]["enum"];
    assert_eq!(status, &serde_json::json!(["Offen", "Erledigt", null]));
}
