//! What one browser watches: a player that is connected to the browser's endpoint.

use kms_client::api::events::{
    ConnectionLost, ConnectionRestored, ConnectionStateChanged, EndOfStream, Error, IceCandidateFound,
    UriEndpointStateChanged,
};
use kms_client::api::types::{ConnectionState, IceCandidate, UriEndpointState};
use kms_client::api::*;
use kms_client::{Client, Result};

/// One browser's objects in the media server, and what they report.
pub(crate) struct Show {
    pub(crate) pipeline: MediaPipeline,
    pub(crate) player: PlayerEndpoint,
    pub(crate) endpoint: WebRtcEndpoint,
    candidates: Events<IceCandidateFound>,
    connections: Events<ConnectionStateChanged>,
    states: Events<UriEndpointStateChanged>,
    ends: Events<EndOfStream>,
    errors: Events<Error>,
    losses: Events<ConnectionLost>,
    returns: Events<ConnectionRestored>,
}

/// What the media server reports.
pub(crate) enum News {
    /// An address at which the media server may be reached.
    Candidate(IceCandidate),
    /// The way to the browser is open: what is played from now on is seen.
    Connected,
    /// It plays, or is paused.
    State(UriEndpointState),
    /// It was played to its end.
    Ended,
    /// It can't be played.
    Failed(String),
    /// A camera is gone, and tried again.
    Lost,
    /// It is back.
    Restored,
}

impl Show {
    /// Builds the graph; nothing plays yet.
    pub(crate) async fn build(client: &Client, uri: &str) -> Result<Show> {
        let pipeline = MediaPipeline::create(client).await?;
        let show = Show::build_in(client, &pipeline, uri).await;
        if show.is_err() {
            let _ = pipeline.release().await; // half a graph is of no use
        }
        show
    }

    async fn build_in(client: &Client, pipeline: &MediaPipeline, uri: &str) -> Result<Show> {
        // A camera in the same network delivers its packets within 200 ms.
        let player = PlayerEndpoint::create(client, pipeline, uri)
            .network_cache(200)
            .await?;
        let endpoint = WebRtcEndpoint::create(client, pipeline).await?;
        player.connect(&endpoint).await?;
        Ok(Show {
            candidates: endpoint.on_ice_candidate_found().await?,
            connections: endpoint.on_connection_state_changed().await?,
            states: player.on_uri_endpoint_state_changed().await?,
            ends: player.on_end_of_stream().await?,
            errors: player.on_error().await?,
            losses: player.on_connection_lost().await?,
            returns: player.on_connection_restored().await?,
            pipeline: pipeline.clone(),
            player,
            endpoint,
        })
    }

    /// Waits for the next report. `None`: the media server was restarted, and has forgotten all this.
    pub(crate) async fn news(&mut self) -> Option<News> {
        Some(tokio::select! {
            event = self.candidates.next() => News::Candidate(event?.candidate),
            event = connected(&mut self.connections) => { event?; News::Connected }
            event = self.states.next() => News::State(event?.state),
            event = self.ends.next() => { event?; News::Ended }
            event = self.errors.next() => News::Failed(event?.description),
            event = self.losses.next() => { event?; News::Lost }
            event = self.returns.next() => { event?; News::Restored }
        })
    }
}

async fn connected(connections: &mut Events<ConnectionStateChanged>) -> Option<()> {
    while connections.next().await?.new_state != ConnectionState::Connected {}
    Some(())
}
