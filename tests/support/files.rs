//! Reads the project's files, for tests that compare them with the code.

use std::collections::BTreeSet;
use std::fmt::Debug;
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

/// Compares two lists of the same things, and names those that only one has.
pub fn assert_same_list<T: Ord + Debug>(place: &str, listed: &BTreeSet<T>, expected: &BTreeSet<T>) {
    let missing: Vec<_> = expected.difference(listed).collect();
    let extra: Vec<_> = listed.difference(expected).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{place} lacks {missing:?}, and has {extra:?} too many");
}

/// Compares a file with what the code generates. Writes it instead if the variable `UPDATE_FILES` is set.
pub fn assert_generated(path: &str, generated: &str) {
    #[expect(clippy::disallowed_methods, reason = "configuration of the tests")]
    if std::env::var("UPDATE_FILES").is_ok() {
        fs::write(root().join(path), generated).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let kept = fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(
        kept == generated,
        "{path} is out of date: run UPDATE_FILES=1 cargo test --test specification -- generate"
    );
}

/// Likewise for a part of a file: what comes after the first `begin`, up to the next `end`.
pub fn assert_part_generated(path: &str, begin: &str, end: &str, generated: &str) {
    let file = read(path);
    let parts = file.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("{path} has no part from {begin:?} to {end:?}"));
    assert_generated(path, &format!("{before}{begin}{generated}{end}{after}"));
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
