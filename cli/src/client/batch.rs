//! Batches: up to a hundred tickets that one request creates or changes.

use std::collections::BTreeMap;

use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tickets_domain::json::Json;
use tickets_domain::{Tag, Timestamp};
use tickets_http::headers::IDEMPOTENCY_KEY;

use super::api::{Client, refusal};
use super::error::{ClientError, is_temporary};

/// The results of a batch, in the order of its rows.
struct Results {
    url: String,
    /// Whether an earlier attempt, whose outcome is unknown, may have taken effect.
    after_unknown: bool,
    rows: Vec<Row>,
}

/// The result of one row of a batch.
#[derive(Deserialize)]
struct Row {
    status: u16,
    ticket: Option<Created>,
    etag: Option<String>,
    problem: Option<Json>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    created_date: String,
}

impl Client {
    /// Creates up to a hundred tickets and returns for each its creation time, or why it was refused.
    /// Repeating the call with the same key and rows creates none a second time.
    ///
    /// # Errors
    /// If the API refuses the whole batch, does not answer, or leaves a row undecided.
    pub async fn create_all(
        &self,
        rows: &[&str],
        idempotency_key: &str,
    ) -> Result<Vec<Result<Timestamp, ClientError>>, ClientError> {
        let headers = [(IDEMPOTENCY_KEY, idempotency_key.to_owned())];
        let mut waits = self.waits();
        loop {
            let Results { url, rows, .. } = self.batch(Method::POST, rows, &headers).await?;
            // Repeating the batch replays the rows that were created.
            let is_undecided = rows.iter().any(Row::is_temporary);
            let Some(wait) = is_undecided.then(|| waits.after_failure()).flatten() else {
                let strange = |reason| ClientError::Strange { url: url.clone(), reason };
                return rows.into_iter().map(|row| row.created().map_err(strange)).collect();
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Changes up to a hundred tickets and returns for each its tag after that, or why it was refused. Only rows that
    /// failed for a temporary reason are sent again.
    ///
    /// # Errors
    /// If the API refuses the whole batch, or does not answer.
    pub async fn update_all(
        &self,
        rows: &[String],
    ) -> Result<Vec<Result<Option<Tag>, ClientError>>, ClientError> {
        let (mut results, mut left) = (BTreeMap::new(), (0..rows.len()).collect::<Vec<_>>());
        let (mut waits, mut is_repeat) = (self.waits(), false);
        loop {
            let sent: Vec<&str> = left.iter().map(|at| rows[*at].as_str()).collect();
            let answer = self.batch(Method::PATCH, &sent, &[]).await?;
            let strange = |reason| ClientError::Strange { url: answer.url.clone(), reason };
            let is_doubtful = is_repeat || answer.after_unknown;
            let mut again = Vec::new();
            for (at, row) in left.into_iter().zip(answer.rows) {
                if row.is_temporary() {
                    again.push(at);
                }
                results.insert(at, row.changed(is_doubtful).map_err(strange)?);
            }
            (left, is_repeat) = (again, true);
            let Some(wait) = (!left.is_empty()).then(|| waits.after_failure()).flatten() else {
                return Ok(results.into_values().collect());
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn batch(
        &self,
        method: Method,
        rows: &[&str],
        headers: &[(HeaderName, String)],
    ) -> Result<Results, ClientError> {
        let body = format!("[{}]", rows.join(","));
        let answer = self.send(method, "/tickets/", Some(&body), headers).await?.expect(207)?;
        let results: Vec<Row> = answer.json()?;
        if results.len() != rows.len() {
            let reason = format!("{} results of {} rows", results.len(), rows.len());
            return Err(ClientError::Strange { url: answer.url, reason });
        }
        Ok(Results { url: answer.url, after_unknown: answer.after_unknown, rows: results })
    }
}

impl Row {
    fn is_temporary(&self) -> bool {
        StatusCode::from_u16(self.status).is_ok_and(is_temporary)
    }

    /// Why the row was refused, if it was.
    fn refusal(&self) -> Result<Option<ClientError>, String> {
        let status = StatusCode::from_u16(self.status).map_err(|error| error.to_string())?;
        let refusal = self.problem.as_ref().map(|Json(problem)| refusal(status, problem));
        refusal.transpose().map_err(|error| error.to_string())
    }

    fn created(self) -> Result<Result<Timestamp, ClientError>, String> {
        match (self.refusal()?, self.ticket) {
            (Some(refusal), _) => Ok(Err(refusal)),
            (None, Some(ticket)) => Ok(Ok(ticket.created_date.parse().map_err(|_| ticket.created_date)?)),
            (None, None) => Err(format!("a row is {} and nothing else", self.status)),
        }
    }

    /// The tag of the changed ticket. A row that was perhaps sent before is undecided if it says that the ticket
    /// has changed: the earlier attempt may have changed it.
    fn changed(self, is_doubtful: bool) -> Result<Result<Option<Tag>, ClientError>, String> {
        if is_doubtful && self.status == StatusCode::PRECONDITION_FAILED.as_u16() {
            return Ok(Err(ClientError::Undecided));
        }
        match self.refusal()? {
            Some(refusal) => Ok(Err(refusal)),
            None if self.status == 200 => {
                Ok(Ok(self.etag.and_then(|etag| etag.trim_matches('"').parse().ok())))
            }
            None => Err(format!("a row is {} and nothing else", self.status)),
        }
    }
}
