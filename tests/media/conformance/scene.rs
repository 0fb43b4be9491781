//! A daemon with a pipeline, players that play, and receivers of RTP that tell whether media comes.

use std::process::Command;
use std::time::{Duration, Instant};

use kms_client::{Client, ObjectId};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use super::{Class, Gives, HUBS};
use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{WEBM, within};

/// How long media may take to come or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// No packet for so long is silence.
const SILENCE: Duration = Duration::from_millis(700);

pub(super) struct Scene {
    pub(super) daemon: Daemon,
    pub(super) client: Client,
    pub(super) pipeline: ObjectId,
    hubs: Vec<ObjectId>,
    folder: Folder,
}

/// What makes an element give media.
pub(super) struct Begun {
    /// The other end of its connection.
    pub(super) peer: Option<ObjectId>,
    uploads: Option<std::process::Child>,
    relays: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(curl) = &mut self.uploads {
            let _ = curl.kill();
            let _ = curl.wait();
        }
        self.relays.iter().for_each(|r| r.abort());
    }
}

impl Scene {
    /// With a file of so many seconds to play, small enough that nothing has to hurry.
    pub(super) async fn new(seconds: u32) -> Scene {
        let folder = Folder::new();
        let encoding = [&WEBM[..], &["-s", "160x120", "-b:v", "100k"]].concat();
        make(&folder.path("minute.webm"), seconds.min(60), &encoding);
        let again = (seconds / 60).to_string();
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-stream_loop", &again, "-i"])
            .arg(folder.path("minute.webm"))
            .args(["-c", "copy", "-t", &seconds.to_string()])
            .arg(folder.path("in.webm"))
            .status();
        assert!(made.unwrap().success());
        let daemon = Daemon::start();
        let url = format!("ws://{}/kurento", daemon.address);
        let client = Client::connect(&url).await.unwrap();
        let pipeline = client.create("MediaPipeline", json!({})).await.unwrap();
        let mut hubs = Vec::new();
        for hub in HUBS {
            hubs.push(
                client
                    .create(hub, json!({"mediaPipeline": pipeline}))
                    .await
                    .unwrap(),
            );
        }
        Scene {
            hubs,
            daemon,
            client,
            pipeline,
            folder,
        }
    }

    /// URI of a file.
    pub(super) fn file(&self, name: &str) -> String {
        uri(&self.folder.path(name))
    }

    /// All parameters of a class's constructor.
    pub(super) fn params(&self, class: &Class) -> Value {
        let mut params = class.params.clone();
        match class.hub {
            None => params["mediaPipeline"] = json!(self.pipeline),
            Some(hub) => params["hub"] = json!(self.hub(hub)),
        }
        params
    }

    fn hub(&self, class: &str) -> &ObjectId {
        &self.hubs[HUBS.iter().position(|hub| *hub == class).unwrap()]
    }

    pub(super) async fn create(&self, class: &Class) -> ObjectId {
        self.client.create(class.name, self.params(class)).await.unwrap()
    }

    /// A player that plays.
    pub(super) async fn player(&self) -> ObjectId {
        let params = json!({"mediaPipeline": self.pipeline, "uri": self.file("in.webm")});
        let player = self.client.create("PlayerEndpoint", params).await.unwrap();
        let mut flows = self
            .client
            .subscribe(&player, "MediaFlowOutStateChanged")
            .await
            .unwrap();
        self.invoke(&player, "play", json!({})).await;
        within("media", flows.next()).await;
        within("media of the other kind", flows.next()).await;
        player
    }

    pub(super) async fn invoke(&self, object: &ObjectId, operation: &str, params: Value) -> Value {
        self.client.invoke(object, operation, params).await.unwrap()
    }

    pub(super) async fn try_connect(&self, source: &ObjectId, sink: &ObjectId) -> kms_client::Result<Value> {
        self.client.invoke(source, "connect", json!({"sink": sink})).await
    }

    pub(super) async fn connect(&self, source: &ObjectId, sink: &ObjectId) {
        self.try_connect(source, sink).await.unwrap();
    }

    pub(super) async fn disconnect(&self, source: &ObjectId, sink: &ObjectId) {
        self.invoke(source, "disconnect", json!({"sink": sink})).await;
    }

    /// How many elements the pipeline and its hubs have.
    pub(super) async fn children(&self) -> usize {
        let mut count = 0;
        for parent in [&self.pipeline].into_iter().chain(&self.hubs) {
            let children = self.invoke(parent, "getChildren", json!({})).await;
            count += children.as_array().unwrap().len();
        }
        count - self.hubs.len()
    }

    /// Tells a hub that what enters a port leaves it again.
    async fn tell_hub(&self, class: &str, port: &ObjectId) {
        let calls = match class {
            "AlphaBlending" => vec![("setMaster", json!({"source": port, "zOrder": 0}))],
            "Dispatcher" => vec![("connect", json!({"source": port, "sink": port}))],
            "DispatcherOneToMany" => vec![("setSource", json!({"source": port}))],
            "Mixer" => ["AUDIO", "VIDEO"]
                .map(|media| ("connect", json!({"media": media, "source": port, "sink": port})))
                .to_vec(),
            _ => vec![],
        };
        for (operation, params) in calls {
            self.invoke(self.hub(class), operation, params).await;
        }
    }

    /// Makes an element give media, if it ever does.
    pub(super) async fn begin(&self, class: &Class, element: &ObjectId, source: &ObjectId) -> Begun {
        let mut begun = Begun {
            peer: None,
            uploads: None,
            relays: Vec::new(),
        };
        match class.gives {
            Gives::Nothing | Gives::WhatItGets => {}
            Gives::WhatItsHubIsTold => self.tell_hub(class.hub.unwrap(), element).await,
            Gives::By(operation) => drop(self.invoke(element, operation, json!({})).await),
            Gives::AnUpload => {
                let url = self.invoke(element, "getUrl", json!({})).await;
                let curl = std::process::Command::new("curl")
                    .args(["-s", "-o", "/dev/null", "--upload-file"])
                    .arg(self.folder.path("in.webm"))
                    .arg(url.as_str().unwrap())
                    .spawn();
                begun.uploads = Some(curl.expect("curl is installed"));
            }
            Gives::FromItsPeer => {
                let peer = self.create(class).await;
                self.connect(source, &peer).await;
                begun.relays = self.negotiate(class, element, &peer).await;
                begun.peer = Some(peer);
            }
        }
        begun
    }

    /// The offer of one, the answer of the other, and candidates where there are any.
    async fn negotiate(&self, class: &Class, a: &ObjectId, b: &ObjectId) -> Vec<tokio::task::JoinHandle<()>> {
        let has_candidates = class.name == "WebRtcEndpoint";
        let mut relays = Vec::new();
        if has_candidates {
            for (from, to) in [(a, b), (b, a)] {
                let mut found = self.client.subscribe(from, "IceCandidateFound").await.unwrap();
                let (client, to) = (self.client.clone(), to.clone());
                relays.push(tokio::spawn(async move {
                    while let Some(event) = found.next().await {
                        let candidate = json!({"candidate": event.data["candidate"]});
                        let _ = client.invoke(&to, "addIceCandidate", candidate).await;
                    }
                }));
            }
        }
        let offer = self.invoke(a, "generateOffer", json!({})).await;
        let answer = self.invoke(b, "processOffer", json!({"offer": offer})).await;
        self.invoke(a, "processAnswer", json!({"answer": answer})).await;
        if has_candidates {
            for endpoint in [a, b] {
                self.invoke(endpoint, "gatherCandidates", json!({})).await;
            }
        }
        relays
    }
}

/// An `RtpEndpoint` that sends to a socket of the test: the last element of a chain, where media is seen to come.
pub(super) struct Receiver {
    pub(super) endpoint: ObjectId,
    socket: UdpSocket,
}

impl Receiver {
    pub(super) async fn new(scene: &Scene) -> Receiver {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let params = json!({"mediaPipeline": scene.pipeline});
        let endpoint = scene.client.create("RtpEndpoint", params).await.unwrap();
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video {port} RTP/AVP 96\r\n\
             a=rtpmap:96 VP8/90000\r\na=recvonly\r\n"
        );
        scene
            .invoke(&endpoint, "processOffer", json!({"offer": offer}))
            .await;
        Receiver { endpoint, socket }
    }

    /// Waits for ten more packets than have come by now.
    pub(super) async fn receives(&self, what: &str) {
        let mut packet = [0; 2048];
        while self.socket.try_recv(&mut packet).is_ok() {}
        for count in 0..10 {
            let received = tokio::time::timeout(PATIENCE, self.socket.recv(&mut packet)).await;
            assert!(received.is_ok(), "{what}: {count} packets came, and then no more");
        }
    }

    /// Waits until no more come.
    pub(super) async fn is_silent(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut packet = [0; 2048];
        while tokio::time::timeout(SILENCE, self.socket.recv(&mut packet))
            .await
            .is_ok()
        {
            assert!(Instant::now() < deadline, "{what}: packets still come");
        }
    }
}
