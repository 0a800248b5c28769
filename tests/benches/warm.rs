//! The warm paths, from event to response, over the embedded engine: `cargo bench -p tickets-tests`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use lambda_http::http::{Method, header};
use lambda_http::{Body, Request};
use serde_json::json;
use support::{Api, Options};
use tickets_app::App;
use tickets_http::Response;

/// A request as a function gets it.
fn request(
    key: &str,
    method: Method,
    path: &str,
    headers: &[(header::HeaderName, &str)],
    body: &str,
) -> Request {
    let mut request =
        lambda_http::http::Request::builder().method(method).uri(format!("https://localhost{path}"));
    request =
        request.header("authorization", format!("Bearer {key}")).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.body(Body::Text(body.to_owned())).expect("a request")
}

fn warm(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (app, key) = runtime.block_on(async {
        let api = Api::start_with(Options::default()).await;
        let app: Arc<App> = api.app.clone().expect("an app in this process");
        let body = json!({"customerID": 42, "subject": "Invoice is wrong", "ticketContent": "x".repeat(300)});
        for _ in 0..1000 {
            api.create(&body).await;
        }
        let key = api.key.clone();
        std::mem::forget(api); // The engine lives as long as the process.
        (app, key)
    });
    let mut group = criterion.benchmark_group("warm");
    let path = "/backend/api/v1/tickets";
    let answered = |response: Response, status: u16| {
        assert_eq!(response.status().as_u16(), status);
        black_box(response)
    };
    group.bench_function("get", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let request = request(&key, Method::GET, &format!("{path}/500"), &[], "");
            answered(get_ticket::answer(Arc::clone(&app), request).await, 200)
        });
    });
    group.bench_function("get, not modified", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let headers = [(header::IF_NONE_MATCH, "\"1\"")];
            let request = request(&key, Method::GET, &format!("{path}/500"), &headers, "");
            answered(get_ticket::answer(Arc::clone(&app), request).await, 304)
        });
    });
    group.bench_function("update", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let body = json!({"owner": fastrand::u64(..).to_string()}).to_string();
            let request = request(&key, Method::PATCH, &format!("{path}/501"), &[], &body);
            answered(update_ticket::answer(Arc::clone(&app), request).await, 200)
        });
    });
    group.bench_function("create", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let body = json!({"customerID": 7, "subject": "s", "ticketContent": "x".repeat(300)}).to_string();
            answered(
                create_ticket::answer(Arc::clone(&app), request(&key, Method::POST, path, &[], &body)).await,
                201,
            )
        });
    });
    group.sample_size(20).bench_function("list of 1,000", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let request = request(&key, Method::GET, &format!("{path}?limit=1000"), &[], "");
            answered(list_tickets::answer(Arc::clone(&app), request).await, 200)
        });
    });
    group.finish();
}

criterion_group!(benches, warm);
criterion_main!(benches);
