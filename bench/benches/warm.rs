//! Benchmarks of warm requests, from event to response, over the embedded engine:
//! `cargo bench -p tickets-bench`.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use lambda_http::http::{HeaderValue, Method, header};
use lambda_http::{Body, Request, RequestExt};
use serde_json::json;
use support::{Api, Options};
use tickets_app::App;
use tickets_http::Response;

/// A request as `lambda_http` makes it, with the path's parameters and the query as extensions.
fn request(key: &str, method: Method, id: Option<u64>, query: &[(&str, &str)], body: &str) -> Request {
    let parameters = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let id = id.map(|id| id.to_string());
    lambda_http::http::Request::builder()
        .method(method)
        .uri(format!("https://localhost/backend/api/v1/tickets/{}", id.as_deref().unwrap_or_default()))
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::Text(body.to_owned()))
        .expect("a request")
        .with_path_parameters(parameters(&id.iter().map(|id| ("id", id.as_str())).collect::<Vec<_>>()))
        .with_query_string_parameters(parameters(query))
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
        std::mem::forget(api); // Keeps the engine alive until the process ends.
        (app, key)
    });
    let mut group = criterion.benchmark_group("warm");
    let answered = |response: Response, status: u16| {
        assert_eq!(response.status().as_u16(), status);
        black_box(response)
    };
    group.bench_function("get", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let request = request(&key, Method::GET, Some(500), &[], "");
            answered(get_ticket::answer(Arc::clone(&app), request).await, 200)
        });
    });
    group.bench_function("get, not modified", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let mut request = request(&key, Method::GET, Some(500), &[], "");
            request.headers_mut().insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"1\""));
            answered(get_ticket::answer(Arc::clone(&app), request).await, 304)
        });
    });
    group.bench_function("update", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let body = json!({"owner": fastrand::u64(..).to_string()}).to_string();
            let request = request(&key, Method::PATCH, Some(501), &[], &body);
            answered(update_ticket::answer(Arc::clone(&app), request).await, 200)
        });
    });
    group.bench_function("create", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let body = json!({"customerID": 7, "subject": "s", "ticketContent": "x".repeat(300)}).to_string();
            let request = request(&key, Method::POST, None, &[], &body);
            answered(create_ticket::answer(Arc::clone(&app), request).await, 201)
        });
    });
    group.sample_size(20).bench_function("list of 1,000", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let request = request(&key, Method::GET, None, &[("limit", "1000")], "");
            answered(list_tickets::answer(Arc::clone(&app), request).await, 200)
        });
    });
    group.finish();
}

criterion_group!(benches, warm);
criterion_main!(benches);
