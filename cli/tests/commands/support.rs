use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

pub(crate) fn tickets(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickets"));
    command.current_dir(directory).args(arguments).env_remove("AWS_ENDPOINT_URL_DYNAMODB");
    command
}

pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Output {
    tickets(directory, arguments).output().unwrap()
}

pub(crate) fn http() -> reqwest::Client {
    tickets_cli::client::http_client().build().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A server with the key that it printed. It stops at the end of the test.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) api: String,
    pub(crate) key: String,
}

impl Server {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::of(tickets(directory, arguments))
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut second = |word: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(word).unwrap_or_else(|| panic!("{word}: {line}")).trim().to_owned()
        };
        let (api, key) = (second("API  "), second("key  "));
        assert!(second("try  curl ").contains(&key));
        // These servers are not where commands look for them.
        let base = api.strip_suffix("/tickets/").unwrap();
        assert_eq!(second("use  export "), format!("TICKETS_API={base} TICKETS_KEY={key}"));
        Self { child, api, key }
    }

    pub(crate) async fn list(&self, query: &str) -> Vec<Value> {
        self.page(query).await.1
    }

    /// The epoch of a list, and its tickets.
    pub(crate) async fn page(&self, query: &str) -> (String, Vec<Value>) {
        let request = http().get(format!("{}{query}", self.api)).bearer_auth(&self.key);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let epoch = response.headers()["sync-epoch"].to_str().unwrap().to_owned();
        (epoch, response.json().await.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const ANY_PORT: [&str; 4] = ["serve", "--quiet", "--listen", "127.0.0.1:0"];

/// Runs a command that calls the API, with the server's address and key.
pub(crate) fn with_key(server: &Server, directory: &Path, arguments: &[&str]) -> Output {
    let mut command = tickets(directory, arguments);
    command.env("TICKETS_API", server.api.trim_end_matches("/tickets/")).env("TICKETS_KEY", &server.key);
    command.output().unwrap()
}

/// The answer of a made-up API.
pub(crate) fn made_up(status_and_headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status_and_headers}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// The address of a made-up API that gives these answers, the last one from then on; and the first line of each
/// request.
pub(crate) fn answering(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let requests = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut connection, mut head) = (connection.unwrap(), [0; 10_000]);
            let length = connection.read(&mut head).unwrap();
            let count = {
                let mut requests = requests.lock().unwrap();
                requests.push(text(&head[..length]).lines().next().unwrap().to_owned());
                requests.len()
            };
            connection.write_all(answers[count.min(answers.len()) - 1].as_bytes()).unwrap();
        }
    });
    (format!("http://{address}"), asked)
}

pub(crate) const LIMITED: &str = r#"{"type":"urn:tickets:problem:rate-limited","title":"Too many requests","status":429,"detail":"the key may make no more requests"}"#;

/// A command for the API at an address, with a made-up key.
pub(crate) fn at(api: &str, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = tickets(directory, arguments);
    command.env("TICKETS_API", api).env("TICKETS_KEY", format!("tk_a_{}", "0".repeat(64)));
    command
}

pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
