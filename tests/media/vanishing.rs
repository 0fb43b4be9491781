//! A client that vanishes while its pipeline plays: its session is collected, and everything ends.

use std::time::{Duration, Instant};

use kms_client::api::types::MediaProfileSpecType;
use kms_client::{Client, api::*};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{WEBM, within};
use crate::recorder::judge;

/// Until the session is collected, and GStreamer's idle threads are gone.
const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn all_that_a_vanished_client_had_ends() {
    let folder = Folder::new();
    make(&folder.path("in.webm"), 60, &WEBM);
    let daemon = Daemon::with_config("[session]\ngarbage_collector_period_s = 1\n");
    let watcher = Client::connect(&format!("ws://{}/kurento", daemon.address))
        .await
        .unwrap();
    let others = (daemon.threads(), daemon.descriptors());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();

    // It ends with its runtime, in the middle of everything: no word is said, and connections are just gone.
    let its = tokio::runtime::Runtime::new().unwrap();
    let address = daemon.address;
    let (played, recorded) = (uri(&folder.path("in.webm")), uri(&folder.path("out.webm")));
    let begun = its.spawn(async move { begin(&address.to_string(), &played, &recorded, port).await });
    begun.await.unwrap();
    let mut packet = [0; 2048];
    for _ in 0..20 {
        socket.recv(&mut packet).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3)).await; // of which there is a recording
    its.shutdown_background();

    let deadline = Instant::now() + PATIENCE;
    let manager = "manager_ServerManager".into();
    while watcher.invoke(&manager, "getPipelines", json!({})).await.unwrap() != Value::Array(Vec::new()) {
        assert!(Instant::now() < deadline, "its pipeline is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    while socket.try_recv(&mut packet).is_ok() {}
    let silence = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut packet)).await;
    assert!(silence.is_err(), "packets still come");
    while daemon.threads() > others.0 + 2 || daemon.descriptors() > others.1 + 2 {
        let now = (daemon.threads(), daemon.descriptors());
        assert!(
            Instant::now() < deadline,
            "{now:?} threads and descriptors, {others:?} before: {:?}",
            daemon.thread_names()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (codecs, seconds) = judge(&folder.path("out.webm"));
    assert_eq!(codecs, ["opus", "vp8"]);
    assert!(seconds > 1.0, "{seconds} s were recorded");
}

/// A client that plays, records and sends. It is leaked, so that it lasts as long as its runtime.
async fn begin(address: &str, played: &str, recorded: &str, port: u16) {
    let client = Client::connect(&format!("ws://{address}/kurento")).await.unwrap();
    let pipeline = MediaPipeline::create(&client).await.unwrap();
    let player = PlayerEndpoint::create(&client, &pipeline, played).await.unwrap();
    let recorder = RecorderEndpoint::create(&client, &pipeline, recorded)
        .media_profile(MediaProfileSpecType::Webm)
        .await
        .unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    let rtp = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video {port} RTP/AVP 96\r\n\
         a=rtpmap:96 VP8/90000\r\na=recvonly\r\n"
    );
    rtp.process_offer(&offer).await.unwrap();
    player.connect(&recorder).await.unwrap();
    player.connect(&rtp).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", recording.next()).await;
    std::mem::forget(client);
}
