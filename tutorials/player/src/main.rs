//! Tutorial: a camera (RTSP) or a file in the browser, with pause and a seek bar.
//!
//! For each browser there is a pipeline with a `PlayerEndpoint` that is connected to a `WebRtcEndpoint`.

#[path = "../../common/app_server.rs"]
mod app_server;
mod show;

use std::sync::Arc;
use std::time::Duration;

use app_server::{Browser, MediaServer, Page, Settings, serve};
use kms_client::Result;
use kms_client::api::types::{IceCandidate, UriEndpointState};
use kms_client::api::*;
use serde::Deserialize;
use serde_json::json;
use show::{News, Show};

/// How often the page is told the position.
const TICK: Duration = Duration::from_millis(500);

/// What the page says.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum FromPage {
    /// Play was pressed.
    Start { sdp_offer: String, uri: String },
    /// An address at which the browser may be reached.
    OnIceCandidate { candidate: IceCandidate },
    /// Pause was pressed.
    Pause,
    /// Resume was pressed, or Play again.
    Resume,
    /// The seek bar was moved, to this many milliseconds.
    Seek { position: i64 },
    /// Stop was pressed.
    Stop,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let settings = Settings::from_args();
    let kms = MediaServer::new(settings.kms);
    let page = Page {
        html: include_str!("../page/index.html"),
        script: include_str!("../page/main.js"),
    };
    let for_browsers = kms.clone();
    serve(settings.listen, page, &kms, move |browser| {
        session(browser, for_browsers.clone())
    })
    .await
}

/// Serves one browser until it leaves.
async fn session(mut browser: Browser, kms: Arc<MediaServer>) {
    let mut show: Option<Show> = None;
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            message = browser.receive() => {
                let Some(message) = message else { break };
                if let Err(error) = handle(message, &mut show, &mut browser, &kms).await {
                    browser.complain(error).await;
                }
            }
            news = next_news(&mut show) => match news {
                Some(News::Connected) => {
                    // Not before: a file's first pictures would be lost on the way, and with them what all others build on.
                    if let Some(show) = &show && let Err(error) = show.player.play().await {
                        browser.complain(error).await;
                    }
                }
                Some(News::Failed(why)) => {
                    end(&mut show).await;
                    browser.send(json!({"id": "stopped"})).await;
                    browser.complain(why).await;
                }
                Some(news) => tell(news, &mut browser).await,
                None => {
                    show = None; // the server forgot it all, there is nothing to release
                    browser.send(json!({"id": "stopped"})).await;
                    browser.complain("the media server was restarted; start again").await;
                }
            },
            _ = tick.tick() => tell_position(&show, &mut browser).await,
        }
    }
    end(&mut show).await;
}

async fn handle(
    message: FromPage,
    show: &mut Option<Show>,
    browser: &mut Browser,
    kms: &MediaServer,
) -> Result<()> {
    match (message, &show) {
        (FromPage::Start { sdp_offer, uri }, _) => {
            end(show).await;
            let started = start(kms, &sdp_offer, &uri, show, browser).await;
            if started.is_err() {
                end(show).await;
                browser.send(json!({"id": "stopped"})).await;
            }
            started
        }
        (FromPage::OnIceCandidate { candidate }, Some(show)) => {
            show.endpoint.add_ice_candidate(&candidate).await
        }
        (FromPage::Pause, Some(show)) => show.player.pause().await,
        (FromPage::Resume, Some(show)) => {
            show.player.play().await?;
            // A player at its end has the state START already, and does not tell it again.
            tell(News::State(UriEndpointState::Start), browser).await;
            Ok(())
        }
        (FromPage::Seek { position }, Some(show)) => show.player.set_position(position).await,
        (FromPage::Stop, Some(_)) => {
            end(show).await;
            Ok(())
        }
        (_, None) => Ok(()), // it came too late: nothing plays any more
    }
}

async fn start(
    kms: &MediaServer,
    offer: &str,
    uri: &str,
    show: &mut Option<Show>,
    browser: &mut Browser,
) -> Result<()> {
    let show = show.insert(Show::build(&kms.client().await?, uri).await?);
    let answer = show.endpoint.process_offer(offer).await?;
    browser
        .send(json!({"id": "startResponse", "sdpAnswer": answer}))
        .await;
    show.endpoint.gather_candidates().await
}

/// Releases the pipeline, and with it player and endpoint.
async fn end(show: &mut Option<Show>) {
    if let Some(show) = show.take() {
        let _ = show.pipeline.release().await; // an error means that it is gone already
    }
}

async fn next_news(show: &mut Option<Show>) -> Option<News> {
    match show {
        Some(show) => show.news().await,
        None => std::future::pending().await,
    }
}

async fn tell(news: News, browser: &mut Browser) {
    let message = match news {
        News::Candidate(candidate) => json!({"id": "iceCandidate", "candidate": candidate}),
        News::State(state) => json!({"id": "player", "state": state}),
        News::Ended => json!({"id": "player", "state": "ENDED"}),
        News::Lost => json!({"id": "player", "state": "LOST"}),
        News::Restored => json!({"id": "player", "state": "START"}),
        News::Connected | News::Failed(_) => return,
    };
    browser.send(message).await;
}

/// Tells the page where the player is, how long what it plays is, and whether it can jump; all in milliseconds.
async fn tell_position(show: &Option<Show>, browser: &mut Browser) {
    let Some(show) = show else { return };
    if let (Ok(position), Ok(info)) = (show.player.position().await, show.player.video_info().await) {
        let seekable = info.is_seekable && info.duration > 0;
        browser
            .send(json!({"id": "position", "position": position, "duration": info.duration, "seekable": seekable}))
            .await;
    }
}
