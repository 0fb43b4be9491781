//! Graphs in a kms (or a Kurento) for the peers, built by the Kurento Protocol.

use std::time::Duration;

use kms_client::Client;
use kms_client::api::*;
use str0m::media::Direction;

use crate::error::{Error, Result};
use crate::load::{Load, PeerId};

/// Longest wait for the server's candidates.
const GATHERING: Duration = Duration::from_secs(5);

/// Each peer in a pipeline of its own, with an endpoint connected to itself.
pub(crate) async fn loopback(client: &Client, load: &Load, peers: usize) -> Result<()> {
    for _ in 0..peers {
        let pipeline = MediaPipeline::create(client).await?;
        let endpoint = WebRtcEndpoint::create(client, &pipeline).await?;
        endpoint.connect(&endpoint).await?;
        connect_peer(load, &endpoint, Direction::SendRecv).await?;
    }
    load.connected().await
}

/// One pipeline: one peer sends, all others see it.
pub(crate) async fn one_to_many(client: &Client, load: &Load, viewers: usize) -> Result<()> {
    let pipeline = MediaPipeline::create(client).await?;
    let presenter = WebRtcEndpoint::create(client, &pipeline).await?;
    connect_peer(load, &presenter, Direction::SendOnly).await?;
    for _ in 0..viewers {
        let viewer = WebRtcEndpoint::create(client, &pipeline).await?;
        presenter.connect(&viewer).await?;
        connect_peer(load, &viewer, Direction::RecvOnly).await?;
    }
    load.connected().await
}

/// Peers that all watch one element.
pub(crate) async fn watched(
    client: &Client,
    load: &Load,
    pipeline: &MediaPipeline,
    source: &PlayerEndpoint,
    viewers: usize,
) -> Result<()> {
    for _ in 0..viewers {
        let viewer = WebRtcEndpoint::create(client, pipeline).await?;
        source.connect(&viewer).await?;
        connect_peer(load, &viewer, Direction::RecvOnly).await?;
    }
    load.connected().await
}

/// Negotiates a new peer with an endpoint as applications do: offer and answer, then candidates one by one.
async fn connect_peer(load: &Load, endpoint: &WebRtcEndpoint, direction: Direction) -> Result<PeerId> {
    let mut candidates = endpoint.on_ice_candidate_found().await?;
    let mut done = endpoint.on_ice_gathering_done().await?;
    let (peer, offer) = load.offer(direction).await?;
    let answer = endpoint.process_offer(&offer).await?;
    load.answer(peer, answer).await?;
    endpoint.gather_candidates().await?;
    let gathering = async {
        loop {
            tokio::select! {
                // In this order: the last candidate may be there together with the end.
                biased;
                found = candidates.next() => match found {
                    Some(found) => load.candidate(peer, found.candidate.candidate).await?,
                    None => return Err(Error::Server("the server forgot the session".into())),
                },
                _ = done.next() => return Ok(peer),
            }
        }
    };
    tokio::time::timeout(GATHERING, gathering)
        .await
        .unwrap_or_else(|_| {
            Err(Error::Late(
                "candidates were not gathered".into(),
                GATHERING.as_secs(),
            ))
        })
}
