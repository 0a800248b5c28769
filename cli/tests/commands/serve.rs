use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, http, run, text, tickets};

#[tokio::test]
async fn serve_prints_where_it_is_and_keeps_its_key_to_itself() {
    let home = TempDir::new().unwrap();
    let first = Server::start(home.path(), &ANY_PORT);
    assert!(first.api.starts_with("http://127.0.0.1:") && first.api.ends_with("/backend/api/v1/tickets/"));
    assert!(first.list("").await.is_empty());
    let file = home.path().join(".tickets/dev-key");
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), first.key);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let second = run(home.path(), &ANY_PORT);
    assert_eq!((second.status.code(), text(&second.stdout)), (Some(1), ""));
    assert!(text(&second.stderr).contains("--data DIR"), "it says what to do: {}", text(&second.stderr));
    let key = first.key.clone();
    drop(first);
    assert_eq!(Server::start(home.path(), &ANY_PORT).key, key, "the key of the first start");
}

#[test]
fn a_refused_configuration_names_its_variable() {
    let home = TempDir::new().unwrap();
    let output = tickets(home.path(), &ANY_PORT).env("SETTLE_SECONDS", "soon").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("SETTLE_SECONDS must be a whole number"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn serve_exports_what_changed_as_the_schedule_does() {
    let home = TempDir::new().unwrap();
    assert!(run(home.path(), &["seed", "20", "--quiet"]).status.success());
    let _server = Server::start(home.path(), &[&ANY_PORT[..], &["--export-every", "1"]].concat());
    let folder = home.path().join(".tickets/exports/tickets");
    for _ in 0..100 {
        if folder.exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("there is no object");
}

#[tokio::test]
async fn without_a_command_the_arguments_are_those_of_serve() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &["--quiet", "--listen", "127.0.0.1:0"]);
    assert!(server.list("").await.is_empty());
    let both = run(home.path(), &["--quiet", "keys", "list"]);
    assert_eq!(both.status.code(), Some(2), "serve's arguments before another command");
}

#[tokio::test]
async fn the_page_is_what_the_root_leads_to_and_is_compressed_for_who_takes_it() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let origin = server.api.strip_suffix("/backend/api/v1/tickets/").unwrap();
    let page = http().get(format!("{origin}/")).send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.url().path()), (200, "/docs"));
    let plain = page.text().await.unwrap();
    assert!(plain.contains("<title>Tickets API</title>"));
    let as_sent = tickets_cli::client::http_client().no_gzip().build().unwrap();
    for path in ["/docs", "/openapi.json"] {
        let url = format!("{origin}{path}");
        let compressed = as_sent.get(&url).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(compressed.headers()["content-encoding"], "gzip", "{path}");
        assert!(compressed.headers()["vary"].to_str().unwrap().contains("accept-encoding"), "{path}");
        let whole = as_sent.get(&url).send().await.unwrap();
        assert_eq!(whole.headers().get("content-encoding"), None, "{path}");
        let (short, long) = (compressed.bytes().await.unwrap(), whole.bytes().await.unwrap());
        assert!(short.len() * 2 < long.len(), "{path}: {} of {} bytes", short.len(), long.len());
    }
}
