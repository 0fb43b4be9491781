//! Tutorial: a browser's camera comes back with a costume on each face.
//!
//! For each browser there is a pipeline: its `WebRtcEndpoint` is connected to a `FaceOverlayFilter`, and that back to the endpoint.

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
    /// Something is to be worn; the name of a costume, or of none.
    Wear { costume: String },
    /// Stop was pressed.
    Stop,
}

/// An image and where it is on a face: offsets from the face's left and upper edge, width and height, in widths and heights of the face.
struct Costume {
    name: &'static str,
    svg: &'static str,
    place: [f64; 4],
}

const COSTUMES: [Costume; 3] = [
    Costume {
        name: "hat",
        svg: include_str!("../costumes/hat.svg"),
        place: [-0.3, -0.95, 1.6, 1.2],
    },
    Costume {
        name: "glasses",
        svg: include_str!("../costumes/glasses.svg"),
        place: [0.0, 0.24, 1.0, 0.32],
    },
    Costume {
        name: "nose",
        svg: include_str!("../costumes/nose.svg"),
        place: [0.36, 0.46, 0.28, 0.28],
    },
];

/// One browser's objects in the media server.
struct Call {
    pipeline: MediaPipeline,
    endpoint: WebRtcEndpoint,
    filter: FaceOverlayFilter,
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
        FromPage::Wear { costume } => {
            if let Some(call) = call {
                wear(&call.filter, &costume).await?;
            }
        }
        FromPage::Stop => hang_up(call).await,
    }
    Ok(())
}

/// Changes what is worn, while the video flows.
async fn wear(filter: &FaceOverlayFilter, name: &str) -> Result<()> {
    match COSTUMES.iter().find(|costume| costume.name == name) {
        Some(Costume { svg, place, .. }) => {
            // The media server fetches images by URI; this one is small enough to be one.
            let svg = svg.replace('%', "%25").replace('#', "%23").replace('\n', " ");
            let uri = format!("data:image/svg+xml,{svg}");
            let [x, y, width, height] = *place;
            filter.set_overlayed_image(&uri, x, y, width, height).await
        }
        None => filter.unset_overlayed_image().await,
    }
}

/// Builds the graph: what comes in goes through the filter and out again.
async fn start(kms: &MediaServer) -> Result<Call> {
    let client = kms.client().await?;
    let pipeline = MediaPipeline::create(&client).await?;
    let built = async {
        let endpoint = WebRtcEndpoint::create(&client, &pipeline).await?;
        let filter = FaceOverlayFilter::create(&client, &pipeline).await?;
        endpoint.connect(&filter).await?;
        filter.connect(&endpoint).await?;
        wear(&filter, COSTUMES[0].name).await?;
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
