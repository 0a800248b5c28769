use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, run, text, tickets};

#[test]
fn keys_are_made_listed_rotated_and_revoked() {
    let home = TempDir::new().unwrap();
    let keys = |arguments: &[&str]| run(home.path(), &[&["keys", "--data", "data"], arguments].concat());
    let made = keys(&[
        "create",
        "--scopes",
        "read,write",
        "--customer",
        "42",
        "--expires",
        "90d",
        "--limit",
        "600/m",
        "--by",
        "ada",
        "--note",
        "portal",
    ]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let token = text(&made.stdout).trim();
    assert_eq!(token.lines().count(), 1, "the key alone, for scripts");
    let (id, secret) = token.strip_prefix("tk_").unwrap().split_once('_').unwrap();

    let listed = keys(&["list"]);
    let line = text(&listed.stdout).lines().find(|line| line.contains(id)).unwrap().to_owned();
    for word in ["active", "read,write", "42", "600/m", "ada", "portal"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(!text(&listed.stdout).contains(secret));

    let rotated = keys(&["rotate", id, "--old-lasts", "7d"]);
    assert!(rotated.status.success(), "{}", text(&rotated.stderr));
    let (same, other) = text(&rotated.stdout).trim().strip_prefix("tk_").unwrap().split_once('_').unwrap();
    assert!(same == id && other != secret && text(&rotated.stderr).contains("The old secret works until 2"));
    let leaked = keys(&["rotate", id, "--old-lasts", "0m"]);
    assert!(text(&leaked.stderr).contains("The old secret ends within 60 s"), "{}", text(&leaked.stderr));

    assert!(keys(&["revoke", id]).status.success());
    assert!(text(&keys(&["rotate", id]).stderr).contains("there is no key"), "what is revoked stays so");
    assert!(text(&keys(&["list"]).stdout).contains("revoked"));
    let unknown = keys(&["revoke", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("there is no key nobody"));
}

#[tokio::test]
async fn keys_prefers_the_local_data_and_seed_says_where_it_writes() {
    let home = TempDir::new().unwrap();
    let seeded = run(home.path(), &["seed", "3", "--quiet"]);
    assert!(text(&seeded.stdout).contains("they are in .tickets, which no server has open"));
    let server = Server::start(home.path(), &ANY_PORT);
    let seeded = run(home.path(), &["seed", "3", "--quiet"]);
    assert!(text(&seeded.stdout).contains("they are in .tickets, which a server has open"));
    let keys = run(home.path(), &["keys", "list"]);
    assert!(keys.status.success(), "{}", text(&keys.stderr));
    assert!(text(&keys.stdout).contains(server.key.split('_').nth(1).unwrap()));
    // A deployment's table is not searched for in the local directory.
    let mut elsewhere = tickets(home.path(), &["keys", "list", "--api-keys-table", "stack-ApiKeys-1"]);
    let elsewhere = elsewhere.env("AWS_CONFIG_FILE", "/nowhere").env_remove("AWS_REGION").output().unwrap();
    assert!(!elsewhere.status.success() && elsewhere.stdout.is_empty());
}
