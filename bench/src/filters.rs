//! What filters cost: the CPU time of the thread that pictures pass on, by itself; of what looks beside it; and the time that pictures take
//! longer. The encoder behind a filter is left out: what it needs depends on the picture.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kms_client::Client;
use kms_client::ObjectId;
use kms_client::api::types::MediaType;
use kms_client::api::*;
use serde_json::{Value, json};

use crate::engine::Folder;
use crate::error::{Context, Error, Result};
use crate::procfs;
use crate::server::Server;

/// Pictures a second of the film.
const RATE: f64 = 30.0;
/// Before anything is counted: the player begins, models are read, the first look is taken.
const WARM_UP: Duration = Duration::from_secs(4);

/// What a filter needed for each picture of 640x480.
#[derive(Debug)]
pub(crate) struct FilterCost {
    /// The class, and what it does.
    pub(crate) filter: &'static str,
    /// CPU time on the pictures' thread, ms a picture.
    pub(crate) stream_ms: f64,
    /// CPU time beside it, ms a picture.
    pub(crate) beside_ms: f64,
    /// How much older pictures are when they leave, than without a filter, ms.
    pub(crate) later_ms: f64,
    /// Of [`FilterCost::stream_ms`]; none for what is measured to compare with.
    pub(crate) most_ms: Option<f64>,
}

/// The filters that are measured. The name is what threads of their segments begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Overlay,
    Chroma,
    Codes,
    FaceOverlay,
    Mosaic,
    MosaicFrame,
    Onnx,
}

impl Kind {
    /// What it is called, what threads of its segment begin with, what looks beside it, and how many ms a picture it may take.
    fn facts(self) -> (&'static str, &'static str, &'static str, Option<f64>) {
        const DRAWS: Option<f64> = Some(1.5);
        const FINDS: Option<f64> = Some(4.0);
        match self {
            Kind::None => ("none", "", "", None),
            Kind::Overlay => (
                "ImageOverlayFilter, an eighth of the picture",
                "image-overlay:",
                "",
                DRAWS,
            ),
            Kind::Chroma => ("ChromaFilter", "chroma:", "", DRAWS),
            Kind::Codes => ("ZBarFilter, no code", "zbar:", "side:src", None),
            Kind::FaceOverlay => ("FaceOverlayFilter, one face", "face-overlay:", "faces", FINDS),
            Kind::Mosaic => ("MosaicFilter FACES, one face", "mosaic:", "faces", FINDS),
            Kind::MosaicFrame => ("MosaicFilter FRAME", "mosaic:", "faces", DRAWS),
            Kind::Onnx => ("OnnxFilter, a model of the tests, drawn", "onnx:", "onnx", None),
        }
    }
}

/// Each filter in a kms of its own, one after the other.
pub(crate) async fn filters(kms: &str, window: Duration) -> Result<Vec<FilterCost>> {
    let folder = Folder::new()?;
    let file = folder.file("film.mp4");
    make_film(&file, (WARM_UP + window).as_secs() + 20)?;
    let mut costs = Vec::new();
    let mut without = 0.0;
    for kind in [
        Kind::None,
        Kind::Overlay,
        Kind::Chroma,
        Kind::Codes,
        Kind::FaceOverlay,
        Kind::Mosaic,
        Kind::MosaicFrame,
        Kind::Onnx,
    ] {
        let (mut cost, latency) = one(kms, kind, &file, window).await?;
        if kind == Kind::None {
            without = latency;
        }
        cost.later_ms = latency - without;
        costs.push(cost);
    }
    Ok(costs)
}

async fn one(kms: &str, kind: Kind, film: &Path, window: Duration) -> Result<(FilterCost, f64)> {
    let server = Server::start_kms(kms).await?;
    let client = Client::connect(server.url()).await?;
    let pipeline = MediaPipeline::create(&client).await?;
    pipeline.set_latency_stats(true).await?;
    let player = PlayerEndpoint::create(&client, &pipeline, &format!("file://{}", film.display())).await?;
    let filter = make(&client, &pipeline, kind).await?;
    // To nobody: the discard port.
    let viewer = RtpEndpoint::create(&client, &pipeline).await?;
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nb=AS:1500\r\nm=video 9 RTP/AVP 96\r\n\
                 a=rtpmap:96 VP8/90000\r\na=recvonly\r\n";
    viewer.process_offer(offer).await?;
    let connect = |from: ObjectId, to: ObjectId| {
        let client = client.clone();
        async move {
            let params = json!({"sink": to, "mediaType": "VIDEO"});
            client.invoke(&from, "connect", params).await
        }
    };
    connect(player.id().clone(), filter.clone()).await?;
    connect(filter, viewer.id().clone()).await?;
    player.play().await?;
    tokio::time::sleep(WARM_UP).await;
    let (name, stream, beside, most_ms) = kind.facts();
    let used = |prefix: &str| -> Result<Duration> {
        if prefix.is_empty() {
            return Ok(Duration::ZERO);
        }
        procfs::threads(server.pid(), prefix).context("reading the server's threads")
    };
    let before = (used(stream)?, used(beside)?);
    let begun = std::time::Instant::now();
    let mut latencies = Vec::new();
    while begun.elapsed() < window {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let stats = viewer.get_stats().media_type(MediaType::Video).await?;
        latencies.extend(stats.values().filter_map(latency));
    }
    let pictures = begun.elapsed().as_secs_f64() * RATE;
    let each = |now: Duration, before: Duration| (now - before).as_secs_f64() * 1_000.0 / pictures;
    let cost = FilterCost {
        filter: name,
        stream_ms: each(used(stream)?, before.0),
        beside_ms: each(used(beside)?, before.1),
        later_ms: 0.0,
        most_ms,
    };
    if kind != Kind::None && cost.stream_ms == 0.0 {
        return Err(Error::Server(format!("no thread of {name} was at work")));
    }
    latencies.sort_by(f64::total_cmp);
    let latency = latencies.get(latencies.len() / 2).copied();
    let _ = client.close_session().await;
    server.stop().await?;
    Ok((
        cost,
        latency.ok_or_else(|| Error::Server("no latency was told".into()))?,
    ))
}

/// The mean latency of video that leaves, ms.
fn latency(stats: &kms_client::api::types::Stats) -> Option<f64> {
    let of = stats.extra.get("E2ELatency")?.as_array()?;
    let video = of.iter().find(|stat| stat["type"] == "VIDEO")?;
    Some(video["avg"].as_f64()? / 1e6)
}

/// Makes a filter. The encoder behind it gets a picture either way.
async fn make(client: &Client, pipeline: &MediaPipeline, kind: Kind) -> Result<ObjectId> {
    let model = |name: &str| format!("{}/../tests/media/models/{name}", env!("CARGO_MANIFEST_DIR"));
    let drawing = |shape: &str| {
        format!("data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 4 3'>{shape}</svg>")
    };
    let ball = drawing("<circle cx='2' cy='1.5' r='1.5' fill='lime' opacity='0.8'/>");
    Ok(match kind {
        Kind::None => PassThrough::create(client, pipeline).await?.id().clone(),
        Kind::Overlay => {
            let filter = ImageOverlayFilter::create(client, pipeline).await?;
            filter
                .add_image("ball", &ball, 0.3, 0.3, 0.35, 0.35, false, false)
                .await?;
            filter.id().clone()
        }
        Kind::Chroma => {
            let window = kms_client::api::types::WindowParam {
                top_right_corner_x: 5,
                top_right_corner_y: 5,
                width: 30,
                height: 30,
            };
            let filter = ChromaFilter::create(client, pipeline, &window).await?;
            filter
                .set_background(&drawing("<rect width='4' height='3' fill='navy'/>"))
                .await?;
            filter.id().clone()
        }
        Kind::Codes => ZBarFilter::create(client, pipeline).await?.id().clone(),
        Kind::FaceOverlay => {
            let filter = FaceOverlayFilter::create(client, pipeline).await?;
            filter.set_overlayed_image(&ball, -0.2, -0.2, 1.4, 1.4).await?;
            filter.id().clone()
        }
        Kind::Mosaic => MosaicFilter::create(client, pipeline).await?.id().clone(),
        Kind::MosaicFrame => {
            let filter = MosaicFilter::create(client, pipeline);
            let filter = filter.mode(kms_client::api::types::MosaicMode::Frame).await?;
            filter.id().clone()
        }
        Kind::Onnx => {
            let filter = OnnxFilter::create(client, pipeline, &model("yolo.onnx")).draw(true);
            filter.await?.id().clone()
        }
    })
}

/// 640x480: a face that moves before a green wall with something on it.
fn make_film(file: &Path, seconds: u64) -> Result<()> {
    let face = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/media/faces/astronaut.jpg");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i"])
        .arg("color=c=0x20A040:size=640x480:rate=30")
        .args(["-loop", "1", "-framerate", "30", "-i"])
        .arg(face)
        .args([
            "-filter_complex",
            "[0][1]overlay=x='170+120*sin(t)':y='90+60*sin(t*0.7)':eval=frame",
        ])
        .args([
            "-t",
            &seconds.to_string(),
            "-g",
            "60",
            "-c:v",
            "libx264",
            "-bf",
            "0",
        ])
        .args(["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-b:v", "2M"])
        .arg(file)
        .status()
        .context("starting ffmpeg")?;
    match made.success() {
        true => Ok(()),
        false => Err(Error::Server(format!("ffmpeg ended: {made}"))),
    }
}

/// Columns of the table of filters.
pub(crate) const HEADER: [&str; 4] = ["640x480, 30/s", "ms CPU a picture", "beside", "ms later"];

impl FilterCost {
    /// A row of the table that [`HEADER`] begins.
    pub(crate) fn row(&self) -> [String; HEADER.len()] {
        let times = [self.stream_ms, self.beside_ms, self.later_ms].map(|ms| format!("{ms:.2}"));
        let [stream, beside, later] = times;
        [self.filter.to_owned(), stream, beside, later]
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({"filter": self.filter, "streamMs": self.stream_ms, "besideMs": self.beside_ms, "laterMs": self.later_ms})
    }
}
