use tempfile::TempDir;

use crate::support::{run, text};

#[test]
fn a_wrong_command_line_is_explained_with_exit_code_2() {
    let home = TempDir::new().unwrap();
    for (arguments, says) in [
        (&["keys", "create", "--scopes", "admin"][..], "a scope is read, write or delete"),
        (&["keys", "create", "--expires", "soon"], "a number of days like 90d, or never"),
        (&["keys", "create", "--expires", "2020-01-01"], "--expires 2020-01-01T00:00:00.000Z has passed"),
        (&["keys", "create", "--limit", "600/day"], "like 10/s, 600/m or 5000/h"),
        (&["keys", "rotate", "abc", "--old-lasts", "1w"], "minutes, hours or days like 30m, 24h or 7d"),
        (&["keys", "create", "--customer", "0"], "whole number from 1"),
        (&["seed", "many"], "invalid digit"),
        (&["serve", "--listen", "nowhere"], "invalid socket address"),
        (&["sevre"], "serve"),
    ] {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn shells_get_completions_of_every_command() {
    let home = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(home.path(), &["completions", shell]);
        for command in ["serve", "create", "update", "delete", "export", "history", "import", "watch", "keys"]
        {
            assert!(text(&script.stdout).contains(command), "{command} in {shell}");
        }
    }
}
