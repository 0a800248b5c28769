use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{ANY_PORT, LIMITED, Server, answering, at, made_up, run, text, tickets};

#[tokio::test]
async fn the_api_is_found_however_its_address_is_given() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let host = server.api.strip_suffix("/backend/api/v1/tickets/").unwrap();
    let get = |api: &str| {
        let mut get = tickets(home.path(), &["get", "1"]);
        get.env("TICKETS_API", api).env("TICKETS_KEY", &server.key).output().unwrap()
    };
    let base = format!("{host}/backend/api/v1");
    for api in [server.api.as_str(), host, &format!("{host}/"), &base, &format!("{base}/")] {
        let none = get(api);
        assert_eq!(
            (none.status.code(), text(&none.stderr)),
            (Some(4), "error: 404 Not Found: there is no such ticket\n"),
            "{api}"
        );
    }
    let elsewhere = get(&format!("{host}/api"));
    assert_eq!(elsewhere.status.code(), Some(1), "that a path is missing says nothing of the ticket");
    let says = text(&elsewhere.stderr);
    assert!(says.ends_with(&format!("there is no such path: {host}/api/tickets/1\n")), "{says}");
    for api in [host.strip_prefix("http://").unwrap(), "localhost:3000", ""] {
        let refused = get(api);
        assert_eq!(refused.status.code(), Some(2), "{api}");
        assert!(text(&refused.stderr).contains("must begin with http:// or https://"), "{api}");
    }
}

#[test]
fn what_is_no_key_is_said_to_be_none_and_not_shown() {
    let home = TempDir::new().unwrap();
    std::fs::write(home.path().join("key"), "tk_nonsense\n").unwrap();
    let given = tickets(home.path(), &["list"]).env("TICKETS_KEY", "tk_nonsense").output().unwrap();
    let kept = run(home.path(), &["list", "--key-file", "key"]);
    let missing = run(home.path(), &["list"]);
    for (output, says) in [
        (given, "TICKETS_KEY is not a key: "),
        (kept, "what key holds is not a key: "),
        (missing, "no key: set TICKETS_KEY, or --key-file"),
    ] {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).starts_with(&format!("error: {says}")), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("nonsense"));
    }
}

#[test]
fn a_command_waits_as_long_as_the_api_asks_and_says_so_if_that_is_long() {
    let home = TempDir::new().unwrap();
    let limited =
        |seconds: &str| made_up(&format!("429 Too Many Requests\r\nRetry-After: {seconds}"), LIMITED);
    let (api, given) = answering(vec![limited("1"), limited("1"), made_up("200 OK", "[]")]);
    let began = Instant::now();
    let listed = at(&api, home.path(), &["list", "--json"]).output().unwrap();
    assert_eq!((text(&listed.stdout), text(&listed.stderr)), ("[]\n", ""));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(given.lock().unwrap().len(), 3);

    let (api, _) = answering(vec![limited("3600")]);
    let mut command = at(&api, home.path(), &["list"]);
    let mut waiting = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut note = String::new();
    BufReader::new(waiting.stderr.take().unwrap()).read_line(&mut note).unwrap();
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert_eq!(note, "waiting 3601 s, as the API asks: 429 Too Many Requests\n");

    for seconds in ["3601", "18446744073709551615"] {
        let (api, given) = answering(vec![limited(seconds)]);
        let refused = at(&api, home.path(), &["list"]).output().unwrap();
        let says = format!(
            "error: 429 Too Many Requests: the key may make no more requests (Retry-After: {seconds} s)\n"
        );
        assert_eq!((refused.status.code(), text(&refused.stderr)), (Some(1), says.as_str()));
        assert_eq!(given.lock().unwrap().len(), 1);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let home = TempDir::new().unwrap();
    let (elsewhere, asked) = answering(vec![made_up("200 OK", "[]")]);
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (api, _) = answering(vec![made_up(&format!("{status}\r\nLocation: {elsewhere}/"), "")]);
        for arguments in [&["list"][..], &["create", "--customer=1", "--subject=secret"]] {
            let refused = at(&api, home.path(), arguments).output().unwrap();
            let says = format!("it says {status}, and to go to {elsewhere}/");
            assert_eq!(refused.status.code(), Some(1));
            assert!(text(&refused.stderr).contains(&says), "{}", text(&refused.stderr));
        }
    }
    assert_eq!(asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn the_local_server_is_not_asked_for_through_a_proxy() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    let (proxy, asked) = answering(vec![made_up("200 OK", "[]")]);
    let list = |api: &str| {
        let mut list = tickets(home.path(), &["list", "--json"]);
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            list.env(name, &proxy);
        }
        list.env_remove("no_proxy").env_remove("NO_PROXY");
        list.env("TICKETS_API", api).env("TICKETS_KEY", &server.key).output().unwrap()
    };
    assert!(list(&server.api).status.success());
    assert_eq!(asked.lock().unwrap().len(), 0);
    assert!(list("http://tickets.example").status.success(), "another host is");
    assert_eq!(asked.lock().unwrap().len(), 1);
}
