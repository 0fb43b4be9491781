//! Tutorial: one presenter, many viewers, who may come late and leave early.
//!
//! The presenter's pipeline holds an endpoint for the presenter and one for each viewer, connected to the former. The
//! media server forwards the presenter's packets: nothing is encoded again, however many viewers there are.

#[path = "../../common/app_server.rs"]
mod app_server;
#[path = "../../common/room.rs"]
mod room;

use std::sync::Arc;

use app_server::{Browser, MediaServer, Page, Settings, serve};
use kms_client::Result;
use kms_client::api::types::IceCandidate;
use kms_client::api::*;
use room::{Part, Room, Stage, next_news};
use serde::Deserialize;
use serde_json::json;

/// What the page says.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum FromPage {
    /// "Present" was pressed.
    Presenter { sdp_offer: String },
    /// "Watch" was pressed.
    Viewer { sdp_offer: String },
    /// An address at which the browser may be reached.
    OnIceCandidate { candidate: IceCandidate },
    /// "Stop" was pressed.
    Stop,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let settings = Settings::from_args();
    let kms = MediaServer::new(settings.kms);
    let room = Arc::new(Room::new(None));
    let page = Page {
        html: include_str!("../page/index.html"),
        script: include_str!("../page/main.js"),
    };
    let for_browsers = kms.clone();
    let session = move |browser| {
        Session {
            browser,
            kms: for_browsers.clone(),
            room: room.clone(),
            part: None,
        }
        .run()
    };
    serve(settings.listen, page, &kms, session).await
}

/// One browser.
struct Session {
    browser: Browser,
    kms: Arc<MediaServer>,
    room: Arc<Room<WebRtcEndpoint>>,
    part: Option<Part<WebRtcEndpoint>>,
}

impl Session {
    /// Serves the browser until it leaves.
    async fn run(mut self) {
        let mut room = self.room.subscribe();
        room.mark_changed(); // the page wants to know how things stand now, too
        loop {
            tokio::select! {
                message = self.browser.receive() => {
                    let Some(message) = message else { break };
                    if let Err(error) = self.handle(message).await {
                        self.leave().await;
                        self.browser.complain(error).await;
                    }
                }
                news = next_news(&mut self.part) => match news {
                    Some(news) => self.browser.send(news).await,
                    None => self.lost().await,
                },
                _ = room.changed() => self.presenter_changed().await,
            }
        }
        self.leave().await;
    }

    async fn handle(&mut self, message: FromPage) -> Result<()> {
        match message {
            FromPage::Presenter { sdp_offer } => self.present(&sdp_offer).await?,
            FromPage::Viewer { sdp_offer } => self.watch(&sdp_offer).await?,
            FromPage::OnIceCandidate { candidate } => {
                if let Some(part) = &self.part {
                    part.endpoint.add_ice_candidate(&candidate).await?;
                }
            }
            FromPage::Stop => self.leave().await,
        }
        Ok(())
    }

    async fn lost(&mut self) {
        self.leave().await;
        self.browser
            .complain("the media server was restarted; start again")
            .await;
    }

    /// Builds the pipeline and takes the stage, unless it is taken.
    async fn present(&mut self, sdp_offer: &str) -> Result<()> {
        self.leave().await;
        let client = self.kms.client().await?;
        let pipeline = MediaPipeline::create(&client).await?;
        let built = async {
            let endpoint = WebRtcEndpoint::create(&client, &pipeline).await?;
            let stage = Stage::new(&client, &pipeline, &endpoint);
            stage.presenter(endpoint).await
        };
        let part = match built.await {
            Ok(part) => part,
            Err(error) => {
                let _ = pipeline.release().await; // half a graph is of no use
                return Err(error);
            }
        };
        if !part.stage.take(&self.room) {
            let _ = pipeline.release().await;
            let refusal = json!({"id": "presenterResponse", "response": "rejected", "message": "Somebody else presents already."});
            self.browser.send(refusal).await;
            return Ok(());
        }
        let part = self.part.insert(part);
        part.negotiate(&mut self.browser, "presenterResponse", sdp_offer)
            .await
    }

    /// Adds an endpoint to the presenter's pipeline.
    async fn watch(&mut self, sdp_offer: &str) -> Result<()> {
        self.leave().await;
        let Some(stage) = self.room.borrow().clone() else {
            let refusal =
                json!({"id": "viewerResponse", "response": "rejected", "message": "Nobody presents yet."});
            self.browser.send(refusal).await;
            return Ok(());
        };
        let part = self.part.insert(stage.viewer().await?);
        part.negotiate(&mut self.browser, "viewerResponse", sdp_offer)
            .await
    }

    async fn leave(&mut self) {
        if let Some(part) = self.part.take() {
            part.leave(&self.room).await;
        }
    }

    /// Tells the page whether there is something to watch; a viewer whose presenter has left is done.
    async fn presenter_changed(&mut self) {
        if self
            .part
            .as_ref()
            .is_some_and(|part| part.is_orphaned(&self.room))
        {
            self.part = None;
            self.browser.send(json!({"id": "stopCommunication"})).await;
        }
        let presenter = self.room.borrow().is_some();
        self.browser
            .send(json!({"id": "room", "presenter": presenter}))
            .await;
    }
}
