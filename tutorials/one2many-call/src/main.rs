//! Tutorial: one presenter, many viewers, who may come late and leave early.
//!
//! The presenter's pipeline holds an endpoint for the presenter and one for each viewer, connected to the former. The
//! media server forwards the presenter's packets: nothing is encoded again, however many viewers there are.

#[path = "../../common/app_server.rs"]
mod app_server;

use std::sync::Arc;

use app_server::{Browser, MediaServer, Page, Settings, serve};
use kms_client::api::events::IceCandidateFound;
use kms_client::api::types::IceCandidate;
use kms_client::api::*;
use kms_client::{Client, Result};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

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

/// The room: empty, or somebody presents. Everybody in it is told when that changes.
type Room = watch::Sender<Option<Stage>>;

/// What viewers need of the presenter.
#[derive(Clone)]
struct Stage {
    client: Client,
    pipeline: MediaPipeline,
    presenter: WebRtcEndpoint,
    viewers: Arc<watch::Sender<usize>>,
}

/// What a browser takes part as.
struct Part {
    stage: Stage,
    endpoint: WebRtcEndpoint,
    candidates: Events<IceCandidateFound>,
    viewers: watch::Receiver<usize>,
    presents: bool,
}

/// What the media server and the other browsers have for this one.
enum Notice {
    /// An address at which the media server may be reached.
    Candidate(IceCandidate),
    /// There are so many viewers now.
    Viewers(usize),
    /// The media server has forgotten everything.
    Lost,
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
    room: Arc<Room>,
    part: Option<Part>,
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
                notice = next_notice(&mut self.part) => self.pass_on(notice).await,
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

    async fn pass_on(&mut self, notice: Notice) {
        match notice {
            Notice::Candidate(candidate) => {
                self.browser
                    .send(json!({"id": "iceCandidate", "candidate": candidate}))
                    .await;
            }
            Notice::Viewers(count) => self.browser.send(json!({"id": "viewers", "count": count})).await,
            Notice::Lost => {
                self.leave().await;
                self.browser
                    .complain("the media server was restarted; start again")
                    .await;
            }
        }
    }

    /// Builds the pipeline and takes the stage, unless it is taken.
    async fn present(&mut self, sdp_offer: &str) -> Result<()> {
        self.leave().await;
        let client = self.kms.client().await?;
        let pipeline = MediaPipeline::create(&client).await?;
        let built = async {
            let endpoint = WebRtcEndpoint::create(&client, &pipeline).await?;
            let candidates = endpoint.on_ice_candidate_found().await?;
            Ok((endpoint, candidates))
        };
        let (endpoint, candidates) = match built.await {
            Ok(built) => built,
            Err(error) => {
                let _ = pipeline.release().await; // half a graph is of no use
                return Err(error);
            }
        };
        let viewers = Arc::new(watch::Sender::new(0));
        let stage = Stage {
            client,
            pipeline,
            presenter: endpoint.clone(),
            viewers,
        };
        let mine = stage.clone();
        // Looked at and taken in one step: two may press "Present" at the same time.
        let taken = self.room.send_if_modified(|room| match room {
            Some(_) => false,
            None => {
                *room = Some(mine);
                true
            }
        });
        if !taken {
            let _ = stage.pipeline.release().await;
            let refusal = json!({"id": "presenterResponse", "response": "rejected", "message": "Somebody else presents already."});
            self.browser.send(refusal).await;
            return Ok(());
        }
        let viewers = stage.viewers.subscribe();
        self.part = Some(Part {
            stage,
            endpoint,
            candidates,
            viewers,
            presents: true,
        });
        self.negotiate("presenterResponse", sdp_offer).await
    }

    /// Adds an endpoint to the presenter's pipeline. Late viewers get a picture at once: the media server asks the
    /// presenter for a keyframe.
    async fn watch(&mut self, sdp_offer: &str) -> Result<()> {
        self.leave().await;
        let Some(stage) = self.room.borrow().clone() else {
            let refusal =
                json!({"id": "viewerResponse", "response": "rejected", "message": "Nobody presents yet."});
            self.browser.send(refusal).await;
            return Ok(());
        };
        let endpoint = WebRtcEndpoint::create(&stage.client, &stage.pipeline).await?;
        let candidates = endpoint.on_ice_candidate_found().await?;
        let presenter = stage.presenter.clone();
        let viewers = stage.viewers.subscribe();
        stage.viewers.send_modify(|count| *count += 1);
        self.part = Some(Part {
            stage,
            endpoint: endpoint.clone(),
            candidates,
            viewers,
            presents: false,
        });
        presenter.connect(&endpoint).await?;
        self.negotiate("viewerResponse", sdp_offer).await
    }

    async fn negotiate(&mut self, response: &str, sdp_offer: &str) -> Result<()> {
        let Some(part) = &self.part else { return Ok(()) };
        let answer = part.endpoint.process_offer(sdp_offer).await?;
        self.browser
            .send(json!({"id": response, "response": "accepted", "sdpAnswer": answer}))
            .await;
        part.endpoint.gather_candidates().await
    }

    /// A presenter takes the pipeline along, a viewer only the own endpoint.
    async fn leave(&mut self) {
        let Some(part) = self.part.take() else { return };
        // An error means that it is gone already.
        if part.presents {
            self.room.send_replace(None);
            let _ = part.stage.pipeline.release().await;
        } else {
            part.stage.viewers.send_modify(|count| *count -= 1);
            let _ = part.endpoint.release().await;
        }
    }

    /// Tells the page whether there is something to watch; a viewer whose presenter has left is done.
    async fn presenter_changed(&mut self) {
        let stage = self.room.borrow().clone();
        let orphaned = self.part.as_ref().is_some_and(|part| {
            !part.presents
                && stage
                    .as_ref()
                    .is_none_or(|s| s.pipeline.id() != part.stage.pipeline.id())
        });
        if orphaned {
            self.part = None; // its endpoint went with the pipeline
            self.browser.send(json!({"id": "stopCommunication"})).await;
        }
        self.browser
            .send(json!({"id": "room", "presenter": stage.is_some()}))
            .await;
    }
}

async fn next_notice(part: &mut Option<Part>) -> Notice {
    let Some(part) = part else {
        return std::future::pending().await;
    };
    tokio::select! {
        found = part.candidates.next() => found.map_or(Notice::Lost, |found| Notice::Candidate(found.candidate)),
        // Can't fail: the part holds a sender.
        _ = part.viewers.changed() => Notice::Viewers(*part.viewers.borrow_and_update()),
    }
}
