//! Reads the project's files, for tests that compare them with the code.

use std::fs;
use std::path::{Path, PathBuf};

use serde_norway::Value as Yaml;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// Reads a file of the project.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The template, before SAM transforms it.
pub fn template() -> Yaml {
    serde_norway::from_str(&read("template.yaml")).expect("YAML")
}

/// The statements of a function's policies: its own, and those of the managed policies that it has. Those with a
/// condition of the template are left out: they depend on how the stack is configured.
pub fn statements(template: &Yaml, function: &Yaml) -> Vec<Yaml> {
    let Some(policies) = function["Properties"]["Policies"].as_sequence() else {
        panic!("a list of policies")
    };
    let mut statements = Vec::new();
    for policy in policies {
        let document = match policy {
            Yaml::Tagged(tagged) if tagged.tag == "!Ref" => {
                let resource = &template["Resources"][text(policy)];
                assert_eq!(resource["Type"], "AWS::IAM::ManagedPolicy", "{policy:?}");
                &resource["Properties"]["PolicyDocument"]
            }
            Yaml::Tagged(_) => continue,
            own => own,
        };
        statements.extend(document["Statement"].as_sequence().expect("a list of statements").iter().cloned());
    }
    statements
}

/// A value without its CloudFormation tag, such as `!Ref` or `!GetAtt`.
pub fn untagged(value: &Yaml) -> &Yaml {
    match value {
        Yaml::Tagged(tagged) => &tagged.value,
        other => other,
    }
}

/// A value that must be a text, without its tag.
pub fn text(value: &Yaml) -> &str {
    untagged(value).as_str().unwrap_or_else(|| panic!("text, not {value:?}"))
}
