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
