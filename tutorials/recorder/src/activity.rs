//! What one browser does at a time: it is recorded, or it watches the recording.

use kms_client::api::events::{ConnectionStateChanged, EndOfStream, Error, IceCandidateFound, Recording};
use kms_client::api::types::{ConnectionState, IceCandidate, MediaProfileSpecType};
use kms_client::api::*;
use kms_client::{Client, Result};

/// Objects in the media server, and what they report.
pub(crate) struct Activity {
    pipeline: MediaPipeline,
    endpoint: WebRtcEndpoint,
    candidates: Events<IceCandidateFound>,
    connections: Events<ConnectionStateChanged>,
    errors: Events<Error>,
    what: What,
}

enum What {
    Recording(RecorderEndpoint, Events<Recording>),
    Watching(PlayerEndpoint, Events<EndOfStream>),
}

/// What the media server reports.
pub(crate) enum News {
    /// An address at which the media server may be reached.
    Candidate(IceCandidate),
    /// The way between browser and media server is open.
    Connected,
    /// Media is written.
    Recording,
    /// The recording was watched to its end.
    Ended,
    /// It can't be recorded or played.
    Failed(String),
}

impl Activity {
    /// What the browser sends goes into a file. WebM holds what browsers send, VP8 and Opus, as it is.
    pub(crate) async fn record(client: &Client, uri: &str) -> Result<Activity> {
        let pipeline = MediaPipeline::create(client).await?;
        let built = async {
            let endpoint = WebRtcEndpoint::create(client, &pipeline).await?;
            let recorder = RecorderEndpoint::create(client, &pipeline, uri)
                .media_profile(MediaProfileSpecType::Webm)
                .await?;
            let errors = recorder.on_error().await?;
            let began = recorder.on_recording().await?;
            endpoint.connect(&recorder).await?;
            recorder.record().await?;
            Ok((endpoint, errors, What::Recording(recorder, began)))
        };
        Activity::of(&pipeline, built.await).await
    }

    /// The file goes to the browser, from [`play`](Self::play) on.
    pub(crate) async fn watch(client: &Client, uri: &str) -> Result<Activity> {
        let pipeline = MediaPipeline::create(client).await?;
        let built = async {
            let endpoint = WebRtcEndpoint::create(client, &pipeline).await?;
            let player = PlayerEndpoint::create(client, &pipeline, uri).await?;
            let errors = player.on_error().await?;
            let ends = player.on_end_of_stream().await?;
            player.connect(&endpoint).await?;
            Ok((endpoint, errors, What::Watching(player, ends)))
        };
        Activity::of(&pipeline, built.await).await
    }

    async fn of(
        pipeline: &MediaPipeline,
        built: Result<(WebRtcEndpoint, Events<Error>, What)>,
    ) -> Result<Activity> {
        let complete = async {
            let (endpoint, errors, what) = built?;
            Ok(Activity {
                connections: endpoint.on_connection_state_changed().await?,
                candidates: endpoint.on_ice_candidate_found().await?,
                pipeline: pipeline.clone(),
                endpoint,
                errors,
                what,
            })
        };
        let complete: Result<Activity> = complete.await;
        if complete.is_err() {
            let _ = pipeline.release().await; // half a graph is of no use
        }
        complete
    }

    /// Answers the browser's offer.
    pub(crate) async fn answer(&self, offer: &str) -> Result<String> {
        let answer = self.endpoint.process_offer(offer).await?;
        self.endpoint.gather_candidates().await?;
        Ok(answer)
    }

    /// Plays the file, if it is to be watched. Not before the browser is connected: the first pictures would be lost on the way, and
    /// with them what all others build on.
    pub(crate) async fn play(&self) -> Result<()> {
        match &self.what {
            What::Watching(player, _) => player.play().await,
            What::Recording(..) => Ok(()),
        }
    }

    /// An address at which the browser may be reached.
    pub(crate) async fn add_candidate(&self, candidate: &IceCandidate) -> Result<()> {
        self.endpoint.add_ice_candidate(candidate).await
    }

    /// Ends it. A recording is complete when this returns.
    pub(crate) async fn end(self) -> Result<()> {
        let complete = match &self.what {
            What::Recording(recorder, _) => recorder.stop_and_wait().await,
            What::Watching(..) => Ok(()),
        };
        let _ = self.pipeline.release().await; // an error means that it is gone already
        complete
    }

    /// Waits for the next report. `None`: the media server was restarted, and has forgotten all this.
    pub(crate) async fn news(&mut self) -> Option<News> {
        let own = async {
            match &mut self.what {
                What::Recording(_, began) => began.next().await.map(|_| News::Recording),
                What::Watching(_, ends) => ends.next().await.map(|_| News::Ended),
            }
        };
        tokio::select! {
            event = self.candidates.next() => event.map(|e| News::Candidate(e.candidate)),
            event = connected(&mut self.connections) => event.map(|()| News::Connected),
            event = self.errors.next() => event.map(|e| News::Failed(e.description)),
            news = own => news,
        }
    }
}

async fn connected(connections: &mut Events<ConnectionStateChanged>) -> Option<()> {
    while connections.next().await?.new_state != ConnectionState::Connected {}
    Some(())
}
