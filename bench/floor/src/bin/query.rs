//! Reads a bucket of a thousand tickets through the SDK, its four shards concurrently, and does nothing with
//! them.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Body, Error, Request, Response, run, service_fn};

async fn read(client: &Client, shard: u8) -> Result<usize, Error> {
    let mut pages = client
        .query()
        .table_name("Tickets")
        .consistent_read(true)
        .key_condition_expression("#bucket = :bucket")
        .expression_attribute_names("#bucket", "bucket")
        .expression_attribute_values(":bucket", AttributeValue::S(format!("1#{shard}")))
        .into_paginator()
        .send();
    let mut read = 0;
    while let Some(page) = pages.next().await {
        read += page?.items().len();
    }
    Ok(read)
}

async fn handle(client: &Client, _: Request) -> Result<Response<Body>, Error> {
    let (a, b, c, d) = tokio::try_join!(read(client, 0), read(client, 1), read(client, 2), read(client, 3))?;
    Ok(Response::new(format!("read {}", a + b + c + d).into()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = &Client::new(&aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await);
    run(service_fn(async |request| handle(client, request).await)).await
}
