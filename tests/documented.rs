//! Tests that the documents agree with each other, with CI, and with the template.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_norway::Value as Yaml;
use support::files::{assert_same_list, read, root, template, text};
use tickets_http::list::Parameter;

/// The documents whose commands CI runs as they stand.
const GUIDES: [&str; 4] = ["README.md", "docs/configuration.md", "docs/deploy.md", "docs/recipes.md"];

/// The files of the project that git would keep, whose names end like this, below a folder.
fn files(folder: &Path, end: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["target", ".git", ".tickets", ".aws-sam", "node_modules"].contains(&name) {
            files(&path, end, found);
        } else if name.ends_with(end) {
            found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// The shell blocks of a document.
fn blocks(document: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    for rest in document.split("\n```sh\n").skip(1) {
        blocks.push(rest.split_once("```").unwrap().0.to_owned());
    }
    blocks
}

#[test]
fn every_command_of_the_guides_is_run_by_ci() {
    // `.ci/block FILE 'TEXT'` is what CI takes a block by; `.ci/recipes_check.py` takes all of docs/recipes.md.
    let scripts = [".ci/run", ".ci/deployment"].map(read).concat();
    let mut run: BTreeSet<String> = BTreeSet::new();
    for call in scripts.split(".ci/block ").skip(1) {
        let (file, rest) = call.split_once(' ').unwrap();
        let asked: Vec<&str> = match rest.strip_prefix('\'') {
            Some(quoted) => vec![quoted.split_once('\'').unwrap().0],
            // A loop over several texts, just before the call.
            None => {
                let texts = scripts[..scripts.find(call).unwrap()].rsplit_once("for text in ").unwrap().1;
                texts.lines().next().unwrap().split('\'').skip(1).step_by(2).collect()
            }
        };
        for text in asked {
            let block = blocks(&read(file)).into_iter().find(|block| block.contains(text));
            run.insert(block.unwrap_or_else(|| panic!("{file} has no block with {text}")));
        }
    }
    assert!(scripts.contains(".ci/recipes_check.py"));
    run.extend(blocks(&read("docs/recipes.md")));
    for guide in GUIDES {
        let document = read(guide);
        for block in blocks(&document) {
            assert!(run.contains(&block), "{guide}: nothing in .ci runs\n{block}");
        }
        // Nothing hides in a block of another language, or in an indented one.
        assert_eq!(document.matches("```sh").count(), blocks(&document).len(), "{guide}");
        assert!(!document.contains("```bash") && !document.contains("```console"), "{guide}");
    }
}

#[test]
fn contributors_and_the_hosted_runner_have_every_step_of_ci() {
    let script = read(".ci/run");
    let steps: BTreeSet<String> = script
        .lines()
        .filter_map(|line| line.strip_prefix("step_")?.strip_suffix("() {"))
        .map(str::to_owned)
        .collect();
    assert!(steps.len() > 20, "{steps:?}");

    let contributing = read("CONTRIBUTING.md");
    let table = contributing.lines().skip_while(|line| !line.starts_with("| step ")).skip(2);
    let table = table.take_while(|line| line.starts_with('|'));
    let listed = table.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    assert_same_list("CONTRIBUTING.md", &listed.map(str::to_owned).collect(), &steps);

    let yaml = |path: &str| -> Yaml { serde_norway::from_str(&read(path)).unwrap() };
    let workflow = yaml(".github/workflows/ci.yml");
    let jobs = workflow["jobs"].as_mapping().unwrap().values().map(|job| job["steps"].clone());
    let action = yaml(".github/rust/action.yml")["runs"]["steps"].clone();
    let mut hosted = BTreeSet::new();
    for step in jobs.chain([action]).flat_map(|steps| steps.as_sequence().unwrap().clone()) {
        for name in
            step["run"].as_str().and_then(|run| run.strip_prefix(".ci/run ")).unwrap_or_default().split(' ')
        {
            assert!(name.is_empty() || hosted.insert(name.to_owned()), "{name} is run twice");
        }
        if let Some(action) = step["uses"].as_str().filter(|action| !action.starts_with("./")) {
            let commit = action.split_once('@').unwrap().1;
            assert!(
                commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()),
                "{action} is not pinned"
            );
        }
    }
    assert_same_list("the workflow", &hosted, &steps);
}

#[test]
fn the_compiler_is_the_one_that_the_project_asks_for() {
    let parse = |path: &str| -> toml::Value { toml::from_str(&read(path)).unwrap() };
    let asked = parse("Cargo.toml")["workspace"]["package"]["rust-version"].as_str().unwrap().to_owned();
    let channel = parse("rust-toolchain.toml")["toolchain"]["channel"].as_str().unwrap().to_owned();
    assert!(channel.starts_with(&format!("{asked}.")), "{channel} for {asked}");
    assert!(
        read("README.md").contains(&format!("[Rust](https://rustup.rs) {asked}")),
        "README names {asked}"
    );
}

#[test]
fn every_parameter_of_the_template_is_documented_with_its_default() {
    let template = template();
    let variables = template["Globals"]["Function"]["Environment"]["Variables"].as_mapping().unwrap();
    let resources = template["Resources"].as_mapping().unwrap().values();
    let of_functions: Vec<_> =
        resources.filter_map(|one| one["Properties"]["Environment"]["Variables"].as_mapping()).collect();
    let variable = |parameter: &str| {
        let mut set = variables.iter().chain(of_functions.iter().copied().flatten());
        let set =
            set.find(|(_, value)| matches!(value, Yaml::Tagged(t) if t.value.as_str() == Some(parameter)));
        set.map(|(name, _)| format!("`{}`", text(name)))
    };
    let code = |value: &str| if value.is_empty() { String::new() } else { format!("`{value}`") };
    let mut expected = BTreeSet::new();
    for (name, parameter) in template["Parameters"].as_mapping().unwrap() {
        let default = &parameter["Default"];
        let default = default.as_str().map_or_else(|| default.as_u64().unwrap().to_string(), str::to_owned);
        expected.insert((text(name).to_owned(), variable(text(name)), code(&default)));
    }
    // A table has the variables only if parameters of it are also environment variables.
    let mut listed = BTreeSet::new();
    let mut with_variables = false;
    for row in read("docs/configuration.md").lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        if cells[0] == "parameter" {
            with_variables = cells[1] == "variable";
            continue;
        }
        let name = cells[0].trim_matches('`').to_owned();
        let variable = with_variables.then(|| cells[1].to_owned());
        listed.insert((name, variable, cells[1 + usize::from(with_variables)].to_owned()));
    }
    // `sam local` and emulators only: the variables are named where they are used.
    let local = ["DynamoDbEndpoint", "S3Endpoint", "WebhooksToThisMachine"];
    let comparable = |rows: BTreeSet<(String, Option<String>, String)>| {
        rows.into_iter()
            .map(|(name, variable, default)| {
                let variable = variable.filter(|_| !local.contains(&&*name));
                (name, variable, default)
            })
            .collect::<BTreeSet<_>>()
    };
    assert_same_list("docs/configuration.md", &comparable(listed), &comparable(expected));
}

#[test]
fn the_api_s_document_names_every_parameter_of_a_list() {
    let document = read("docs/api.md");
    let lists = document.split_once("\n## Lists\n").unwrap().1.split_once("\n## ").unwrap().0;
    for parameter in Parameter::ALL.map(Parameter::name) {
        assert!(lists.contains(&format!("`{parameter}`")), "docs/api.md, \"Lists\", names {parameter}");
    }
}

#[test]
fn readme_leads_to_every_document() {
    let readme = read("README.md");
    let mut documents = Vec::new();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        documents.push(entry.unwrap().file_name().into_string().unwrap());
    }
    for document in documents.iter().filter(|name| name.ends_with(".md")) {
        assert!(readme.contains(&format!("](docs/{document}")), "README links to docs/{document}");
    }
}

/// What a heading's link is, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect()
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut documents = Vec::new();
    files(&root(), ".md", &mut documents);
    assert!(documents.len() > 20, "{documents:?}");
    let anchors = |document: &str| -> BTreeSet<String> {
        let mut in_block = false;
        let mut anchors = BTreeSet::new();
        for line in document.lines() {
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
            } else if let Some(heading) = line.trim_start_matches('#').strip_prefix(' ')
                && line.starts_with('#')
                && !in_block
            {
                anchors.insert(anchor(heading));
            }
        }
        anchors
    };
    let mut checked = 0;
    for name in documents {
        let document = read(&name);
        for link in document.split("](").skip(1) {
            let Some((link, _)) = link.split_once(')') else { continue };
            if link.contains(':') || link.contains(' ') || link.contains('\n') {
                continue; // An address, or no link.
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root().join(&name),
                path => root().join(&name).parent().unwrap().join(path),
            };
            assert!(target.exists(), "{name} links to {link}");
            if !fragment.is_empty() {
                let anchors = anchors(&fs::read_to_string(&target).unwrap());
                assert!(anchors.contains(fragment), "{name} links to {link}; the headings are {anchors:?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}
