//! `tickets seed`: adds realistic sample tickets.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fastrand::Rng;
use serde_json::json;
use tickets_app::config::PRESETS;
use tickets_domain::{Clock, JsonObject, KeyId, Presets, TicketInput, Timestamp};
use tickets_repository::Tickets;
use tickets_repository::operator::seed::{MAX_CHUNK, SeedTicket};

use crate::data;
use crate::error::CommandError;
use crate::operator::connect::{Tables, open};
use crate::output::{counted, print, progress_bar};

/// Fill the database with sample tickets
#[derive(Debug, Clone, Args)]
pub struct Seed {
    /// How many tickets to add
    count: u64,
    /// Database to use instead of the local data directory
    #[arg(long, env = "AWS_ENDPOINT_URL_DYNAMODB", value_name = "URL")]
    endpoint_url: Option<String>,
    /// Local data directory
    #[arg(long, default_value = data::DIRECTORY, value_name = "DIR")]
    data: PathBuf,
    /// How many customers to spread them over; a twentieth of the tickets if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    customers: Option<u64>,
    /// Over how many past days to spread them
    #[arg(long, value_name = "DAYS", default_value_t = 180, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Size of each ticket's content, in bytes; realistic sizes if not given
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=40_000))]
    content: Option<u32>,
    /// Seed of the random sample: the same number gives the same tickets, except for their dates
    #[arg(long, value_name = "N", default_value_t = 1)]
    random: u64,
    /// Do not show progress
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    tables: Tables,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const PROBLEMS: [&str; 12] = [
    "Invoice shows the wrong amount",
    "Cannot sign in since the update",
    "Refund has not arrived",
    "Please change our billing address",
    "Charged twice this month",
    "Question about the annual plan",
    "Export of invoices fails",
    "VAT number is missing on the invoice",
    "Need a quote for more seats",
    "Credit card was declined",
    "Subscription should end this month",
    "Service was unreachable last night",
];
const NAMES: [&str; 10] =
    ["ada", "grace", "linus", "barbara", "edsger", "margaret", "alan", "radia", "donald", "frances"];
const SENTENCE: &str = "We noticed this when closing the books and would be glad to hear from you soon. ";

/// The name that is recorded as the writer of sample tickets.
fn seeder() -> Result<KeyId, tickets_domain::Error> {
    "seed".parse().map_err(tickets_domain::Error::internal)
}

impl Seed {
    /// Adds the tickets. After an error, those already added stay.
    pub async fn run(self) -> Result<(), CommandError> {
        let opened = open(self.endpoint_url.as_deref(), Some(&self.data)).await?;
        let config = opened.config(&self.tables.tickets_table, &PRESETS).await?;
        let clock = Clock::system();
        let tickets =
            Tickets::new(opened.dynamodb.clone(), &self.tables.tickets_table, clock.clone(), config.settings);
        let progress = progress_bar(self.quiet, "{human_pos}/{human_len} tickets  {rate}  {left}");
        progress.set_length(self.count);
        let mut rng = Rng::with_seed(self.random);
        let now = clock.now();
        let by = seeder()?;
        let append = async {
            let mut added = 0;
            while added < self.count {
                let chunk = (self.count - added).min(MAX_CHUNK as u64);
                let samples: Result<Vec<_>, _> = (added..added + chunk)
                    .map(|at| self.sample(&mut rng, &config.presets, at, now))
                    .collect();
                tickets.append(&by, &samples?).await?;
                added += chunk;
                progress.set_position(added);
            }
            Ok::<_, CommandError>(())
        };
        let appended = append.await;
        progress.finish_and_clear();
        // Also after an error: tickets that were added have dates in the past.
        let epoch = tickets.renew_epoch().await;
        appended?;
        print(format!(
            "added {} in {:.1} s",
            counted(self.count, "ticket"),
            progress.elapsed().as_secs_f64()
        ))?;
        print(format!("epoch {}: copies start over", epoch?))?;
        // Say where the tickets are: a server with --in-memory cannot be reached from here.
        Ok(print(match &self.endpoint_url {
            Some(url) => format!("they are in the table {} at {url}", self.tables.tickets_table),
            None if opened.is_served() => {
                format!("they are in {}, which a server has open", self.data.display())
            }
            None => format!(
                "they are in {}, which no server has open; one with --in-memory cannot be filled from outside",
                self.data.display()
            ),
        })?)
    }

    /// The sample's ticket number `at`. Higher numbers are created later, the last one just now. Most tickets
    /// change soon after their creation.
    fn sample(
        &self,
        rng: &mut Rng,
        presets: &Presets,
        at: u64,
        now: Timestamp,
    ) -> Result<SeedTicket, tickets_domain::Error> {
        let age = DAY.mul_f64(f64::from(self.days) * (self.count - at - 1) as f64 / self.count as f64);
        let created = now.minus(age);
        let updated = created.plus(age.mul_f64(rng.f64().powi(4)));
        let customers = self.customers.unwrap_or((self.count / 20).max(1));
        // A few customers have many tickets, most have few.
        let customer = 1 + (customers as f64 * rng.f64().powi(2)) as u64;
        let mut pick = |values: &[String]| rng.choice(values).cloned();
        let mut body = json!({
            "customerID": customer.min(customers),
            "ticketType": pick(presets.ticket_type.values()),
            "status": pick(presets.status.values()),
            "ticketPriority": pick(presets.priority.values()),
            "owner": pick(presets.owner.values()),
        });
        let name = rng.choice(NAMES).unwrap_or("ada");
        let problem = rng.choice(PROBLEMS).unwrap_or("Question");
        let length = self.content.map_or_else(|| rng.usize(100..900), |bytes| bytes as usize);
        let text = format!("Hello, {}. {SENTENCE}", problem.to_lowercase());
        body["customerEmail"] = json!(format!("{name}@customer{customer}.example"));
        body["subject"] = json!(format!("{problem} (#{})", rng.u32(1000..9999)));
        body["ticketContent"] = json!(text.chars().cycle().take(length).collect::<String>());
        if presets.owner.values().is_empty() && rng.bool() {
            body["owner"] = rng.choice(NAMES).into();
        }
        let object = JsonObject::parse(body.to_string().as_bytes())?;
        Ok(SeedTicket { fields: TicketInput::create(object, presets)?, created, updated })
    }
}
