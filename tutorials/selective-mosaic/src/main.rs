//! Tutorial: faces are hidden, but for those who are enrolled.
//!
//! For each browser there is a pipeline: its `WebRtcEndpoint` is connected to a `MosaicFilter`, and that back to the endpoint.

#[path = "../../common/app_server.rs"]
mod app_server;

use std::sync::Arc;

use app_server::{Browser, MediaServer, Page, Settings, serve};
use kms_client::Result;
use kms_client::api::events::{FaceEntered, FaceLeft, IceCandidateFound};
use kms_client::api::types::{IceCandidate, MosaicMode, MosaicStyle};
use kms_client::api::*;
use serde::Deserialize;
use serde_json::{Value, json};

/// What the page says.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum FromPage {
    /// Start was pressed.
    Start { sdp_offer: String },
    /// An address at which the browser may be reached.
    OnIceCandidate { candidate: IceCandidate },
    /// How to hide.
    Hide { style: MosaicStyle },
    /// A picture of somebody who may be seen: a `data:` URI.
    Enroll { name: String, image: String },
    /// Somebody may not be seen any more.
    Forget { name: String },
    /// Stop was pressed.
    Stop,
}

/// One browser's objects in the media server.
struct Call {
    pipeline: MediaPipeline,
    endpoint: WebRtcEndpoint,
    filter: MosaicFilter,
    candidates: Events<IceCandidateFound>,
    entered: Events<FaceEntered>,
    left: Events<FaceLeft>,
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
                    browser.complain(error).await;
                }
            }
            news = next_news(&mut call) => match news {
                Some(news) => browser.send(news).await,
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
    match (message, &call) {
        (FromPage::Start { sdp_offer }, _) => {
            hang_up(call).await;
            let call = call.insert(start(kms).await?);
            let answer = call.endpoint.process_offer(&sdp_offer).await?;
            browser
                .send(json!({"id": "startResponse", "sdpAnswer": answer}))
                .await;
            call.endpoint.gather_candidates().await?;
        }
        (FromPage::OnIceCandidate { candidate }, Some(call)) => {
            call.endpoint.add_ice_candidate(&candidate).await?;
        }
        (FromPage::Hide { style }, Some(call)) => call.filter.set_style(style).await?,
        (FromPage::Enroll { name, image }, Some(call)) => {
            call.filter.enroll(&name, &image).await?;
            enrolled(&call.filter, browser).await?;
        }
        (FromPage::Forget { name }, Some(call)) => {
            call.filter.unenroll(&name).await?;
            enrolled(&call.filter, browser).await?;
        }
        (FromPage::Stop, _) => hang_up(call).await,
        // What is for a call that is over.
        (_, None) => {}
    }
    Ok(())
}

/// Tells the page who is enrolled.
async fn enrolled(filter: &MosaicFilter, browser: &mut Browser) -> Result<()> {
    let names = filter.get_enrolled().await?;
    browser.send(json!({"id": "enrolled", "names": names})).await;
    Ok(())
}

/// Builds the graph: what comes in goes through the filter and out again.
async fn start(kms: &MediaServer) -> Result<Call> {
    let client = kms.client().await?;
    let pipeline = MediaPipeline::create(&client).await?;
    let built = async {
        let endpoint = WebRtcEndpoint::create(&client, &pipeline).await?;
        let filter = MosaicFilter::create(&client, &pipeline)
            .mode(MosaicMode::FacesExceptEnrolled)
            .await?;
        endpoint.connect(&filter).await?;
        filter.connect(&endpoint).await?;
        let candidates = endpoint.on_ice_candidate_found().await?;
        let entered = filter.on_face_entered().await?;
        let left = filter.on_face_left().await?;
        Ok((endpoint, filter, candidates, entered, left))
    };
    match built.await {
        Ok((endpoint, filter, candidates, entered, left)) => Ok(Call {
            pipeline,
            endpoint,
            filter,
            candidates,
            entered,
            left,
        }),
        Err(error) => {
            let _ = pipeline.release().await; // half a graph is of no use
            Err(error)
        }
    }
}

/// Releases the pipeline, and with it all that is in it.
async fn hang_up(call: &mut Option<Call>) {
    if let Some(call) = call.take() {
        let _ = call.pipeline.release().await; // an error means that it is gone already
    }
}

/// What the media server tells, as the page is told.
async fn next_news(call: &mut Option<Call>) -> Option<Value> {
    let Some(call) = call else {
        return std::future::pending().await;
    };
    tokio::select! {
        found = call.candidates.next() => found.map(|found| json!({"id": "iceCandidate", "candidate": found.candidate})),
        face = call.entered.next() => face.map(|face| json!({"id": "entered", "face": face.face, "name": face.name})),
        face = call.left.next() => face.map(|face| json!({"id": "left", "face": face.face})),
    }
}
