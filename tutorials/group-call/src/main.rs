//! Tutorial: rooms in which everybody sees everybody, each by itself or all in one picture.
//!
//! A room is a pipeline (`room.rs`). Each browser has a task of its own (`session.rs`), with one `WebRtcEndpoint` for what it sends and one
//! for each that it watches.

#[path = "../../common/app_server.rs"]
mod app_server;
mod room;
mod session;

use std::sync::Arc;

use app_server::{MediaServer, Page, Settings, serve};
use room::Rooms;
use session::Session;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let settings = Settings::from_args();
    let kms = MediaServer::new(settings.kms);
    let rooms = Arc::new(Rooms::default());
    let page = Page {
        html: include_str!("../page/index.html"),
        script: include_str!("../page/main.js"),
    };
    let for_browsers = kms.clone();
    serve(settings.listen, page, &kms, move |browser| {
        Session::new(browser, for_browsers.clone(), rooms.clone()).run()
    })
    .await
}
