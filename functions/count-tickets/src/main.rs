//! Runs [`count_tickets`] on Lambda.

use tickets_app::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    tickets_http::run(App::from_env().await?, count_tickets::answer).await
}
