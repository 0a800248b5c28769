//! The lines of standard input and output: one JSON-RPC message each. A line that is no message is answered with
//! why, and noted on standard error; `rmcp`'s own transport drops it without a word, and reads it in a way that a
//! nested text can overflow the stack (`tickets_domain::json`).

use std::future::Future;
use std::io;
use std::sync::Arc;

use rmcp::model::{ErrorData, RequestId};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tickets_domain::json;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use crate::output::note;

/// The longest line. A ticket with every field at its limit takes 1.6 MB.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

pub(crate) struct Lines<R, W> {
    input: R,
    /// The line being read. It is kept here, because reading is given up whenever there is something to send.
    line: Vec<u8>,
    /// The length of the line being read; more than is kept, if it is too long.
    length: usize,
    /// The answer to a line that was no message, until it is sent.
    refusal: Option<TxJsonRpcMessage<RoleServer>>,
    output: Arc<Mutex<W>>,
}

impl<R: AsyncBufRead + Unpin, W: AsyncWrite + Unpin> Lines<R, W> {
    pub(crate) fn new(input: R, output: W) -> Self {
        Self { input, line: Vec::new(), length: 0, refusal: None, output: Arc::new(Mutex::new(output)) }
    }

    /// The next line, without what is beyond the longest. `None` at the end of the input.
    async fn next_line(&mut self) -> io::Result<Option<(Vec<u8>, usize)>> {
        loop {
            let read = self.input.fill_buf().await?;
            if read.is_empty() {
                return Ok(None);
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            let kept = part.len().min(LONGEST_LINE.saturating_sub(self.line.len()));
            self.line.extend_from_slice(&part[..kept]);
            self.length += part.len();
            let consumed = part.len() + usize::from(end.is_some());
            self.input.consume(consumed);
            if end.is_some() {
                return Ok(Some((std::mem::take(&mut self.line), std::mem::take(&mut self.length))));
            }
        }
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncBufRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let output = Arc::clone(&self.output);
        async move { write(&mut *output.lock().await, &message).await }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if let Some(refusal) = &self.refusal {
                write(&mut *self.output.lock().await, refusal).await.ok()?;
                self.refusal = None;
            }
            let (line, length) = self.next_line().await.ok()??;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match message(&line, length) {
                Ok(message) => return Some(message),
                Err((error, id)) => {
                    note(format!("a line on standard input was refused: {}", error.message));
                    self.refusal = Some(TxJsonRpcMessage::<RoleServer>::error(error, id));
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.lock().await.shutdown().await
    }
}

async fn write(
    output: &mut (impl AsyncWrite + Unpin),
    message: &TxJsonRpcMessage<RoleServer>,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    output.write_all(&line).await?;
    output.flush().await
}

/// The message on a line; or why there is none, and the id of the request that it should be.
fn message(
    line: &[u8],
    length: usize,
) -> Result<RxJsonRpcMessage<RoleServer>, (ErrorData, Option<RequestId>)> {
    let invalid = |error: String| ErrorData::invalid_request(error, None);
    if length > line.len() {
        return Err((invalid(format!("the line has {length} bytes, but may have {LONGEST_LINE}")), None));
    }
    let parsed = json::value(line.trim_ascii());
    let value = parsed.map_err(|error| (ErrorData::parse_error(format!("not JSON: {error}"), None), None))?;
    let id = match &value["id"] {
        Value::String(id) => Some(RequestId::String(id.as_str().into())),
        id => id.as_i64().map(RequestId::Number),
    };
    if let Some(name) = json::reserved_name(&value) {
        return Err((invalid(format!("a member cannot be called {name}")), id));
    }
    let arguments = &value["params"]["arguments"];
    if value["method"] == "tools/call" && !(arguments.is_object() || arguments.is_null()) {
        let error =
            ErrorData::invalid_params("the arguments have to be a JSON object, not JSON in a string", None);
        return Err((error, id));
    }
    serde_json::from_value(value).map_err(|error| (invalid(format!("not a message: {error}")), id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is answered to these lines by the transport itself.
    async fn refusals(input: &str) -> (Vec<Value>, usize) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let mut lines = Lines::new(input.as_bytes(), ours);
        let mut messages = 0;
        while lines.receive().await.is_some() {
            messages += 1;
        }
        drop(lines);
        let mut answers = Vec::new();
        let mut output = tokio::io::BufReader::new(theirs).lines();
        while let Some(line) = output.next_line().await.unwrap() {
            answers.push(json::value(line.as_bytes()).unwrap());
        }
        (answers, messages)
    }

    #[tokio::test]
    async fn a_line_that_is_no_message_is_answered_with_why_and_the_next_is_read() {
        let ping = json!({"jsonrpc": "2.0", "id": 7, "method": "ping"}).to_string();
        let call = |arguments: Value| {
            let params = json!({"name": "create_ticket", "arguments": arguments});
            json!({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": params}).to_string()
        };
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let magic = call(json!({"subject": {"$serde_json::private::RawValue": "[1]"}}));
        for (line, code, id) in [
            ("{\"jsonrpc\":", -32700, Value::Null),
            (&deep, -32700, Value::Null),
            ("[1]", -32600, Value::Null),
            ("{\"id\":9}", -32600, json!(9)),
            (&"x".repeat(LONGEST_LINE + 1), -32600, Value::Null),
            (&magic, -32600, json!("a")),
            (&call("{}".into()), -32602, json!("a")),
        ] {
            let (answers, messages) = refusals(&format!("{line}\n\r\n{ping}\n")).await;
            assert_eq!(messages, 1);
            let [answer] = answers.as_slice() else { panic!("{answers:?}") };
            assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{answer}");
        }
    }
}
