//! What an endpoint costs in memory.

use std::time::Duration;

use kms_client::Client;
use kms_client::api::*;
use serde_json::{Value, json};

use crate::error::Result;
use crate::kms;
use crate::load::Load;
use crate::media::Pacing;
use crate::server::{Server, host_address};

/// Endpoints that are only created.
const CREATED: usize = 1_000;
/// Endpoints that are negotiated; each with a peer that takes memory too, in this process.
const NEGOTIATED: usize = 200;
/// What comes before: code that is paged in and tables that are made once are no cost of an endpoint.
const FIRST: usize = 5;
/// Time for media to flow, until the buffers for retransmission are full.
const FLOWING: Duration = Duration::from_secs(8);
/// Time for the server to come to rest.
const REST: Duration = Duration::from_millis(500);

/// Memory of the server for each of many endpoints: the difference of its resident set.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// What they are doing.
    pub(crate) state: &'static str,
    /// How many there were.
    pub(crate) endpoints: usize,
    /// KiB for each.
    pub(crate) kib: f64,
}

/// Endpoints that are created in one pipeline and do nothing. The server should be fresh: memory that was freed before
/// would be used again.
pub(crate) async fn created(server: &Server) -> Result<Footprint> {
    let client = Client::connect(server.url()).await?;
    let pipeline = MediaPipeline::create(&client).await?;
    let mut before = 0;
    for i in 0..FIRST + CREATED {
        if i == FIRST {
            before = at_rest(server).await?;
        }
        WebRtcEndpoint::create(&client, &pipeline).await?;
    }
    let footprint = Footprint::new("not negotiated", CREATED, before, at_rest(server).await?);
    // What it answers changes nothing any more.
    let _ = client.close_session().await;
    Ok(footprint)
}

/// Looped back endpoints, each in its pipeline: connected, and with media flowing. The server should be fresh.
pub(crate) async fn negotiated(server: &Server) -> Result<[Footprint; 2]> {
    let client = Client::connect(server.url()).await?;
    let load = Load::start(host_address())?;
    kms::loopback(&client, &load, FIRST).await?;
    let before = at_rest(server).await?;
    kms::loopback(&client, &load, NEGOTIATED).await?;
    let connected = at_rest(server).await?;
    load.start_media(Pacing::Spread).await?;
    tokio::time::sleep(FLOWING).await;
    let flowing = server.usage()?.rss;
    let _ = client.close_session().await;
    Ok([
        Footprint::new("negotiated", NEGOTIATED, before, connected),
        Footprint::new("negotiated, media flowing", NEGOTIATED, before, flowing),
    ])
}

async fn at_rest(server: &Server) -> Result<u64> {
    tokio::time::sleep(REST).await;
    Ok(server.usage()?.rss)
}

/// Columns of the table of footprints.
pub(crate) const HEADER: [&str; 3] = ["endpoint", "endpoints", "KiB each"];

impl Footprint {
    fn new(state: &'static str, endpoints: usize, before: u64, after: u64) -> Footprint {
        let kib = after.saturating_sub(before) as f64 / 1024.0 / endpoints as f64;
        Footprint {
            state,
            endpoints,
            kib,
        }
    }

    /// A row of the table that [`HEADER`] begins.
    pub(crate) fn row(&self) -> [String; HEADER.len()] {
        [
            self.state.to_owned(),
            self.endpoints.to_string(),
            format!("{:.1}", self.kib),
        ]
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({"state": self.state, "endpoints": self.endpoints, "kibEach": self.kib})
    }
}
