//! Tests of moving in and restoring. A restored export equals the original, whatever it contains. Records
//! move in beside writers while the database fails and the importer dies and restarts: no ticket is lost,
//! doubled, overwritten, or missing from a copy.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Value, json};
use support::model::Faults;
use support::simulation::{Simulation, simulate};
use tickets_cli::command::export::Export;
use tickets_cli::command::import::Import;
use tickets_cli::server::local::{Local, any_port};
use tickets_domain::Settings;
use tickets_domain::preset::PresetLists;
use tickets_domain::text::Subject;
use tickets_domain::ticket::{FieldKind, TEXT_FIELDS};
use tickets_domain::{Clock, JsonObject, Presets, Record, TicketId, Timestamp};
use tickets_repository::operator::import::{Imported, ReservedRanges};
use tickets_repository::{DynamoDb, Tickets, schema};

/// The commands, parsed as from a command line
#[derive(Parser)]
enum Command {
    Export(Export),
    Import(Import),
}

async fn run(arguments: &[&str]) {
    let ended = match Command::parse_from([&["tickets"], arguments].concat()) {
        Command::Export(export) => export.run().await,
        Command::Import(import) => import.run().await,
    };
    ended.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
}

/// Texts that are difficult for file formats: delimiters, quotes, line ends, spaces, marks, backslashes,
/// formulas, nothing.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,30}",
        "[a-z ,;\"'\\r\\n\\t\\\\\u{feff}\u{1}\u{85}\u{2028}ü🎉]{0,20}",
        // Formulas of a spreadsheet, escaped or not.
        "['\\\\]{0,3}[=+@＝\\-\\t\\r\\na][a-z=']{0,6}",
        Just("\\".to_owned()),
        Just(String::new()),
    ]
}

/// Such a text, if it is one line that can be seen.
fn line() -> impl Strategy<Value = String> {
    text().prop_filter("one line", |text| text.parse::<Subject>().is_ok_and(|line| line.as_str() == text))
}

fn choice(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(values).prop_map(str::to_owned)
}

/// A date, or a time.
fn day_or_time() -> impl Strategy<Value = String> {
    (0i64..253_402_300_799_999, any::<bool>()).prop_map(|(millis, is_day)| {
        let time = Timestamp::from_millis(millis).unwrap().to_string();
        if is_day { time[..10].to_owned() } else { time }
    })
}

/// A value of a text field.
fn value((name, kind): (&'static str, FieldKind)) -> BoxedStrategy<String> {
    match kind {
        FieldKind::Subject => line().boxed(),
        FieldKind::ChoiceOrNote => prop_oneof![line(), Just(String::new())].boxed(),
        FieldKind::Content | FieldKind::Note => text().boxed(),
        FieldKind::DateOrTime => day_or_time().boxed(),
        FieldKind::Email => {
            choice(&["ada@example.com", "o'hara+x@sub.example.org", "=1+2@example.com", "-x@example.com"])
                .boxed()
        }
        FieldKind::Choice => match name {
            "ticketType" => choice(&["sales", "billing", "support"]).boxed(),
            "status" => choice(&["open", "assigned", "resolved", "closed"]).boxed(),
            "ticketPriority" => choice(&["low", "normal", "high", "urgent"]).boxed(),
            other => panic!("{other} is new: name the configured values here"),
        },
    }
}

/// A ticket or a tombstone, without its id.
fn record() -> impl Strategy<Value = Value> {
    let texts = TEXT_FIELDS.map(|field| {
        let text =
            if field.0 == "subject" { value(field).prop_map(Some).boxed() } else { of(value(field)).boxed() };
        (Just(field.0), text)
    });
    let stamps = (1u64..9_007_199_254_740_991, 0i64..1_700_000_000_000, 0i64..60_000_000_000, 0u8..8);
    (texts.to_vec(), stamps).prop_map(|(texts, (customer, created, later, deleted))| {
        let stamp = |millis| Timestamp::from_millis(millis).unwrap().to_string();
        let updated = stamp(created + later);
        let stamps = json!({"customerID": customer, "createdDate": stamp(created), "updatedDate": updated});
        let Value::Object(mut record) = stamps else { unreachable!("an object") };
        if deleted == 0 {
            record.insert("deletedDate".into(), updated.into());
            return Value::from(record);
        }
        record.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))));
        Value::from(record)
    })
}

/// Records with ascending ids, some of them missing.
fn records() -> impl Strategy<Value = Vec<Value>> {
    vec((record(), 1u64..4), 1..12).prop_map(|records| {
        let mut id = 0;
        let with_id = records.into_iter().map(|(mut record, step)| {
            id += step;
            record["id"] = id.to_string().into();
            record
        });
        with_id.collect()
    })
}

/// Exports a table as NDJSON and as CSV.
async fn export(database: &str, directory: &Path, name: &str) -> [Vec<u8>; 2] {
    let file = |ending: &str| directory.join(format!("{name}.{ending}")).display().to_string();
    let files = [file("ndjson"), file("csv")];
    for file in &files {
        let from = ["--table", "--data", database, "--include-deleted", "--quiet"];
        run(&[&["export", "-o", file], &from[..]].concat()).await;
    }
    files.map(|file| fs::read(file).unwrap())
}

#[test]
fn an_export_that_is_restored_is_what_was_exported_in_either_format() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    // Fewer cases than usual: each needs three databases.
    let mut cases = TestRunner::new(Cases { cases: 24, failure_persistence: None, ..Cases::default() });
    let restored = cases.run(&records(), |records| {
        runtime.block_on(async {
            let original = directory.path().join("original.ndjson");
            let lines: Vec<String> = records.iter().map(|record| format!("{record}\n")).collect();
            fs::write(&original, lines.concat()).unwrap();
            let mut files = vec![original];
            let mut exported = Vec::new();
            for round in 0..3 {
                let data = tempfile::tempdir().unwrap();
                let _server = Local::open(data.path(), any_port()).await.unwrap();
                let database = data.path().display().to_string();
                let file = files[round].display().to_string();
                let to = ["--table", "--keep-ids", "--data", &database, "--quiet"];
                run(&[&["import", &file], &to[..]].concat()).await;
                exported.push(export(&database, directory.path(), &format!("export{round}")).await);
                // The first round fills the table. Then one is restored from its NDJSON, one from its CSV.
                files =
                    ["", "export0.ndjson", "export0.csv"].map(|name| directory.path().join(name)).to_vec();
            }
            let first: Vec<Value> = exported[0][0]
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect();
            prop_assert_eq!(&first, &records, "field by field");
            prop_assert_eq!(&exported[1], &exported[0], "from NDJSON");
            prop_assert_eq!(&exported[2], &exported[0], "from CSV");
            for row in csv::Reader::from_reader(&*exported[0][1]).records() {
                for cell in &row.unwrap() {
                    prop_assert!(!cell.starts_with(['=', '+', '-', '@', '＝', '\t', '\r', '\n']), "{cell:?}");
                }
            }
            Ok(())
        })
    });
    restored.unwrap_or_else(|error| panic!("{error}"));
}

fn id(record: &Value) -> u64 {
    record["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
}

/// A copy that polls for changes, deletions included, and starts over when the epoch changes.
#[derive(Default)]
struct Copy {
    records: BTreeMap<u64, Value>,
    since: Option<String>,
    epoch: String,
    starts: u32,
}

impl Copy {
    async fn pass(&mut self, api: &Simulation) {
        'anew: loop {
            let since = self.since.as_ref().map(|since| format!("&updatedSince={since}")).unwrap_or_default();
            let mut page = Some(format!("/tickets/?includeDeleted=true&limit=7{since}"));
            let mut until = None;
            while let Some(asked) = page {
                let reply = api.get(&asked).await;
                if reply.header("sync-epoch") != self.epoch {
                    let (epoch, starts) = (reply.header("sync-epoch").to_owned(), self.starts + 1);
                    *self = Self { epoch, starts, ..Self::default() };
                    continue 'anew;
                }
                until.get_or_insert_with(|| reply.header("sync-until").to_owned());
                for record in reply.body.as_array().expect("a list") {
                    let newer = self
                        .records
                        .get(&id(record))
                        .is_none_or(|old| old["updatedDate"].as_str() < record["updatedDate"].as_str());
                    if newer {
                        self.records.insert(id(record), record.clone());
                    }
                }
                page = reply.next();
                assert_ne!(page.as_ref(), Some(&asked), "pages go on");
            }
            self.since = until;
            return;
        }
    }
}

/// Records of another system: ids from 1 on with gaps, some of them deleted.
fn moved(count: u64, now: Timestamp) -> Vec<Record> {
    let presets = Presets::parse(&PresetLists::default()).unwrap();
    let record = |n: u64| {
        let created = format!("20{:02}-03-0{}T10:00:00.000Z", 10 + n % 14, 1 + n % 9);
        let mut body =
            json!({"id": (n + n / 5).to_string(), "customerID": 1 + n % 3, "createdDate": created});
        match n % 6 {
            0 => body["deletedDate"] = "2025-01-01T00:00:00.000Z".into(),
            _ => body["subject"] = format!("moved {n}").into(),
        }
        Record::imported(JsonObject::parse(body.to_string().as_bytes()).unwrap(), &presets, now).unwrap()
    };
    (1..=count).map(record).collect()
}

/// One run of an importer: what it put. `None` if it gave up.
async fn import(tickets: &Tickets, records: &[Record]) -> Option<Vec<(TicketId, Imported)>> {
    let ids: Vec<u64> = records.iter().map(|record| record.key().id.get()).collect();
    let earliest = records.iter().map(|record| record.key().updated).min()?;
    let ranges: ReservedRanges = tickets.reserve_ranges(&ids, earliest).await.ok()?.ok()?;
    let by = "import".parse().unwrap();
    let mut became = Vec::new();
    for chunk in records.chunks(8) {
        let puts = chunk.iter().map(|record| async {
            for _ in 0..8 {
                if let Ok(became) = tickets.import(&by, &ranges, record).await {
                    return Some((record.key().id, became));
                }
            }
            None
        });
        for put in futures::future::join_all(puts).await {
            became.push(put?);
        }
    }
    tickets.renew_epoch().await.ok()?;
    Some(became)
}

/// Returns how many records moved in, how many ids were taken, and how often the importer died or gave up.
fn a_move_beside_writers(seed: u64) -> [usize; 3] {
    simulate(seed, async {
        let api = Simulation::start(seed, Settings::default()).await;
        api.model.set(Faults::everything());
        let records = moved(60, api.clock.now());
        let mut told = BTreeMap::new();
        let writers = (0..3).map(|writer| {
            let api = api.clone();
            tokio::task::spawn_local(async move {
                let mut told = BTreeMap::new();
                // In some runs the import comes first, in some the writers.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..1000))).await;
                for n in 0..15 {
                    create(&api, format!("{writer} {n}"), &mut told).await;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(..400))).await;
                }
                told
            })
        });
        let writers: Vec<_> = writers.collect();
        let copier = {
            let api = api.clone();
            tokio::task::spawn_local(async move {
                let mut copy = Copy::default();
                for _ in 0..10 {
                    copy.pass(&api).await;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(..2000))).await;
                }
                copy
            })
        };
        // The importer dies and is started again; faults may also make it give up.
        let mut lives = 0;
        let became = loop {
            lives += 1;
            assert!(lives < 500, "it never ends");
            let mortal = api.model.mortal();
            let clock: Clock = api.clock.clone();
            let tickets = Tickets::new(
                DynamoDb::new(&mortal.sdk_config()),
                schema::TICKETS,
                clock,
                Settings::default(),
            );
            let ended = tokio::select! {
                ended = import(&tickets, &records) => ended,
                () = mortal.death() => None,
            };
            if let Some(became) = ended {
                break became;
            }
        };
        for writer in writers {
            told.extend(writer.await.expect("a writer"));
        }
        let mut copy = copier.await.expect("a copy");
        tokio::time::sleep(Duration::from_secs(30)).await;
        copy.pass(&api).await;
        api.model.set(Faults::default());

        let mut table = BTreeMap::new();
        let mut page = Some("/tickets/?includeDeleted=true".to_owned());
        while let Some(asked) = page {
            let reply = api.get(&asked).await;
            table.extend(
                reply.body.as_array().expect("a list").iter().map(|record| (id(record), record.clone())),
            );
            page = reply.next();
        }
        for (record, (_, became)) in records.iter().zip(&became) {
            let there = table.get(&record.key().id.get());
            let is_it = there == Some(&serde_json::to_value(record).unwrap());
            match became {
                Imported::New | Imported::There => assert!(is_it, "seed {seed}: {record:?} is {there:?}"),
                Imported::Taken | Imported::GivenOut => assert!(!is_it, "seed {seed}: {record:?}"),
                Imported::Changed => panic!("seed {seed}: nobody changes {record:?}"),
            }
        }
        for (subject, id) in &told {
            assert_eq!(
                table.get(id).map(|ticket| &ticket["subject"]),
                Some(&json!(subject)),
                "seed {seed}: {id}"
            );
        }
        let missed: Vec<_> = table.keys().filter(|id| copy.records.get(id) != table.get(id)).collect();
        assert!(missed.is_empty(), "seed {seed}: the copy misses {missed:?}, after {} starts", copy.starts);
        assert_eq!(copy.records.len(), table.len(), "seed {seed}");
        let put =
            became.iter().filter(|(_, became)| matches!(became, Imported::New | Imported::There)).count();
        [put, became.len() - put, lives - 1]
    })
}

/// Creates a ticket once, and notes the id in the answer.
async fn create(api: &Simulation, subject: String, told: &mut BTreeMap<String, u64>) {
    let body = json!({"customerID": 5, "subject": subject});
    loop {
        let reply = api.call("POST", "/tickets/", &[("idempotency-key", &subject)], Some(&body)).await;
        match reply.status {
            201 => {
                told.insert(subject, id(&reply.body));
                return;
            }
            0 | 409 | 500 | 503 => tokio::time::sleep(Duration::from_millis(300)).await,
            other => panic!("{other}: {}", reply.body),
        }
    }
}

#[test]
fn records_move_in_beside_writers_through_an_importer_that_dies() {
    let mut sums = [0; 3];
    // With the last seed, a former import that did not wait for open ids failed.
    for seed in (1..=9).chain([18]) {
        let counts = a_move_beside_writers(seed);
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let [put, taken, deaths] = sums;
    assert!(put > 300 && taken > 2 && deaths > 10, "{put} moved in, {taken} ids taken, {deaths} deaths");
}
