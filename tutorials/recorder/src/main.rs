//! Tutorial: record yourself into a file on the media server, and watch it.
//!
//! To record there is a `WebRtcEndpoint` that is connected to a `RecorderEndpoint`; to watch, a `PlayerEndpoint` that is connected to
//! a `WebRtcEndpoint`.

mod activity;
#[path = "../../common/app_server.rs"]
mod app_server;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use activity::{Activity, News};
use app_server::{Browser, MediaServer, Page, Settings, serve};
use kms_client::Result;
use kms_client::api::types::IceCandidate;
use serde::Deserialize;
use serde_json::json;

/// What the page says.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum FromPage {
    /// Record was pressed.
    Record { sdp_offer: String },
    /// Watch was pressed.
    Watch { sdp_offer: String },
    /// An address at which the browser may be reached.
    OnIceCandidate { candidate: IceCandidate },
    /// Stop was pressed.
    Stop,
}

/// The file of one browser, on the media server's machine. Removed when the browser leaves, if that is this machine too.
struct File(PathBuf);

impl File {
    fn new() -> File {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kms-tutorial-recorder-{}-{number}.webm", std::process::id());
        File(std::env::temp_dir().join(name))
    }

    fn uri(&self) -> String {
        format!("file://{}", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // nothing was recorded, or not here
    }
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
    let file = File::new();
    let mut activity: Option<Activity> = None;
    loop {
        tokio::select! {
            message = browser.receive() => {
                let Some(message) = message else { break };
                if let Err(error) = handle(message, &file, &mut activity, &mut browser, &kms).await {
                    let _ = end(&mut activity).await;
                    browser.send(json!({"id": "stopped"})).await;
                    browser.complain(error).await;
                }
            }
            news = next_news(&mut activity) => match news {
                Some(News::Candidate(candidate)) => {
                    browser.send(json!({"id": "iceCandidate", "candidate": candidate})).await;
                }
                Some(News::Connected) => {
                    if let Some(activity) = &activity && let Err(error) = activity.play().await {
                        browser.complain(error).await;
                    }
                }
                Some(News::Recording) => browser.send(json!({"id": "recording"})).await,
                Some(News::Ended) => {
                    let _ = end(&mut activity).await;
                    browser.send(json!({"id": "stopped"})).await;
                }
                Some(News::Failed(why)) => {
                    let _ = end(&mut activity).await;
                    browser.send(json!({"id": "stopped"})).await;
                    browser.complain(why).await;
                }
                None => {
                    activity = None; // the server forgot it all, there is nothing to release
                    browser.send(json!({"id": "stopped"})).await;
                    browser.complain("the media server was restarted; start again").await;
                }
            },
        }
    }
    let _ = end(&mut activity).await;
}

async fn handle(
    message: FromPage,
    file: &File,
    activity: &mut Option<Activity>,
    browser: &mut Browser,
    kms: &MediaServer,
) -> Result<()> {
    let (begun, offer) = match message {
        FromPage::Record { sdp_offer } => {
            end(activity).await?;
            (
                Activity::record(&kms.client().await?, &file.uri()).await?,
                sdp_offer,
            )
        }
        FromPage::Watch { sdp_offer } => {
            end(activity).await?;
            (
                Activity::watch(&kms.client().await?, &file.uri()).await?,
                sdp_offer,
            )
        }
        FromPage::OnIceCandidate { candidate } => {
            return match activity {
                Some(activity) => activity.add_candidate(&candidate).await,
                None => Ok(()), // it came too late
            };
        }
        FromPage::Stop => {
            end(activity).await?;
            browser.send(json!({"id": "stopped"})).await;
            return Ok(());
        }
    };
    let answer = activity.insert(begun).answer(&offer).await?;
    browser
        .send(json!({"id": "startResponse", "sdpAnswer": answer}))
        .await;
    Ok(())
}

async fn end(activity: &mut Option<Activity>) -> Result<()> {
    match activity.take() {
        Some(activity) => activity.end().await,
        None => Ok(()),
    }
}

async fn next_news(activity: &mut Option<Activity>) -> Option<News> {
    match activity {
        Some(activity) => activity.news().await,
        None => std::future::pending().await,
    }
}
