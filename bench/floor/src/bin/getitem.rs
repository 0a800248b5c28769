//! A minimal function: lambda_http and one `GetItem` through the SDK, written as in their documentation.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};

async fn handle(client: &Client, request: Request) -> Result<Response<Body>, Error> {
    let id: u64 = request.path_parameters().first("id").unwrap_or("1").parse()?;
    let output = client
        .get_item()
        .table_name("Tickets")
        .key("bucket", AttributeValue::S(format!("{}#{}", id / 1000, id % 4)))
        .key("id", AttributeValue::N(id.to_string()))
        .consistent_read(true)
        .send()
        .await?;
    Ok(Response::new(format!("{:?}", output.item.map(|item| item.len())).into()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = &Client::new(&aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await);
    run(service_fn(async |request| handle(client, request).await)).await
}
