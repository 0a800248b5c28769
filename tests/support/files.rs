//! The project's files, as tests compare them with the code.

use std::fs;
use std::path::{Path, PathBuf};

use serde_norway::Value as Yaml;

/// The project's directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// The text of a file.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The template, as it is before SAM transforms it.
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

/// A value that is a text.
pub fn text(value: &Yaml) -> &str {
    untagged(value).as_str().unwrap_or_else(|| panic!("text, not {value:?}"))
}
