//! What the media engine costs, beside the plainest program that does the same work.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kms_client::Client;
use kms_client::api::types::{MediaProfileSpecType, MediaType};
use kms_client::api::*;
use serde_json::{Value, json};

use crate::error::{Context, Error, Result};
use crate::kms;
use crate::load::Load;
use crate::process::{Process, together};
use crate::procfs::{self, Usage};
use crate::server::{Server, host_address};

/// Time before anything is counted: connections are made, keyframes come, files begin.
const WARM_UP: Duration = Duration::from_secs(6);

/// What a program needed for a work, over a window of time.
#[derive(Debug)]
pub(crate) struct Cost {
    /// The work.
    pub(crate) work: &'static str,
    /// Who did it.
    pub(crate) by: &'static str,
    /// Length of the window.
    pub(crate) window: Duration,
    /// CPU time in the window.
    pub(crate) cpu: Duration,
    /// At its end.
    pub(crate) usage: Usage,
    /// CPU time of all other processes in the window, cameras and viewers among them.
    pub(crate) others_cpu: Duration,
    /// Pictures a second that each viewer got, if there are viewers.
    pub(crate) pictures: Option<f64>,
}

/// Records cameras into MP4 as they are: all in one kms, and each in an ffmpeg of its own. Ten by default: as the aims say.
pub(crate) async fn cameras(kms: &str, count: usize, window: Duration) -> Result<[Cost; 2]> {
    const WORK: &str = "cameras into MP4";
    let folder = Folder::new()?;
    let (cameras, uris) = start_cameras(count)?;

    let server = Server::start_kms(kms).await?;
    let client = Client::connect(server.url()).await?;
    for (number, uri) in uris.iter().enumerate() {
        let pipeline = MediaPipeline::create(&client).await?;
        let player = PlayerEndpoint::create(&client, &pipeline, uri)
            .network_cache(100)
            .await?;
        let file = format!("file://{}", folder.file(&format!("kms-{number}.mp4")).display());
        let recorder = RecorderEndpoint::create(&client, &pipeline, &file)
            .media_profile(MediaProfileSpecType::Mp4)
            .await?;
        player.connect(&recorder).await?;
        recorder.record().await?;
        player.play().await?;
    }

    let start = |(number, uri): (usize, &String)| {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y", "-rtsp_transport", "tcp", "-i"]);
        // kms's own name for RTSP over TCP.
        command
            .arg(uri.replacen("rtspt:", "rtsp:", 1))
            .args(["-c", "copy"]);
        Process::start(command.arg(folder.file(&format!("ffmpeg-{number}.mp4"))))
    };
    let recorders: Vec<Process> = uris.iter().enumerate().map(start).collect::<Result<_>>()?;
    // At the same time: how fast a core is differs more from minute to minute on some machines than what is compared.
    let (ours, theirs) = tokio::join!(
        measure(WORK, "kms", window, || server.usage()),
        measure(WORK, "ffmpeg", window, || together(&recorders)),
    );
    // What it answers changes nothing any more.
    let _ = client.close_session().await;
    server.stop().await?;
    drop((recorders, cameras));
    for number in 0..count {
        for by in ["kms", "ffmpeg"] {
            folder.check(&format!("{by}-{number}.mp4"))?;
        }
    }
    Ok([ours?, theirs?])
}

/// Converts a file of H.264 into VP8: in kms for many viewers, and in a bare pipeline of GStreamer for none.
pub(crate) async fn transcode(kms: &str, viewers: usize, window: Duration) -> Result<[Cost; 2]> {
    const WORK: &str = "H.264 to VP8, 720p25";
    let folder = Folder::new()?;
    let file = folder.file("film.mp4");
    let seconds = (WARM_UP + window).as_secs() + 30;
    make_film(&file, "1280x720", seconds)?;

    let server = Server::start_kms(kms).await?;
    let client = Client::connect(server.url()).await?;
    let load = Load::start(host_address())?;
    let pipeline = MediaPipeline::create(&client).await?;
    let player = PlayerEndpoint::create(&client, &pipeline, &format!("file://{}", file.display())).await?;
    kms::watched(&client, &load, &pipeline, &player, viewers).await?;
    player.play().await?;
    load.begin().await?;
    let mut ours = measure(WORK, "kms", window, || server.usage()).await?;
    load.end().await?;
    let seconds = (WARM_UP + ours.window).as_secs_f64();
    ours.pictures = Some(load.tally().await?.pictures as f64 / viewers as f64 / seconds);
    let _ = client.close_session().await;
    server.stop().await?;

    let bare = [launch(&format!(
        "filesrc location={} ! qtdemux ! h264parse ! identity sync=true ! avdec_h264 ! videoconvert ! video/x-raw,format=I420 ! {} ! \
         fakesink async=false",
        file.display(),
        vp8_encoder()
    ))?];
    let theirs = measure(WORK, "gst-launch", window, || together(&bare)).await?;
    Ok([ours, theirs])
}

/// What [`mix`] measures.
pub(crate) const MIX: &str = "four 640x360 into 720p25, VP8";

/// Four films in one picture, encoded once: in kms, and in a bare pipeline of GStreamer at the same time.
pub(crate) async fn mix(kms: &str, window: Duration) -> Result<[Cost; 2]> {
    let folder = Folder::new()?;
    let file = folder.file("film.mp4");
    make_film(&file, "640x360", (2 * WARM_UP + window).as_secs() + 30)?;

    let server = Server::start_kms(kms).await?;
    let client = Client::connect(server.url()).await?;
    let pipeline = MediaPipeline::create(&client).await?;
    let hub = Composite::create(&client, &pipeline)
        .width(1280)
        .height(720)
        .framerate(25)
        .await?;
    for _ in 0..4 {
        let player =
            PlayerEndpoint::create(&client, &pipeline, &format!("file://{}", file.display())).await?;
        let port = HubPort::create(&client, &hub).await?;
        // Without sound, which the other has not.
        player.connect(&port).media_type(MediaType::Video).await?;
        player.play().await?;
    }
    let viewer = RtpEndpoint::create(&client, &pipeline).await?;
    // To nobody: the discard port.
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nb=AS:1500\r\nm=video 9 RTP/AVP 96\r\n\
                 a=rtpmap:96 VP8/90000\r\na=recvonly\r\n";
    viewer.process_offer(offer).await?;
    let port = HubPort::create(&client, &hub).await?;
    port.connect(&viewer).media_type(MediaType::Video).await?;

    let decoded = format!(
        "filesrc location={} ! qtdemux ! h264parse ! identity sync=true ! avdec_h264 ! videoconvert ! video/x-raw,format=I420 ! queue ! mix.",
        file.display()
    );
    let bare = [launch(&format!(
        "compositor name=mix background=black sink_1::xpos=640 sink_2::ypos=360 sink_3::xpos=640 sink_3::ypos=360 ! \
         video/x-raw,format=I420,width=1280,height=720,framerate=25/1 ! {} ! fakesink async=false {decoded} {decoded} {decoded} {decoded}",
        vp8_encoder()
    ))?];
    let (ours, theirs) = tokio::join!(
        measure(MIX, "kms", window, || server.usage()),
        measure(MIX, "gst-launch", window, || together(&bare)),
    );
    let sent = viewer.get_stats().await?;
    let sent = sent
        .values()
        .filter_map(|s| s.extra.get("packetsSent")?.as_i64())
        .max();
    if sent.unwrap_or_default() < 100 {
        return Err(Error::Server(format!("kms sent {sent:?} packets only")));
    }
    let _ = client.close_session().await;
    server.stop().await?;
    Ok([ours?, theirs?])
}

/// The same element with the same settings as in kms (kms-core/src/media/encoders.rs).
fn vp8_encoder() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    format!(
        "vp8enc target-bitrate=1500000 deadline=1 cpu-used=8 threads={threads} end-usage=cbr keyframe-max-dist=120 \
         buffer-initial-size=300 buffer-optimal-size=500 buffer-size=800 min-quantizer=2 max-quantizer=56 lag-in-frames=0 \
         error-resilient=default static-threshold=1"
    )
}

/// Nothing but a pipeline of GStreamer.
fn launch(pipeline: &str) -> Result<Process> {
    let mut command = Command::new("gst-launch-1.0");
    Process::start(command.arg("-q").args(pipeline.split_whitespace()))
}

async fn measure(
    work: &'static str,
    by: &'static str,
    window: Duration,
    usage: impl Fn() -> Result<Usage>,
) -> Result<Cost> {
    tokio::time::sleep(WARM_UP).await;
    let machine = || procfs::machine_cpu().context("reading the machine's CPU time");
    let (machine_before, before, begun) = (machine()?, usage()?, Instant::now());
    tokio::time::sleep(window).await;
    let (usage, window) = (usage()?, begun.elapsed());
    let cpu = usage.cpu - before.cpu;
    Ok(Cost {
        work,
        by,
        window,
        cpu,
        usage,
        others_cpu: (machine()? - machine_before).saturating_sub(cpu),
        pictures: None,
    })
}

/// Cameras made of software, 1280x720 at 25 frames a second and 2 Mbit/s of H.264, with AAC; and their URIs.
fn start_cameras(count: usize) -> Result<(Process, Vec<String>)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/camera.py");
    let mut child = Command::new("/usr/bin/python3")
        .arg(script)
        .args(["--port", "0", "--cameras", &count.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting scripts/camera.py")?;
    let said = child.stdout.take();
    let cameras = Process::of(child);
    let lines = said.into_iter().flat_map(|said| BufReader::new(said).lines());
    let uris: Vec<String> = lines
        .take(count)
        .filter_map(|line| Some(line.ok()?.strip_prefix("camera: rtsp://")?.to_owned()))
        .map(|rest| format!("rtspt://{rest}"))
        .collect();
    if uris.len() < count {
        return Err(Error::Server(
            "scripts/camera.py did not start; run scripts/setup.sh --camera".into(),
        ));
    }
    Ok((cameras, uris))
}

/// A moving picture of this size at 25 frames a second, H.264 without B-frames, and a tone.
fn make_film(file: &Path, size: &str, seconds: u64) -> Result<()> {
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i"])
        .arg(format!("testsrc2=size={size}:rate=25"))
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-t", &seconds.to_string(), "-g", "50", "-c:v", "libx264"])
        .args(["-preset", "ultrafast", "-b:v", "2M", "-c:a", "aac"])
        .arg(file)
        .status()
        .context("starting ffmpeg")?;
    match made.success() {
        true => Ok(()),
        false => Err(Error::Server(format!("ffmpeg ended: {made}"))),
    }
}

/// A folder for files, removed with this value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("kms-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).context("making a folder")?;
        Ok(Folder(path))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What was measured has to have been done.
    fn check(&self, name: &str) -> Result<()> {
        let size = std::fs::metadata(self.file(name)).map_or(0, |m| m.len());
        // A tenth of what a camera sends in the time before the measurement.
        match size > 100_000 {
            true => Ok(()),
            false => Err(Error::Server(format!("{name} has {size} bytes only"))),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Columns of the table of costs.
pub(crate) const HEADER: [&str; 7] = [
    "",
    "by",
    "CPU of a core",
    "RSS",
    "threads",
    "others",
    "pictures/s",
];

impl Cost {
    /// Share of one core.
    pub(crate) fn core(&self) -> f64 {
        self.cpu.as_secs_f64() / self.window.as_secs_f64()
    }

    /// A row of the table that [`HEADER`] begins.
    pub(crate) fn row(&self) -> [String; HEADER.len()] {
        [
            self.work.to_owned(),
            self.by.to_owned(),
            format!("{:.1}%", 100.0 * self.core()),
            format!("{:.0} MiB", self.usage.rss as f64 / 1024.0 / 1024.0),
            self.usage.threads.to_string(),
            format!(
                "{:.0}%",
                100.0 * self.others_cpu.as_secs_f64() / self.window.as_secs_f64()
            ),
            self.pictures.map_or(String::new(), |p| format!("{p:.1}")),
        ]
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "work": self.work,
            "by": self.by,
            "core": self.core(),
            "rss": self.usage.rss,
            "threads": self.usage.threads,
            "picturesPerSecond": self.pictures,
            "othersCore": self.others_cpu.as_secs_f64() / self.window.as_secs_f64(),
        })
    }
}
