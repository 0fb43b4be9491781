//! Tutorial: what a model finds in the camera's picture is shown in the browser.
//!
//! For each browser there is a pipeline: its `WebRtcEndpoint` is connected to an `OnnxFilter`, and that back to the endpoint. The filter
//! changes nothing; what it finds comes as events, and the page draws it.

#[path = "../../common/app_server.rs"]
mod app_server;

use std::sync::Arc;

use app_server::{Browser, MediaServer, Page, Settings, serve};
use kms_client::Result;
use kms_client::api::events::{IceCandidateFound, ObjectsDetected};
use kms_client::api::types::IceCandidate;
use kms_client::api::*;
use serde::Deserialize;
use serde_json::{Value, json};

const HELP: &str = "
    --model PATH         what finds things: a model in ONNX format, on the media server's machine
    --description PATH   what the model takes and gives (default: the model's path with the ending .json)";

const NO_MODEL: &str = "\
Which model is to look for things? Say so with --model PATH; docs/filters.md tells which ones will do, and what stands in the
JSON file beside it. To try it out: --model tests/media/models/yolo.onnx, a toy that finds bright and dark squares.";

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

/// Files on the media server's machine.
struct Model {
    path: String,
    /// Empty: beside the model.
    description: String,
}

/// One browser's objects in the media server.
struct Call {
    pipeline: MediaPipeline,
    endpoint: WebRtcEndpoint,
    candidates: Events<IceCandidateFound>,
    objects: Events<ObjectsDetected>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (mut path, mut description) = (String::new(), String::new());
    let settings = Settings::with_options(HELP, |name, value| {
        match name {
            "--model" => path = absolute(value),
            "--description" => description = absolute(value),
            _ => return false,
        }
        true
    });
    if path.is_empty() {
        eprintln!("{NO_MODEL}");
        std::process::exit(2);
    }
    let model = Arc::new(Model { path, description });
    let kms = MediaServer::new(settings.kms);
    let page = Page {
        html: include_str!("../page/index.html"),
        script: include_str!("../page/main.js"),
    };
    let for_browsers = kms.clone();
    serve(settings.listen, page, &kms, move |browser| {
        session(browser, for_browsers.clone(), model.clone())
    })
    .await
}

/// The media server knows nothing of the folder we were started in.
fn absolute(path: &str) -> String {
    match std::path::absolute(path) {
        Ok(absolute) if !path.contains("://") => absolute.to_string_lossy().into_owned(),
        _ => path.to_owned(),
    }
}

/// Serves one browser until it leaves.
async fn session(mut browser: Browser, kms: Arc<MediaServer>, model: Arc<Model>) {
    let mut call: Option<Call> = None;
    loop {
        tokio::select! {
            message = browser.receive() => {
                let Some(message) = message else { break };
                if let Err(error) = handle(message, &mut call, &mut browser, &kms, &model).await {
                    hang_up(&mut call).await;
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
    model: &Model,
) -> Result<()> {
    match message {
        FromPage::Start { sdp_offer } => {
            hang_up(call).await;
            let call = call.insert(start(kms, model).await?);
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

/// Builds the graph: what comes in goes through the filter and out again. A filter whose pictures nobody takes gets none to look at.
async fn start(kms: &MediaServer, model: &Model) -> Result<Call> {
    let client = kms.client().await?;
    let pipeline = MediaPipeline::create(&client).await?;
    let built = async {
        let endpoint = WebRtcEndpoint::create(&client, &pipeline).await?;
        let filter = OnnxFilter::create(&client, &pipeline, &model.path)
            .description_path(&model.description)
            .await?;
        let objects = filter.on_objects_detected().await?;
        endpoint.connect(&filter).await?;
        filter.connect(&endpoint).await?;
        let candidates = endpoint.on_ice_candidate_found().await?;
        Ok((endpoint, candidates, objects))
    };
    match built.await {
        Ok((endpoint, candidates, objects)) => Ok(Call {
            pipeline,
            endpoint,
            candidates,
            objects,
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
        event = call.objects.next() => event.map(|event| json!({"id": "objects", "objects": event.detections})),
    }
}
