use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ANY_PORT, Server, lines, run, text, tickets, with_key};

#[test]
fn a_file_is_read_in_whatever_form_it_comes_or_refused_with_the_reason() {
    let home = TempDir::new().unwrap();
    let directory = home.path();
    let dry = |name: &str, more: &[&str]| {
        let import = run(directory, &[&["import", name, "--dry-run"], more].concat());
        text(&import.stderr).to_owned()
    };
    let semicolons = "customerID;subject;users\r\n1;a;\"a;\r\nb\"\r\n2;c;d\r\n";
    let wide: Vec<u8> =
        "\u{feff}".encode_utf16().chain(semicolons.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [
        ("a.csv", semicolons.as_bytes()),
        ("wide.csv", &wide),
        ("marked.csv", "\u{feff}customerID\tsubject\n1\ta\n2\tb".as_bytes()),
        (
            "array.json",
            b"[{\"customerID\": 1, \"subject\": \"a\"},\n{\"customerID\": 2, \"subject\": \"b\"}]",
        ),
        ("lines.json", b"{\"customerID\": 1, \"subject\": \"a\"}\n{\"customerID\": 2, \"subject\": \"b\"}"),
    ] {
        std::fs::write(directory.join(name), bytes).unwrap();
        assert!(
            dry(name, &[]).ends_with("\nchecked 2 lines; nothing was sent\n"),
            "{name}: {}",
            dry(name, &[])
        );
        // Standard input has no file name to tell the format.
        let stdin = std::fs::File::open(directory.join(name)).unwrap();
        let piped = tickets(directory, &["import", "-", "--dry-run"]).stdin(stdin).output().unwrap();
        assert!(text(&piped.stderr).ends_with("\nchecked 2 lines; nothing was sent\n"), "{name}");
    }
    std::fs::write(directory.join("bars.csv"), "customerID|subject\n1|a\n").unwrap();
    assert!(dry("bars.csv", &["--delimiter", "|"]).ends_with("\nchecked 1 line; nothing was sent\n"));
    std::fs::write(directory.join("book.csv"), "PK\u{3}\u{4}").unwrap();
    assert!(dry("book.csv", &[]).contains("cannot read book.csv: it is a spreadsheet"));
    std::fs::write(directory.join("latin.csv"), b"customerID,subject\r\n1,ok\r\n1,Gr\xfc\xdfe\r\n").unwrap();
    assert!(dry("latin.csv", &[]).contains("line 3: is not UTF-8"), "{}", dry("latin.csv", &[]));
}

/// Writes a file and checks it. Returns the exit code and what is said.
fn dry(directory: &Path, name: &str, content: impl AsRef<[u8]>, more: &[&str]) -> (Option<i32>, String) {
    std::fs::write(directory.join(name), content).unwrap();
    let import = run(directory, &[&["import", name, "--dry-run"], more].concat());
    (import.status.code(), text(&import.stderr).to_owned())
}

#[test]
fn a_file_that_can_be_read_in_two_ways_is_refused_by_line_whatever_its_delimiter_is() {
    let home = TempDir::new().unwrap();
    for (name, delimiter) in [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.txt", "|")] {
        let more: &[&str] = if delimiter == "|" { &["--delimiter", "|"] } else { &[] };
        for (rows, says) in [
            ("2|s\n5|\"never closed\n6|s\n7|s\n", "line 3: the quote that opens on line 3 is never closed"),
            (
                "2|s\n5|\"never closed\n6|\"s\"\n",
                "line 3: cell 2, whose quote opens on line 3, goes on after its",
            ),
            ("2|\"plain \\\"q\\\" end\"\n", "line 2: cell 2, whose quote opens on line 2, goes on after its"),
            ("2|\"x\"y\n", "written \"\", not \\\", and --delimiter names another"),
            ("2| \"x\"\n", "line 2: cell 2 has spaces before its quote"),
            ("2|s|x\n", "line 2: has 3 cells, but the header has 2"),
        ] {
            let file = format!("customerID|subject\n{rows}").replace('|', delimiter);
            let (code, said) = dry(home.path(), name, file, more);
            assert!(code == Some(3) && said.contains(says), "{rows}: {said}");
            assert!(said.contains(" line") && said.contains("; nothing was sent"), "{rows}: {said}");
        }
    }
}

#[test]
fn what_spreadsheets_make_of_a_file_is_read_and_counted() {
    let home = TempDir::new().unwrap();
    let file = "sep=;\r\ncustomerID;subject;owner;status\r\n1;a;;open\r\n2;b\r\n;;;\r\n3;c;;;\r\n;;;\r\n4;\"d;\r\n\"\r\n";
    let said = "skipped 2 lines with empty cells only\n\
        2 lines shorter than the header: the missing cells were read as empty\n\
        checked 4 lines; nothing was sent\n";
    for name in ["a.csv", "a.txt"] {
        let (code, all) = dry(home.path(), name, file, &[]);
        assert!(code == Some(0) && all.ends_with(said), "{all}");
        // The counts, but not the reason why a line is refused, are left out of what is quiet.
        let (code, all) = dry(home.path(), name, file, &["--quiet"]);
        assert!(code == Some(0) && all.is_empty(), "{all}");
    }
    let map = "[fields]\ncustomerID = { column = \"customerID\" }\nsubject = { column = \"subject\" }\n\
        owner = { column = \"owner\", empty = \"nobody\" }\nstatus = { column = \"status\" }\n";
    std::fs::write(home.path().join("map.toml"), map).unwrap();
    let (code, all) = dry(home.path(), "a.csv", file, &["--map", "map.toml"]);
    assert!(code == Some(0) && all.ends_with(said), "{all}");
}

#[test]
fn what_is_wrong_with_a_header_is_clear() {
    let home = TempDir::new().unwrap();
    std::fs::write(home.path().join("map.toml"), "[fields]\nsubject = { column = \"subject\" }\n").unwrap();
    for more in [&[][..], &["--map", "map.toml"]] {
        let (code, said) = dry(home.path(), "empty.csv", "", more);
        assert!(code == Some(3) && said.contains("the file is empty"), "{said}");
    }
    let (_, said) = dry(home.path(), "a.csv", "customerID,subject\u{200b},,\n1,a,,x\n", &[]);
    assert!(said.contains("no field for the columns unnamed column 4 (on 1 line); --map"), "{said}");
    let (code, said) = dry(home.path(), "a.csv", "customerID,subject,\n1,a,\n", &[]);
    assert!(code == Some(0) && said.ends_with("checked 1 line; nothing was sent\n"), "{said}");
    let (code, said) = dry(home.path(), "a.csv", "customerID,subject,\"owner\n1,a,b\n", &[]);
    assert!(
        code == Some(3) && said.contains("line 1: the quote that opens on line 1 is never closed"),
        "{said}"
    );
    // As many columns as a spreadsheet has, and one more.
    let wide = |columns: usize| format!("customerID,subject,{}\n1,a\n", "x,".repeat(columns - 3));
    let (code, said) = dry(home.path(), "wide.csv", wide(16_384), &[]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = dry(home.path(), "wide.csv", wide(16_385), &[]);
    assert!(code == Some(3) && said.contains("line 1: has more than 16384 cells"), "{said}");
}

#[test]
fn a_column_that_is_there_twice_is_joined_if_a_map_names_it() {
    let home = TempDir::new().unwrap();
    // As Jira exports it.
    let file = "customerID,Summary,Labels,Labels,Comment,Comment\n1,a,red,blue,x,y\n2,b,,green,,\n3,c,,,,\n";
    let map = "ignore = [\"Comment\"]\n[fields]\ncustomerID = { column = \"customerID\" }\n\
        subject = { column = \"Summary\" }\nticketSuppliers = { column = \"Labels\" }\n";
    std::fs::write(home.path().join("map.toml"), map).unwrap();
    let server = Server::start(home.path(), &ANY_PORT);
    std::fs::write(home.path().join("jira.csv"), file).unwrap();
    let arguments = ["import", "jira.csv", "--map", "map.toml", "--parallel", "1"];
    let import = with_key(&server, home.path(), &arguments);
    assert_eq!(text(&import.stderr), "imported 3 tickets\n");
    assert!(with_key(&server, home.path(), &["export", "-o", "out.ndjson"]).status.success());
    let tickets = lines(&home.path().join("out.ndjson"));
    let suppliers: Vec<_> = tickets.iter().map(|ticket| ticket["ticketSuppliers"].clone()).collect();
    assert_eq!(suppliers, ["red, blue".into(), "green".into(), Value::Null]);
    // Without a map, a field has one column.
    let (code, said) = dry(home.path(), "a.csv", "customerID,subject,Tag,Tag,subject\n1,a,,,\n", &[]);
    assert!(code == Some(3) && said.contains("the column subject is there twice"), "{said}");
    let (code, said) = dry(home.path(), "a.csv", "customerID,subject,Tag,Tag\n1,a,,\n", &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_member_that_is_there_twice_is_refused_however_the_line_is_read() {
    let home = TempDir::new().unwrap();
    let map = "[fields]\ncustomerID = { column = \"customerID\" }\nsubject = { column = \"subject\" }\n";
    std::fs::write(home.path().join("map.toml"), map).unwrap();
    let line = "{\"customerID\": 1, \"subject\": \"a\", \"subject\": \"b\"}";
    for (name, file) in [("a.ndjson", format!("\n{line}\n")), ("a.json", format!("[\n{line}]"))] {
        for more in [&[][..], &["--drop-assigned"], &["--map", "map.toml"]] {
            let (code, said) = dry(home.path(), name, &file, more);
            assert!(
                code == Some(3) && said.contains("line 2: ") && said.contains("is given twice"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_map_s_format_reads_no_time_in_two_ways() {
    let home = TempDir::new().unwrap();
    let check = |format: &str, time: &str| {
        let map = format!(
            "zone = \"Europe/Berlin\"\n[fields]\ncustomerID = {{ constant = 1 }}\nsubject = {{ constant = \"s\" }}\n\
             ticketFollowupDate = {{ column = \"due\", format = \"{format}\" }}\n"
        );
        std::fs::write(home.path().join("map.toml"), map).unwrap();
        dry(home.path(), "a.csv", format!("due\n{time}\n"), &["--map", "map.toml"])
    };
    for (format, time) in [
        ("%Y-%m-%d %H:%M:%S %Z", "2024-11-03 14:20:11 UTC"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-11-03 14:20:11 GMT"),
        ("%d.%m.%y", "03.11.24"),
        ("%d.%m.%Y", "03.11.1000"),
    ] {
        assert_eq!(check(format, time).0, Some(0), "{format} {time}: {}", check(format, time).1);
    }
    for (format, time, says) in [
        ("%Y-%m-%d %H:%M:%S %Z", "2024-11-03 14:20:11 EST", "%Z reads UTC and GMT only"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-11-03 14:20:11 IST", "%Z reads UTC and GMT only"),
        (
            "%d.%m.%Y",
            "03.11.24",
            "line 2: ticketFollowupDate: \"03.11.24\" is in the year 24; a `format` with %y",
        ),
        ("%Y-%m-%d %H:%M", "24-11-03 14:20", "is in the year 24"),
    ] {
        let (code, said) = check(format, time);
        assert!(code == Some(3) && said.contains(says), "{format} {time}: {said}");
    }
    let (code, said) = check("%d.%m.%Y %I:%M", "03.11.2024 02:20");
    assert!(code == Some(1) && said.contains("does not say a whole date"), "{said}");
}
