//! Runs [`get_ticket_configuration`] on Lambda.

use tickets_app::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    tickets_http::run(App::from_env_without_tickets().await?, get_ticket_configuration::answer).await
}
