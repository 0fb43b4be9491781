//! Tutorial: the green wall behind you becomes a picture.
//!
//! For each browser there is a pipeline: its `WebRtcEndpoint` is connected to a `ChromaFilter`, and that back to the endpoint.

#[path = "../../common/app_server.rs"]
mod app_server;

use std::sync::Arc;

use app_server::{Browser, MediaServer, Page, Settings, serve};
use kms_client::Result;
use kms_client::api::events::IceCandidateFound;
use kms_client::api::types::{IceCandidate, WindowParam};
use kms_client::api::*;
use serde::Deserialize;
use serde_json::json;

/// What the page says.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum FromPage {
    /// Start was pressed.
    Start {
        sdp_offer: String,
        window: Window,
        background: String,
    },
    /// An address at which the browser may be reached.
    OnIceCandidate { candidate: IceCandidate },
    /// The colour is to be learnt anew.
    Learn { window: Window, background: String },
    /// What takes the colour's place; the name of a background, or of none.
    Show { background: String },
    /// Stop was pressed.
    Stop,
}

/// Where the wall is to be seen, pixels of the picture.
#[derive(Deserialize)]
struct Window {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
}

/// Names of pictures, and the pictures.
const BACKGROUNDS: [(&str, &str); 3] = [
    ("beach", include_str!("../backgrounds/beach.svg")),
    ("mountains", include_str!("../backgrounds/mountains.svg")),
    ("space", include_str!("../backgrounds/space.svg")),
];

/// One browser's objects in the media server.
struct Call {
    pipeline: MediaPipeline,
    endpoint: WebRtcEndpoint,
    filter: ChromaFilter,
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
    match (message, &mut *call) {
        (
            FromPage::Start {
                sdp_offer,
                window,
                background,
            },
            _,
        ) => {
            hang_up(call).await;
            let call = call.insert(start(kms, &window, &background).await?);
            let answer = call.endpoint.process_offer(&sdp_offer).await?;
            browser
                .send(json!({"id": "startResponse", "sdpAnswer": answer}))
                .await;
            call.endpoint.gather_candidates().await?;
        }
        (FromPage::OnIceCandidate { candidate }, Some(call)) => {
            call.endpoint.add_ice_candidate(&candidate).await?;
        }
        (FromPage::Learn { window, background }, Some(call)) => {
            // A filter learns once. The new one takes the place of the old one, for an endpoint shows what was connected to it last.
            let filter = key(&call.pipeline, &call.endpoint, &window, &background).await?;
            let old = std::mem::replace(&mut call.filter, filter);
            old.release().await?;
        }
        (FromPage::Show { background }, Some(call)) => show(&call.filter, &background).await?,
        (FromPage::Stop, _) => hang_up(call).await,
        // What is for a call that is over.
        (_, None) => {}
    }
    Ok(())
}

/// Changes what takes the colour's place, while the video flows.
async fn show(filter: &ChromaFilter, name: &str) -> Result<()> {
    match BACKGROUNDS.iter().find(|(known, _)| *known == name) {
        Some((_, svg)) => {
            // The media server fetches images by URI; this one is small enough to be one.
            let svg = svg.replace('%', "%25").replace('#', "%23").replace('\n', " ");
            filter.set_background(&format!("data:image/svg+xml,{svg}")).await
        }
        None => filter.unset_background().await,
    }
}

/// Makes a filter that learns the colour in this window, and puts it between the endpoint and itself.
async fn key(
    pipeline: &MediaPipeline,
    endpoint: &WebRtcEndpoint,
    window: &Window,
    background: &str,
) -> Result<ChromaFilter> {
    let window = WindowParam {
        top_right_corner_x: window.x, // it is the left edge, in spite of its name
        top_right_corner_y: window.y,
        width: window.width,
        height: window.height,
    };
    let filter = ChromaFilter::create(pipeline.client(), pipeline, &window).await?;
    show(&filter, background).await?;
    endpoint.connect(&filter).await?;
    filter.connect(endpoint).await?;
    Ok(filter)
}

/// Builds the graph: what comes in goes through the filter and out again.
async fn start(kms: &MediaServer, window: &Window, background: &str) -> Result<Call> {
    let client = kms.client().await?;
    let pipeline = MediaPipeline::create(&client).await?;
    let built = async {
        let endpoint = WebRtcEndpoint::create(&client, &pipeline).await?;
        let filter = key(&pipeline, &endpoint, window, background).await?;
        let candidates = endpoint.on_ice_candidate_found().await?;
        Ok((endpoint, filter, candidates))
    };
    match built.await {
        Ok((endpoint, filter, candidates)) => Ok(Call {
            pipeline,
            endpoint,
            filter,
            candidates,
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

async fn next_candidate(call: &mut Option<Call>) -> Option<IceCandidateFound> {
    match call {
        Some(call) => call.candidates.next().await,
        None => std::future::pending().await,
    }
}
