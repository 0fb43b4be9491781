//! Tutorial: a live broadcast in which all faces are hidden but those of who was enrolled.
//!
//! The host's `WebRtcEndpoint` is connected to a `MosaicFilter`, and that to each viewer's endpoint, and back to the host's: the host sees
//! what viewers see. A `RecorderEndpoint`, which never records, takes pictures of it for those who don't watch yet.

#[path = "../../common/app_server.rs"]
mod app_server;
#[path = "../../common/room.rs"]
mod room;

use std::sync::Arc;
use std::time::Duration;

use app_server::{Browser, MediaServer, Page, Settings, serve};
use kms_client::api::events::{FaceEntered, FaceLeft};
use kms_client::api::types::{IceCandidate, MosaicMode, MosaicStyle};
use kms_client::api::*;
use kms_client::{Client, Result};
use room::{Part, Room, Stage, next_news};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time between thumbnails.
const THUMBNAILS: Duration = Duration::from_secs(3);

/// What the page says.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum FromPage {
    /// "Go live" was pressed.
    Presenter { sdp_offer: String },
    /// "Watch" was pressed.
    Viewer { sdp_offer: String },
    /// An address at which the browser may be reached.
    OnIceCandidate { candidate: IceCandidate },
    /// The host says how to hide.
    Hide { style: MosaicStyle },
    /// The host has a picture of somebody who may be seen: a `data:` URI.
    Enroll { name: String, image: String },
    /// Somebody may not be seen any more.
    Forget { name: String },
    /// "Stop" was pressed.
    Stop,
}

/// What all browsers share: who is live, and the newest picture of it as base64.
struct Broadcast {
    room: Room<MosaicFilter>,
    thumbnail: watch::Sender<Option<String>>,
}

/// What a host has besides.
struct Host {
    filter: MosaicFilter,
    entered: Events<FaceEntered>,
    left: Events<FaceLeft>,
    thumbnails: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.thumbnails.abort();
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let settings = Settings::from_args();
    let kms = MediaServer::new(settings.kms);
    let broadcast = Arc::new(Broadcast {
        room: Room::new(None),
        thumbnail: watch::Sender::new(None),
    });
    let page = Page {
        html: include_str!("../page/index.html"),
        script: include_str!("../page/main.js"),
    };
    let for_browsers = kms.clone();
    let session = move |browser| {
        Session {
            browser,
            kms: for_browsers.clone(),
            broadcast: broadcast.clone(),
            part: None,
            host: None,
        }
        .run()
    };
    serve(settings.listen, page, &kms, session).await
}

/// One browser.
struct Session {
    browser: Browser,
    kms: Arc<MediaServer>,
    broadcast: Arc<Broadcast>,
    part: Option<Part<MosaicFilter>>,
    host: Option<Host>,
}

impl Session {
    /// Serves the browser until it leaves.
    async fn run(mut self) {
        let mut room = self.broadcast.room.subscribe();
        let mut thumbnail = self.broadcast.thumbnail.subscribe();
        room.mark_changed(); // the page wants to know how things stand now, too
        thumbnail.mark_changed();
        loop {
            tokio::select! {
                message = self.browser.receive() => {
                    let Some(message) = message else { break };
                    if let Err(error) = self.handle(message).await {
                        self.browser.complain(error).await;
                    }
                }
                news = next_news(&mut self.part) => match news {
                    Some(news) => self.browser.send(news).await,
                    None => self.lost().await,
                },
                face = next_face(&mut self.host) => self.browser.send(face).await,
                _ = room.changed() => self.host_changed().await,
                _ = thumbnail.changed() => {
                    let image = thumbnail.borrow_and_update().clone();
                    let uri = image.map(|jpeg| format!("data:image/jpeg;base64,{jpeg}"));
                    self.browser.send(json!({"id": "thumbnail", "image": uri})).await;
                }
            }
        }
        self.leave().await;
    }

    async fn handle(&mut self, message: FromPage) -> Result<()> {
        match (message, &self.part, &self.host) {
            (FromPage::Presenter { sdp_offer }, ..) => {
                let begun = self.present(&sdp_offer).await;
                self.or_leave(begun).await
            }
            (FromPage::Viewer { sdp_offer }, ..) => {
                let begun = self.watch(&sdp_offer).await;
                self.or_leave(begun).await
            }
            (FromPage::OnIceCandidate { candidate }, Some(part), _) => {
                part.endpoint.add_ice_candidate(&candidate).await
            }
            (FromPage::Hide { style }, _, Some(host)) => host.filter.set_style(style).await,
            (FromPage::Enroll { name, image }, _, Some(host)) => {
                host.filter.enroll(&name, &image).await?;
                enrolled(&host.filter, &mut self.browser).await
            }
            (FromPage::Forget { name }, _, Some(host)) => {
                host.filter.unenroll(&name).await?;
                enrolled(&host.filter, &mut self.browser).await
            }
            (FromPage::Stop, ..) => {
                self.leave().await;
                Ok(())
            }
            // What is for a broadcast that is over, or for its host alone.
            _ => Ok(()),
        }
    }

    /// What could not be begun is over.
    async fn or_leave(&mut self, begun: Result<()>) -> Result<()> {
        if begun.is_err() {
            self.leave().await;
        }
        begun
    }

    async fn lost(&mut self) {
        self.leave().await;
        self.browser
            .complain("the media server was restarted; start again")
            .await;
        self.browser.send(json!({"id": "stopCommunication"})).await;
    }

    /// Goes live, unless somebody else is.
    async fn present(&mut self, sdp_offer: &str) -> Result<()> {
        self.leave().await;
        let client = self.kms.client().await?;
        let pipeline = MediaPipeline::create(&client).await?;
        let built = build(&client, &pipeline, self.broadcast.clone()).await;
        let (part, host) = match built {
            Ok(built) => built,
            Err(error) => {
                let _ = pipeline.release().await; // half a graph is of no use
                return Err(error);
            }
        };
        if !part.stage.take(&self.broadcast.room) {
            let _ = pipeline.release().await;
            let refusal = json!({"id": "presenterResponse", "response": "rejected", "message": "Somebody else is live already."});
            self.browser.send(refusal).await;
            return Ok(());
        }
        self.host = Some(host);
        let part = self.part.insert(part);
        part.negotiate(&mut self.browser, "presenterResponse", sdp_offer)
            .await
    }

    async fn watch(&mut self, sdp_offer: &str) -> Result<()> {
        self.leave().await;
        let Some(stage) = self.broadcast.room.borrow().clone() else {
            let refusal =
                json!({"id": "viewerResponse", "response": "rejected", "message": "Nobody is live."});
            self.browser.send(refusal).await;
            return Ok(());
        };
        let part = self.part.insert(stage.viewer().await?);
        part.negotiate(&mut self.browser, "viewerResponse", sdp_offer)
            .await
    }

    async fn leave(&mut self) {
        if self.host.take().is_some() {
            self.broadcast.thumbnail.send_replace(None);
        }
        if let Some(part) = self.part.take() {
            part.leave(&self.broadcast.room).await;
        }
    }

    /// Tells the page whether there is something to watch; a viewer whose host has left is done.
    async fn host_changed(&mut self) {
        let room = &self.broadcast.room;
        if self.part.as_ref().is_some_and(|part| part.is_orphaned(room)) {
            self.part = None;
            self.browser.send(json!({"id": "stopCommunication"})).await;
        }
        let live = self.broadcast.room.borrow().is_some();
        self.browser.send(json!({"id": "room", "presenter": live})).await;
    }
}

/// Builds the graph: what comes in goes through the filter, to whoever watches and back to the host.
async fn build(
    client: &Client,
    pipeline: &MediaPipeline,
    broadcast: Arc<Broadcast>,
) -> Result<(Part<MosaicFilter>, Host)> {
    let endpoint = WebRtcEndpoint::create(client, pipeline).await?;
    let filter = MosaicFilter::create(client, pipeline)
        .mode(MosaicMode::FacesExceptEnrolled)
        .await?;
    endpoint.connect(&filter).await?;
    filter.connect(&endpoint).await?;
    let entered = filter.on_face_entered().await?;
    let left = filter.on_face_left().await?;
    // It never records: it is there for its pictures of what is shown.
    let recorder = RecorderEndpoint::create(client, pipeline, "file:///tmp/never-written.webm").await?;
    filter.connect(&recorder).await?;
    let part = Stage::new(client, pipeline, &filter).presenter(endpoint).await?;
    let host = Host {
        filter,
        entered,
        left,
        thumbnails: tokio::spawn(take_thumbnails(recorder, broadcast)),
    };
    Ok((part, host))
}

/// Takes pictures until the host leaves.
async fn take_thumbnails(recorder: RecorderEndpoint, broadcast: Arc<Broadcast>) {
    loop {
        // An error is no picture yet, or a broadcast that has just ended.
        if let Ok(jpeg) = recorder.take_snapshot().await {
            broadcast.thumbnail.send_replace(Some(jpeg));
        }
        tokio::time::sleep(THUMBNAILS).await;
    }
}

/// Tells the page who is enrolled.
async fn enrolled(filter: &MosaicFilter, browser: &mut Browser) -> Result<()> {
    let names = filter.get_enrolled().await?;
    browser.send(json!({"id": "enrolled", "names": names})).await;
    Ok(())
}

/// Who comes into the picture and leaves it, as the host's page is told.
async fn next_face(host: &mut Option<Host>) -> Value {
    let Some(host) = host else {
        return std::future::pending().await;
    };
    tokio::select! {
        Some(face) = host.entered.next() => json!({"id": "entered", "face": face.face, "name": face.name}),
        Some(face) = host.left.next() => json!({"id": "left", "face": face.face}),
        else => std::future::pending().await,
    }
}
