//! Tutorial: a browser's camera goes to the media server and comes back.
//!
//! For each browser there is a pipeline with one `WebRtcEndpoint` that is connected to itself.

#[path = "../../common/app_server.rs"]
mod app_server;

use std::sync::Arc;

use app_server::{Browser, MediaServer, Page, Settings, serve};
use kms_client::Result;
use kms_client::api::events::IceCandidateFound;
use kms_client::api::types::IceCandidate;
use kms_client::api::*;
use serde::Deserialize;
use serde_json::json;

/// What the page says.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum FromPage {
    /// Start was pressed.
    Start { sdp_offer: String },
    /// An address at which the browser may be reached.
    OnIceCandidate { candidate: IceCandidate },
    /// Stop was pressed.
    Stop,
}

/// One browser's objects in the media server.
struct Call {
    pipeline: MediaPipeline,
    endpoint: WebRtcEndpoint,
    candidates: Events<IceCandidateFound>,
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
    let mut call: Option<Call> = None;
    loop {
        tokio::select! {
            message = browser.receive() => {
                let Some(message) = message else { break };
                if let Err(error) = handle(message, &mut call, &mut browser, &kms).await {
                    hang_up(&mut call).await;
                    browser.complain(error).await;
                }
            }
            found = next_candidate(&mut call) => match found {
                Some(found) => browser.send(json!({"id": "iceCandidate", "candidate": found.candidate})).await,
                None => {
                    call = None; // the server forgot it all, there is nothing to release
                    browser.complain("the media server was restarted; start again").await;
                }
            },
        }
    }
    hang_up(&mut call).await;
}

async fn handle(
    message: FromPage,
    call: &mut Option<Call>,
    browser: &mut Browser,
    kms: &MediaServer,
) -> Result<()> {
    match message {
        FromPage::Start { sdp_offer } => {
            hang_up(call).await;
            let call = call.insert(start(kms).await?);
            let answer = call.endpoint.process_offer(&sdp_offer).await?;
            browser
                .send(json!({"id": "startResponse", "sdpAnswer": answer}))
                .await;
            call.endpoint.gather_candidates().await?;
        }
        FromPage::OnIceCandidate { candidate } => {
            if let Some(call) = call {
                call.endpoint.add_ice_candidate(&candidate).await?;
            }
        }
        FromPage::Stop => hang_up(call).await,
    }
    Ok(())
}

/// Builds the graph: one endpoint, what comes in goes out again.
async fn start(kms: &MediaServer) -> Result<Call> {
    let client = kms.client().await?;
    let pipeline = MediaPipeline::create(&client).await?;
    let built = async {
        let endpoint = WebRtcEndpoint::create(&client, &pipeline).await?;
        endpoint.connect(&endpoint).await?;
        let candidates = endpoint.on_ice_candidate_found().await?;
        Ok((endpoint, candidates))
    };
    match built.await {
        Ok((endpoint, candidates)) => Ok(Call {
            pipeline,
            endpoint,
            candidates,
        }),
        Err(error) => {
            let _ = pipeline.release().await; // half a graph is of no use
            Err(error)
        }
    }
}

/// Releases the pipeline, and with it the endpoint.
async fn hang_up(call: &mut Option<Call>) {
    if let Some(call) = call.take() {
        let _ = call.pipeline.release().await; // an error means that it is gone already
    }
}

async fn next_candidate(call: &mut Option<Call>) -> Option<IceCandidateFound> {
    match call {
        Some(call) => call.candidates.next().await,
        None => std::future::pending().await,
    }
}
