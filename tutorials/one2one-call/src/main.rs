//! Tutorial: two people call each other by name.
//!
//! A call is a pipeline with an endpoint for each of the two, connected to one another both ways. It is built when the
//! called person accepts. Each browser has a task of its own (`session.rs`); they talk through mailboxes (`people.rs`).

#[path = "../../common/app_server.rs"]
mod app_server;
mod people;
mod session;

use std::sync::Arc;

use app_server::{MediaServer, Page, Settings, serve};
use people::People;
use session::Session;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let settings = Settings::from_args();
    let kms = MediaServer::new(settings.kms);
    let people = Arc::new(People::default());
    let page = Page {
        html: include_str!("../page/index.html"),
        script: include_str!("../page/main.js"),
    };
    let for_browsers = kms.clone();
    serve(settings.listen, page, &kms, move |browser| {
        Session::new(browser, for_browsers.clone(), people.clone()).run()
    })
    .await
}
