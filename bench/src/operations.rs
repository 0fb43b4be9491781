//! What safety and being seen cost: connections that do nothing, clients that don't read, tokens, metrics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
use crate::server::{Server, host_address};

/// Connections with a session each, that do nothing.
const CONNECTIONS: usize = 1_000;
/// Subscriptions of a client that reads nothing, and objects that come and go: far more events than its queue holds.
const SUBSCRIPTIONS: usize = 500;
const OBJECTS: usize = 600;
/// Requests of each round, with a token and without.
const REQUESTS: usize = 20_000;
const ROUNDS: usize = 5;
/// Peers that media flows to and back from while metrics are read, and how long they are not read, and are.
const PEERS: usize = 100;
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

fn memory_now(server: &Server) -> Result<f64> {
    Ok(server.usage()?.rss as f64 / 1e6)
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

/// CPU time while metrics are read once a second, compared with that while they are not: medians of windows that take turns.
async fn metrics(program: &str) -> Result<f64> {
    let server = Server::start_kms(program).await?;
    let client = Client::connect(server.url()).await?;
    let load = Load::start(host_address())?;
    kms::loopback(&client, &load, PEERS).await?;
    load.start_media(Pacing::Spread).await?;
    tokio::time::sleep(WINDOW).await;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for reads in [false, true] {
            let before = server.usage()?.cpu;
            for _ in 0..WINDOW.as_secs() {
                if reads {
                    scrape(server.url()).await?;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let used = (server.usage()?.cpu - before).as_secs_f64();
            if reads { &mut with } else { &mut without }.push(used);
        }
    }
    let _ = client.close_session().await;
    server.stop().await?;
    let without = median(without);
    Ok(100.0 * (median(with) - without) / without)
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
