//! The smallest Lambda behind API Gateway that lambda_http allows.

use lambda_http::{Body, Error, Request, Response, run, service_fn};

async fn handle(_: Request) -> Result<Response<Body>, Error> {
    Ok(Response::new("Hello".into()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}
