use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{ANY_PORT, LIMITED, Server, answering, at, http, made_up, run, text, tickets, with_key};

/// A subject longer than a terminal is wide.
fn long() -> String {
    "Rechnung 2026-118 ist falsch: ".to_owned() + &"請求書".repeat(40)
}

async fn with_a_long_subject(home: &TempDir) -> Server {
    let server = Server::start(home.path(), &ANY_PORT);
    let body = json!({"customerID": 42, "subject": long(), "ticketPriority": "urgent"});
    let request = http().post(&server.api).bearer_auth(&server.key).json(&body);
    assert_eq!(request.send().await.unwrap().status(), 201);
    server
}

#[tokio::test]
async fn what_goes_into_a_pipe_is_whole_and_has_every_column() {
    let home = TempDir::new().unwrap();
    let server = with_a_long_subject(&home).await;
    let listed = with_key(&server, home.path(), &["list"]);
    let lines: Vec<_> = text(&listed.stdout).lines().collect();
    let header: Vec<_> = lines[0].split("  ").map(str::trim).filter(|name| !name.is_empty()).collect();
    let columns = ["ID", "STATUS", "PRIORITY", "TYPE", "CUSTOMER", "OWNER", "UPDATED (UTC)", "SUBJECT"];
    assert_eq!(header, columns);
    assert!(lines.len() == 2 && lines[1].ends_with(&long()), "{lines:?}");
    assert_eq!(text(&listed.stderr), "", "nothing is left out");
    let local = with_key(&server, home.path(), &["list", "--local"]);
    assert!(text(&local.stdout).contains("UPDATED (local)"));
}

#[tokio::test]
async fn colours_are_where_they_are_asked_for() {
    let home = TempDir::new().unwrap();
    let server = with_a_long_subject(&home).await;
    let is_coloured = |arguments: &[&str], no_color: bool| {
        let mut command = tickets(home.path(), arguments);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let shown = command.env("TICKETS_API", &server.api).env("TICKETS_KEY", &server.key).output().unwrap();
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        text(&shown.stdout).contains("\u{1b}[31m\u{1b}[1murgent\u{1b}[0m")
    };
    for command in [&["list"][..], &["get", "1"]] {
        let with = |when: &'static str| [command, &["--color", when]].concat();
        assert!(
            !is_coloured(command, false)
                && !is_coloured(&with("auto"), false)
                && !is_coloured(&with("never"), false)
        );
        assert!(is_coloured(&with("always"), false) && is_coloured(&with("always"), true));
    }
    assert!(!with_key(&server, home.path(), &["list", "--json", "--color=always"]).stdout.contains(&0x1b));
    assert_eq!(run(home.path(), &["list", "--color", "sometimes"]).status.code(), Some(2));
}

#[tokio::test]
async fn ls_and_show_are_list_and_get() {
    let home = TempDir::new().unwrap();
    let server = with_a_long_subject(&home).await;
    for (one, other) in [(&["list"][..], &["ls"][..]), (&["get", "1"], &["show", "1"])] {
        let [one, other] = [one, other].map(|arguments| with_key(&server, home.path(), arguments));
        assert!(one.status.success() && one.stdout == other.stdout, "{}", text(&other.stderr));
    }
}

#[test]
fn the_help_has_every_command_once_and_in_a_group() {
    let home = TempDir::new().unwrap();
    let help = run(home.path(), &["--help"]);
    let help = text(&help.stdout);
    let listed = |name: &str| help.lines().filter(|line| line.starts_with(&format!("  {name} "))).count();
    for name in [
        "list",
        "get",
        "create",
        "update",
        "delete",
        "history",
        "watch",
        "events",
        "export",
        "import",
        "serve",
        "db",
        "seed",
        "keys",
        "restored",
        "erase",
        "mcp",
        "completions",
    ] {
        assert_eq!(listed(name), 1, "{name}: {help}");
    }
    for title in ["Tickets:", "Follow and copy:", "On this machine:", "For operators:", "More:"] {
        assert!(help.contains(&format!("\n{title}\n")), "{title}: {help}");
    }
    assert!(help.contains("[also: ls]") && help.contains("[also: show]"), "{help}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_export_into_a_file_says_that_repeating_it_continues() {
    let home = TempDir::new().unwrap();
    let limited = made_up("429 Too Many Requests\r\nRetry-After: 3600", LIMITED);
    for (arguments, says) in [
        (&["export", "-o", "all.ndjson"][..], "interrupted; repeat the command to continue\n"),
        // What goes to standard output begins anew.
        (&["export"], ""),
    ] {
        let (api, asked) = answering(vec![limited.clone()]);
        let mut export = at(&api, home.path(), arguments);
        let export = export.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while asked.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Not SIGINT: it is ignored in what a script starts in the background, these tests included.
        assert!(Command::new("kill").args(["-TERM", &export.id().to_string()]).status().unwrap().success());
        let ended = export.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), if says.is_empty() { None } else { Some(130) });
        assert!(text(&ended.stderr).ends_with(says), "{}", text(&ended.stderr));
    }
}
