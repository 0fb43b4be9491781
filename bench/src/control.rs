//! What requests through the websocket cost.

use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use kms_client::Client;
use kms_client::api::*;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::histogram::Histogram;
use crate::server::Server;

/// Requests before those that are counted.
const WARM_UP: usize = 200;
/// How often each request is timed.
const ROUNDS: usize = 2_000;
/// Pings of the measurement of throughput, and how many of them wait for their answers at once.
const PINGS: usize = 20_000;
const OUTSTANDING: usize = 64;

/// How long an operation took, over many rounds, one after the other.
#[derive(Debug)]
pub(crate) struct Timing {
    /// The operation.
    pub(crate) operation: &'static str,
    /// Median, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub(crate) p99_ms: f64,
}

/// All about the control plane.
#[derive(Debug)]
pub(crate) struct Control {
    /// Operations by themselves.
    pub(crate) timings: Vec<Timing>,
    /// Requests answered a second, when many wait at once on one connection.
    pub(crate) requests_per_second: f64,
    /// CPU time of the server for one of them, in microseconds.
    pub(crate) cpu_us_per_request: f64,
}

/// Measures a server through one connection.
pub(crate) async fn measure(server: &Server) -> Result<Control> {
    let client = Client::connect(server.url()).await?;
    let pipeline = MediaPipeline::create(&client).await?;
    let timings = vec![
        time("ping", async || Ok(client.ping().await?)).await?,
        time("create and release of a PassThrough", async || {
            let element = PassThrough::create(&client, &pipeline).await?;
            Ok(element.release().await?)
        })
        .await?,
        time("create and release of a WebRtcEndpoint", async || {
            let endpoint = WebRtcEndpoint::create(&client, &pipeline).await?;
            Ok(endpoint.release().await?)
        })
        .await?,
    ];
    let (begun, before) = (Instant::now(), server.usage()?);
    stream::iter((0..PINGS).map(|_| client.ping()))
        .buffer_unordered(OUTSTANDING)
        .try_for_each(async |()| Ok(()))
        .await?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), server.usage()?.cpu - before.cpu);
    // What it answers changes nothing any more.
    let _ = client.close_session().await;
    Ok(Control {
        timings,
        requests_per_second: PINGS as f64 / seconds,
        cpu_us_per_request: cpu.as_secs_f64() * 1e6 / PINGS as f64,
    })
}

async fn time(operation: &'static str, mut act: impl AsyncFnMut() -> Result<()>) -> Result<Timing> {
    for _ in 0..WARM_UP {
        act().await?;
    }
    let mut nanoseconds = Histogram::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        act().await?;
        nanoseconds.record(begun.elapsed().as_nanos() as u64);
    }
    let (p50, p99) = nanoseconds
        .p50_p99()
        .ok_or_else(|| Error::Server("nothing was measured".into()))?;
    Ok(Timing {
        operation,
        p50_ms: p50 as f64 / 1e6,
        p99_ms: p99 as f64 / 1e6,
    })
}

/// Columns of the table of operations.
pub(crate) const HEADER: [&str; 3] = ["", "p50 ms", "p99 ms"];

impl Timing {
    /// A row of the table that [`HEADER`] begins.
    pub(crate) fn row(&self) -> [String; HEADER.len()] {
        [
            self.operation.to_owned(),
            format!("{:.3}", self.p50_ms),
            format!("{:.3}", self.p99_ms),
        ]
    }
}

impl Control {
    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        let timing = |t: &Timing| json!({"operation": t.operation, "msP50": t.p50_ms, "msP99": t.p99_ms});
        json!({
            "timings": self.timings.iter().map(timing).collect::<Vec<_>>(),
            "requestsPerSecond": self.requests_per_second,
            "cpuUsPerRequest": self.cpu_us_per_request,
        })
    }
}
