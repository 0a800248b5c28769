//! What the API's description says of a route, for tests of every route.

use std::sync::LazyLock;

use serde_json::Value;
use tickets_app::Config;
use tickets_http::openapi;
use tickets_http::route::Route;

/// The description of a deployment with the default configuration.
pub static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| openapi::document(&Config::from_lookup(|_| None).expect("the defaults").presets));

/// An operation: one method of a route.
#[derive(Debug)]
pub struct Operation {
    /// The path as it is published, below the API's.
    pub path: String,
    /// What the description says of it.
    pub described: &'static Value,
    /// An example of its body, if it has one.
    pub example: Option<&'static Value>,
    /// The status that it answers if nothing is wrong.
    pub success: u16,
}

/// A method of a route, as it is described.
pub fn operation(route: &Route, method: impl AsRef<str>) -> Operation {
    let path = if route.path.ends_with('}') { route.path.to_owned() } else { format!("{}/", route.path) };
    let method = method.as_ref();
    let described = &DESCRIPTION["paths"][&path][method.to_lowercase()];
    assert!(described.is_object(), "{method} {path} has no operation in http/src/openapi/operation.rs");
    let examples = described["requestBody"]["content"]["application/json"]["examples"].as_object();
    let example = examples.map(|examples| &examples.values().next().expect("an example")["value"]);
    let statuses = described["responses"].as_object().expect("responses").keys();
    let success = statuses.filter_map(|status| status.parse().ok()).min().expect("a status");
    Operation { path, described, example, success }
}

impl Operation {
    /// Asserts that a response's body is one of the described type.
    pub fn assert_describes(&self, body: &Value) {
        match self.described["responses"][self.success.to_string()].get("content") {
            Some(content) => assert_is(&content["application/json"]["schema"], body),
            None => assert!(body.is_null(), "{body}"),
        }
    }
}

/// Asserts that a value has the type and the required members of a schema.
fn assert_is(schema: &Value, value: &Value) {
    if let Some(reference) = schema["$ref"].as_str() {
        return assert_is(DESCRIPTION.pointer(&reference[1..]).expect("a schema"), value);
    }
    match schema["type"].as_str() {
        Some("array") => {
            let elements = value.as_array().unwrap_or_else(|| panic!("an array, not {value}"));
            elements.iter().for_each(|element| assert_is(&schema["items"], element));
        }
        Some("object") => {
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(value.get(name.as_str().expect("a name")).is_some(), "{name} of {value}");
            }
        }
        _ => {}
    }
}
