//! Measures the costs and latencies of operations by the size of the table and of the tickets. It writes the
//! tables and plots of docs/performance.md.
//!
//! ```sh
//! cargo run --release -p tickets-bench --bin performance -- [MOST_TICKETS [FOLDER [CALLS]]] > docs/performance/tables.md
//! ```
//!
//! The plot goes to FOLDER, by default docs/performance. The default of a million tickets takes ten minutes
//! and 7 GB. Costs are the consumed capacity that the embedded engine reports as DynamoDB does. Latencies are
//! those of requests over loopback HTTP to handlers in this process.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plotters::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};
use support::{Api, answer};
use tickets_app::Config;
use tickets_domain::count::{CountBy, CountQuery};
use tickets_domain::id::CustomerId;
use tickets_domain::precondition::Preconditions;
use tickets_domain::status::Statuses;
use tickets_domain::work_queue::AnyOf;
use tickets_domain::{
    Clock, Continuation, Filter, Fit, JsonObject, KeyId, NewTicket, Presets, Row, TicketChange, TicketFields,
    TicketId, TicketInput, Timestamp, Visibility, WorkQueue,
};
use tickets_http::etag;
use tickets_repository::operator::seed::{MAX_CHUNK, SeedTicket};
use tickets_repository::{Meter, Tickets};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// List prices in dollars, us-east-1, November 2026, without free tiers and discounts.
mod price {
    /// A million write request units, on demand (aws.amazon.com/dynamodb/pricing/on-demand).
    pub const WRITE_UNITS: f64 = 0.625;
    /// A million read request units, on demand.
    pub const READ_UNITS: f64 = 0.125;
    /// A million requests to Lambda (aws.amazon.com/lambda/pricing).
    pub const INVOCATIONS: f64 = 0.20;
    /// A gigabyte-second on arm64.
    pub const GB_SECOND: f64 = 0.000_013_333_4;
    /// A million requests to a REST API, of the first 333 million (aws.amazon.com/api-gateway/pricing).
    pub const API_REQUESTS: f64 = 3.50;
}

const BY_ID: &str = "`idAfter`, the last 100";
const ALL_CHANGED: &str = "`updatedSince`, the first 100 of all";

const BY_IDS: &str = "`id=`, 100 of them";
const BATCH: &str = "update of 100 in a batch";
const COUNT: &str = "count of 800 open, by owner";

/// The operations, as named in the tables.
const OPERATIONS: [&str; 14] = [
    "get",
    "create",
    "update",
    "delete",
    BY_ID,
    "`updatedSince`, 100 changed",
    ALL_CHANGED,
    BY_IDS,
    "a customer's 100",
    "`open=true&limit=100`",
    "`status=closed&limit=100`",
    "`open=true&owner=grace`, 20",
    BATCH,
    COUNT,
];

/// The number of open tickets in every table. They are spread over it, and one in 40 of them is Grace's.
const OPEN: u64 = 800;

/// The time between two tickets' dates: 100 tickets have changed in the last hundred steps.
const STEP: Duration = Duration::from_secs(10);
/// The number of calls of which the median is taken, if none is given.
const CALLS: usize = 400;

/// A table with `count` tickets, 100 for each customer, whose content has a given size.
struct Table {
    api: Api,
    tickets: Tickets,
    meter: Meter,
    presets: Presets,
    count: u64,
    content: usize,
    filled: Timestamp,
}

impl Table {
    async fn fill(count: u64, content: usize) -> Result<Self> {
        let api =
            Api::start_with(support::Options { without_history: true, ..support::Options::default() }).await;
        let meter = Meter::counting();
        let tickets = api.tickets().await.metered(meter.clone());
        let presets = Config::from_lookup(|_| None)?.presets;
        let filled = Clock::system().now();
        let mut table = Self { api, tickets, meter, presets, count: 0, content, filled };
        while table.count < count {
            let chunk = (count - table.count).min(MAX_CHUNK as u64);
            let samples: Result<Vec<SeedTicket>> = (table.count..table.count + chunk)
                .map(|at| {
                    let time = filled.minus(STEP * u32::try_from(count - at)?);
                    Ok(SeedTicket {
                        fields: table.queued(1 + at % (count / 100), at, count)?,
                        created: time,
                        updated: time,
                    })
                })
                .collect();
            table.tickets.append(&writer()?, &samples?).await?;
            table.count += chunk;
        }
        Ok(table)
    }

    /// The fields of ticket number `at` of `count`: open or closed.
    fn queued(&self, customer: u64, at: u64, count: u64) -> Result<TicketFields> {
        let open = at * OPEN / count;
        if open == (at + 1) * OPEN / count {
            return self.fields(customer);
        }
        let owner = if open.is_multiple_of(40) { "grace" } else { "ada" };
        self.fields_with(customer, json!({"status": "open", "owner": owner}))
    }

    /// The fields of a closed ticket.
    fn fields(&self, customer: u64) -> Result<TicketFields> {
        self.fields_with(customer, json!({"status": "closed", "owner": "ada"}))
    }

    fn fields_with(&self, customer: u64, body: Value) -> Result<TicketFields> {
        Ok(self.new_ticket(customer, body)?.fields()?.clone())
    }

    /// Creates a ticket, and returns its id.
    async fn create(&self) -> Result<TicketId> {
        let new = self.new_ticket(1, json!({"status": "closed", "owner": "ada"}))?;
        Ok(self.tickets.create(&writer()?, Visibility::All, &new, None).await?.ticket.id())
    }

    fn new_ticket(&self, customer: u64, mut body: Value) -> Result<NewTicket> {
        let content = "x".repeat(self.content);
        body["customerID"] = customer.into();
        body["subject"] = "Invoice is wrong".into();
        body["ticketContent"] = content.into();
        Ok(NewTicket::parse(JsonObject::parse(body.to_string().as_bytes())?, &self.presets)?)
    }

    /// The time of the first ticket.
    fn oldest(&self) -> Timestamp {
        Timestamp::from_millis(self.filled.millis() - STEP.as_millis() as i64 * self.count as i64)
            .unwrap_or(self.filled)
    }

    /// A hundred ids, spread over the table, others for each call.
    fn spread(&self, call: u64) -> impl Iterator<Item = u64> {
        let most = self.count - 100;
        (0..100).map(move |at| 1 + (call * 7919 + at * 97) % most)
    }

    /// The filters of the lists, and how many tickets each returns.
    fn lists(&self) -> Result<[(Filter, u64); 8]> {
        let since = self.filled.minus(STEP * 100);
        let ids = self.spread(0).map(TicketId::try_from).collect::<std::result::Result<_, _>>()?;
        Ok([
            (Filter { id_after: self.count - 100, ..Filter::default() }, 100),
            (
                Filter { updated_since: Some(since), updated_until: Some(self.filled), ..Filter::default() },
                100,
            ),
            (Filter { updated_since: Some(self.oldest()), limit: Some(100), ..Filter::default() }, 100),
            (Filter { ids: Some(ids), ..Filter::default() }, 100),
            (Filter { customer: Some(CustomerId::try_from(7)?), ..Filter::default() }, 100),
            (Filter { queue: queue(true, false)?, limit: Some(100), ..Filter::default() }, 100),
            (Filter { queue: queue(false, false)?, limit: Some(100), ..Filter::default() }, 100),
            (Filter { queue: queue(true, true)?, ..Filter::default() }, OPEN / 40),
        ])
    }

    /// The units that each operation consumes, and those of a list of a thousand tickets.
    async fn units(&self) -> Result<Vec<f64>> {
        let middle = TicketId::try_from(self.count / 2)?;
        self.create().await?;
        self.meter.take();
        self.tickets.get(middle, Visibility::All).await?;
        let get = self.meter.take();
        let created = self.create().await?;
        let mut units = vec![get, self.meter.take()];
        let change = TicketInput::change(JsonObject::parse(br#"{"users": "somebody"}"#)?, &self.presets)?;
        self.tickets
            .update(created, &writer()?, Visibility::All, &Preconditions::default(), |t, now| {
                change.apply(t, now)
            })
            .await?;
        units.push(self.meter.take() - get);
        self.tickets.delete(created, &writer()?, Visibility::All, &Preconditions::default()).await?;
        units.push(self.meter.take() - get);
        for (filter, expected) in self.lists()? {
            let mut found = 0;
            let take = |_: &Row| {
                found += 1;
                Fit::Added
            };
            self.tickets.list(&filter, &Continuation::default(), Visibility::All, take).await?;
            units.push(self.meter.take() * expected as f64 / f64::from(found));
        }
        let rows = (1..=100).map(|id| JsonObject::parse(row(id, "somebody").to_string().as_bytes()));
        let rows = TicketChange::parse_rows(rows.collect(), &self.presets, etag::if_match);
        for updated in self.tickets.update_all(&writer()?, Visibility::All, rows).await {
            updated?;
        }
        units.push(self.meter.take() - 100.0 * get);
        let statuses = Statuses::open(true, &self.presets);
        let query = CountQuery { by: vec![CountBy::Owner], statuses, queue: WorkQueue::default() };
        let (counter, complete) = self.tickets.count(&query, Visibility::All).await?;
        assert_eq!(counter.finish(complete, &self.presets).total, OPEN);
        units.push(self.meter.take());
        let thousand = Filter { id_after: self.count - 1000, limit: Some(1000), ..Filter::default() };
        let take = |_: &Row| Fit::Added;
        self.tickets.list(&thousand, &Continuation::default(), Visibility::All, take).await?;
        units.push(self.meter.take());
        Ok(units)
    }

    /// The milliseconds that a call of an operation takes. `created` is the first id that "create" makes.
    async fn time(&self, operation: &str, call: u64, created: u64) -> Result<f64> {
        // Spread over the table, except for the last 100 tickets, which the lists must find.
        let id = 1 + (call * 7919) % (self.count - 100);
        let (since, until) = (self.filled.minus(STEP * 100), self.filled);
        let get = |path: String| self.api.request(Method::GET, &path);
        let request = match operation {
            "get" => get(format!("/tickets/{id}")),
            "create" => {
                let content = "x".repeat(self.content);
                let body = json!({
                    "customerID": 7_000_000, "subject": "s", "ticketContent": content, "status": "closed",
                });
                self.api.request(Method::POST, "/tickets/").json(&body)
            }
            "update" => {
                let body = json!({"users": call.to_string()});
                self.api.request(Method::PATCH, &format!("/tickets/{id}")).json(&body)
            }
            BATCH => {
                let first = 1 + (call * 7919) % (self.count - 200);
                let rows: Value = (first..first + 100).map(|id| row(id, &call.to_string())).collect();
                self.api.request(Method::PATCH, "/tickets/").json(&rows)
            }
            COUNT => get("/ticket-counts/?by=owner".into()),
            // A ticket that "create" has made.
            "delete" => self.api.request(Method::DELETE, &format!("/tickets/{}", created + call)),
            BY_ID => get(format!("/tickets/?idAfter={}&limit=100", self.count - 100)),
            "`updatedSince`, 100 changed" => {
                get(format!("/tickets/?updatedSince={since}&updatedUntil={until}"))
            }
            ALL_CHANGED => get(format!("/tickets/?updatedSince={}&limit=100", self.oldest())),
            BY_IDS => {
                let ids: Vec<_> = self.spread(call).map(|id| id.to_string()).collect();
                get(format!("/tickets/?id={}", ids.join(",")))
            }
            "a customer's 100" => get("/customers/8/tickets/".into()),
            "`open=true&limit=100`" => get("/tickets/?open=true&limit=100".into()),
            "`status=closed&limit=100`" => get("/tickets/?status=closed&limit=100".into()),
            _ => get("/tickets/?open=true&owner=grace".into()),
        };
        let began = Instant::now();
        let answer = answer(request).await;
        let took = began.elapsed().as_secs_f64() * 1e3;
        assert!(answer.status < 300, "{operation}: {answer:?}");
        if operation == BATCH {
            let rows = answer.json();
            assert!(
                rows.as_array().is_some_and(|rows| rows.iter().all(|row| row["status"] == 200)),
                "{rows}"
            );
        } else if answer.text.starts_with('[') {
            let expected = if operation.ends_with("20") { OPEN / 40 } else { 100 };
            assert_eq!(answer.ids().len() as u64, expected, "{operation}");
        }
        Ok(took)
    }
}

/// The median time of each operation for each table. The tables take turns, so that disturbances affect them
/// alike.
async fn latencies(tables: &[Table], calls: usize) -> Result<Vec<Vec<f64>>> {
    let mut created = Vec::new();
    for table in tables {
        created.push(table.create().await?.get() + 1);
    }
    let mut medians = vec![Vec::new(); tables.len()];
    for operation in OPERATIONS {
        let mut times = vec![Vec::new(); tables.len()];
        for call in 0..calls as u64 {
            for (at, table) in tables.iter().enumerate() {
                times[at].push(table.time(operation, call, created[at]).await?);
            }
        }
        for (times, medians) in times.iter_mut().zip(&mut medians) {
            times.sort_by(f64::total_cmp);
            medians.push(times[calls / 2]);
        }
    }
    Ok(medians)
}

/// The work queue of open or closed tickets, of everybody or of Grace.
fn queue(open: bool, graces: bool) -> Result<WorkQueue> {
    let presets = Config::from_lookup(|_| None)?.presets;
    let named = if open {
        Statuses::open(true, &presets)
    } else {
        Statuses::any_of(&presets.any_status().choose_any("closed")?)
    };
    let owners = if graces { Some(AnyOf::of(&presets.owner.choose_any("grace")?)) } else { None };
    Ok(WorkQueue { statuses: Some(named), owners, ..WorkQueue::default() })
}

/// The writer of all records here.
fn writer() -> Result<KeyId> {
    Ok("writer".parse()?)
}

/// The row of a batch that changes a short field of a ticket.
fn row(id: u64, users: &str) -> Value {
    json!({"id": id.to_string(), "users": users})
}

fn line(cells: impl IntoIterator<Item = String>) {
    println!("| {} |", cells.into_iter().collect::<Vec<_>>().join(" | "));
}

fn header(names: impl IntoIterator<Item = String>) {
    let names: Vec<String> = names.into_iter().collect();
    let rule = names
        .iter()
        .enumerate()
        .map(|(at, _)| if at == 0 { "---" } else { "--:" }.to_owned())
        .collect::<Vec<_>>();
    line(names);
    println!("|{}|", rule.join("|"));
}

fn thousands(count: u64) -> String {
    if count >= 1_000_000 { format!("{} M", count / 1_000_000) } else { format!("{} k", count / 1000) }
}

/// Draws a line for each operation over the sizes of the tables.
fn plot(folder: &Path, sizes: &[u64], latencies: &[Vec<f64>]) -> Result<()> {
    let file = folder.join("latency.svg");
    let area = SVGBackend::new(&file, (860, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let all = || latencies.iter().flatten().copied();
    let (least, most) = (all().fold(f64::MAX, f64::min) * 0.8, all().fold(0.0, f64::max) * 1.2);
    let (first, last) = (sizes[0] as f64, sizes[sizes.len() - 1] as f64);
    let mut chart = ChartBuilder::on(&area)
        .caption("Median latency by number of tickets", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        // The legend has its place to the right of the largest table.
        .build_cartesian_2d((first..30.0 * last).log_scale(), (least..most).log_scale())?;
    let mesh = |tickets: &f64| if *tickets > last { String::new() } else { thousands(*tickets as u64) };
    chart.configure_mesh().x_desc("tickets").y_desc("ms").x_label_formatter(&mesh).draw()?;
    for (at, operation) in OPERATIONS.iter().enumerate() {
        let color = Palette99::pick(at).to_rgba();
        let points = sizes.iter().zip(latencies).map(|(size, medians)| (*size as f64, medians[at]));
        let line = LineSeries::new(points, color.stroke_width(2)).point_size(3);
        let label = operation.replace('`', "");
        chart
            .draw_series(line)?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .background_style(WHITE)
        .draw()?;
    Ok(area.present()?)
}

/// The cost of a million operations in dollars, from the units and from the size and duration of the
/// function.
fn dollars(read: f64, write: f64, megabytes: f64, milliseconds: f64) -> f64 {
    let lambda = price::INVOCATIONS + megabytes / 1024.0 * milliseconds / 1e3 * price::GB_SECOND * 1e6;
    price::API_REQUESTS + lambda + read * price::READ_UNITS + write * price::WRITE_UNITS
}

#[tokio::main]
async fn main() -> Result<()> {
    let most: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let folder = PathBuf::from(std::env::args().nth(2).unwrap_or("docs/performance".into()));
    let calls = std::env::args().nth(3).map_or(Ok(CALLS), |text| text.parse())?;
    std::fs::create_dir_all(&folder)?;
    let sizes: Vec<u64> =
        [1000, 10_000, 100_000, 1_000_000].into_iter().filter(|size| *size <= most).collect();
    let (mut tables, mut units) = (Vec::new(), Vec::new());
    for &size in &sizes {
        eprintln!("{size} tickets of 0.5 KB");
        let table = Table::fill(size, 300).await?;
        units.push((size, 300, table.units().await?));
        tables.push(table);
    }
    for (size, content) in [(1000, 3000), (100_000, 3000), (1000, 20_000), (100_000, 20_000)] {
        if size <= most {
            eprintln!("{size} tickets of {content} bytes");
            units.push((size, content, Table::fill(size, content).await?.units().await?));
        }
    }
    let latencies = latencies(&tables, calls).await?;
    plot(&folder, &sizes, &latencies)?;

    println!("### Latency by size of the table\n\nMedian of {calls} calls, milliseconds.\n");
    header(
        ["operation".to_owned()]
            .into_iter()
            .chain(sizes.iter().map(|size| thousands(*size)))
            .chain(["last / first".into()]),
    );
    for (at, operation) in OPERATIONS.iter().enumerate() {
        let times: Vec<f64> = latencies.iter().map(|medians| medians[at]).collect();
        let ratio = times[times.len() - 1] / times[0];
        line(
            [(*operation).to_owned()]
                .into_iter()
                .chain(times.iter().map(|ms| format!("{ms:.2}")))
                .chain([format!("{ratio:.2}")]),
        );
    }

    let at = |name| OPERATIONS.iter().position(|operation| *operation == name).ok_or("no such operation");
    let (by_id, changed, update, batch) = (at(BY_ID)?, at(ALL_CHANGED)?, at("update")?, at(BATCH)?);
    let ratios: Vec<_> = latencies.iter().map(|ms| format!("{:.1}", ms[changed] / ms[by_id])).collect();
    println!(
        "\nThe first page of changes, where every ticket has changed, takes {} × the time of a page by `idAfter`.",
        ratios.join(", ")
    );

    let ratios: Vec<_> = latencies.iter().map(|ms| format!("{:.0}", ms[batch] / ms[update])).collect();
    println!(
        "A batch of 100 updates takes {} × the time of one update, without a network between.",
        ratios.join(", ")
    );

    println!(
        "\n### Units\n\nWrite units of create, update, delete and the batch (besides the reads of the tickets); read units of the others.\n"
    );
    let columns =
        OPERATIONS.iter().map(|o| (*o).to_owned()).chain(["`limit=1000`, 1,000 tickets".to_owned()]);
    header(["tickets".to_owned(), "content".to_owned()].into_iter().chain(columns));
    for (size, content, units) in &units {
        let cells = units.iter().map(|units| format!("{units:.1}"));
        line([thousands(*size), format!("{:.1} KB", *content as f64 / 1e3)].into_iter().chain(cells));
    }

    println!("\n### Dollars for a million\n");
    header(
        ["content", "get", "create", "update", "delete", "list of 100 changed", "list of 1,000"]
            .map(str::to_owned),
    );
    for (_, content, units) in units.iter().filter(|(size, ..)| *size == 1000) {
        let [get, create, update, delete, _, changed, .., thousand] = units[..] else {
            return Err("no units".into());
        };
        // Key lookups are left out: one a minute for each instance. Milliseconds as billed:
        // docs/performance.md explains them.
        let cells = [
            dollars(get, 0.0, 256.0, 6.0),
            dollars(0.0, create, 256.0, 12.0),
            dollars(get, update, 256.0, 12.0),
            dollars(get, delete, 256.0, 12.0),
            dollars(changed, 0.0, 512.0, 20.0),
            dollars(thousand, 0.0, 512.0, 60.0),
        ];
        let kilobytes = format!("{:.1} KB", *content as f64 / 1e3);
        line([kilobytes].into_iter().chain(cells.iter().map(|dollars| format!("{dollars:.2}"))));
    }
    Ok(())
}
