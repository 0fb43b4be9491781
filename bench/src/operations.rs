//! What safety and being seen cost: connections that do nothing, clients that don't read, tokens, metrics.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::SinkExt;
use jsonwebtoken::{EncodingKey, Header, encode};
use kms_client::Client;
use kms_client::api::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::error::{Context, Error, Result};
use crate::kms;
use crate::load::Load;
use crate::media::Pacing;
use crate::procfs;
use crate::server::{Server, host_address};

/// Connections with a session each, that do nothing.
const CONNECTIONS: usize = 1_000;
/// Subscriptions of a client that reads nothing, and objects that come and go: far more events than its queue holds.
const SUBSCRIPTIONS: usize = 500;
const OBJECTS: usize = 600;
/// Requests of each round, with a token and without.
const REQUESTS: usize = 20_000;
const ROUNDS: usize = 5;
/// Peers that media flows to and back from, how often metrics are read, and how long each is looked at.
const PEERS: usize = 100;
const READINGS: usize = 1_000;
const WINDOW: Duration = Duration::from_secs(6);
const SECRET: &str = "a secret of this measurement, long enough";
const REST: Duration = Duration::from_millis(500);

/// Something that was measured, and what it may be at most.
#[derive(Debug)]
pub(crate) struct Figure {
    /// What, with its unit.
    pub(crate) what: &'static str,
    /// How much.
    pub(crate) value: f64,
    /// The most it should be.
    pub(crate) most: f64,
}

/// Measures everything, each on servers of its own.
pub(crate) async fn measure(program: &str) -> Result<Vec<Figure>> {
    let figure = |what, most, value| Figure { what, value, most };
    Ok(vec![
        figure("1,000 idle connections, MB more", 60.0, idle(program).await?),
        figure("a client that never reads, MB more", 8.0, deaf(program).await?),
        figure(
            "a signed token, us CPU more a request",
            20.0,
            token(program).await?,
        ),
        figure(
            "metrics read each second, 100 peers, % CPU more",
            2.0,
            metrics(program).await?,
        ),
    ])
}

/// Memory, MB, once the server has come to rest.
async fn memory(server: &Server) -> Result<f64> {
    tokio::time::sleep(REST).await;
    memory_now(server)
}

/// Memory that was asked for: pages of the program that come with their first use are none of it.
fn memory_now(server: &Server) -> Result<f64> {
    Ok(procfs::anonymous(server.pid()).context("reading the server's process")? as f64 / 1e6)
}

async fn idle(program: &str) -> Result<f64> {
    let server = Server::start_kms(program).await?;
    let mut open = vec![Client::connect(server.url()).await?];
    let before = memory(&server).await?;
    for _ in 0..CONNECTIONS {
        open.push(Client::connect(server.url()).await?);
    }
    let more = memory(&server).await? - before;
    drop(open);
    server.stop().await?;
    Ok(more)
}

async fn deaf(program: &str) -> Result<f64> {
    let server = Server::start_kms(program).await?;
    let client = Client::connect(server.url()).await?;
    let come_and_go = async |count: usize| -> Result<()> {
        for _ in 0..count {
            MediaPipeline::create(&client).await?.release().await?;
        }
        Ok(())
    };
    come_and_go(OBJECTS).await?;
    let before = memory(&server).await?;
    let (mut deaf, _) = tokio_tungstenite::connect_async(server.url())
        .await
        .map_err(|e| Error::Server(e.to_string()))?;
    for id in 0..SUBSCRIPTIONS {
        let params = json!({"object": "manager_ServerManager", "type": "ObjectCreated"});
        let subscribe = json!({"jsonrpc": "2.0", "id": id, "method": "subscribe", "params": params});
        let sent = deaf.send(Message::text(subscribe.to_string())).await;
        sent.map_err(|e| Error::Server(e.to_string()))?;
    }
    // The most there ever is: looked at while it grows.
    let mut most: f64 = 0.0;
    for _ in 0..OBJECTS / 20 {
        come_and_go(20).await?;
        most = most.max(memory_now(&server)?);
    }
    drop(deaf);
    server.stop().await?;
    Ok(most - before)
}

/// CPU time of a request with a signed token, less that without any: medians of rounds on two servers, one after the other.
async fn token(program: &str) -> Result<f64> {
    let open = Server::start_kms(program).await?;
    let guarded = Server::start_kms_with(program, &[("KMS_ACCESS_JWT_SECRET", SECRET)]).await?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let claims = json!({"tenant": "bench", "exp": now + 3600});
    let token = encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .map_err(|e| Error::Server(e.to_string()))?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(cost(&open, open.url()).await?);
        with.push(cost(&guarded, &format!("{}?access_token={token}", guarded.url())).await?);
    }
    open.stop().await?;
    guarded.stop().await?;
    Ok(median(with) - median(without))
}

/// Microseconds of CPU for a request that looks up an object, the opening of the connection included.
async fn cost(server: &Server, url: &str) -> Result<f64> {
    let before = server.usage()?.cpu;
    let client = Client::connect(url).await?;
    let pipeline = MediaPipeline::create(&client).await?;
    for _ in 0..REQUESTS {
        pipeline.name().await?;
    }
    pipeline.release().await?;
    let used = server.usage()?.cpu - before;
    Ok(used.as_secs_f64() * 1e6 / REQUESTS as f64)
}

/// CPU time of reading metrics once a second, as a share of that of 100 peers. What one reading costs is measured with the peers there and no
/// media: beside it, it would be less than what the same media costs more or less from one second to the next.
async fn metrics(program: &str) -> Result<f64> {
    let server = Server::start_kms(program).await?;
    let client = Client::connect(server.url()).await?;
    let load = Load::start(host_address())?;
    kms::loopback(&client, &load, PEERS).await?;
    tokio::time::sleep(REST).await;
    let cpu = async |reads: usize, wait: Duration| -> Result<f64> {
        let (before, begun) = (server.usage()?.cpu, Instant::now());
        for _ in 0..reads {
            scrape(server.url()).await?;
        }
        tokio::time::sleep(wait.saturating_sub(begun.elapsed())).await;
        Ok((server.usage()?.cpu - before).as_secs_f64())
    };
    // Peers keep in touch without media, too.
    let idle = cpu(0, WINDOW).await?;
    let reading = (cpu(READINGS, WINDOW).await? - idle) / READINGS as f64;
    load.start_media(Pacing::Spread).await?;
    tokio::time::sleep(WINDOW).await;
    let carrying = cpu(0, WINDOW).await? / WINDOW.as_secs_f64();
    let _ = client.close_session().await;
    server.stop().await?;
    Ok(100.0 * reading / carrying)
}

async fn scrape(url: &str) -> Result<()> {
    let address = url.trim_start_matches("ws://").trim_end_matches("/kurento");
    let mut stream = TcpStream::connect(address).await.context("connecting")?;
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream
        .write_all(request.as_bytes())
        .await
        .context("asking for metrics")?;
    let mut page = String::new();
    stream
        .read_to_string(&mut page)
        .await
        .context("reading metrics")?;
    match page.contains("kms_webrtc_packets_total") {
        true => Ok(()),
        false => Err(Error::Server("these are no metrics".into())),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Columns of the table of figures.
pub(crate) const HEADER: [&str; 2] = ["operations", "measured"];

impl Figure {
    /// A row of the table that [`HEADER`] begins.
    pub(crate) fn row(&self) -> [String; HEADER.len()] {
        [self.what.to_owned(), format!("{:.2}", self.value)]
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({"what": self.what, "value": self.value})
    }
}
