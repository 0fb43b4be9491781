//! Endpoints at both ends.

use super::*;

#[tokio::test]
async fn over_one_port_and_ipv6_it_is_transcoded_to_what_the_other_side_takes() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let there = MediaPipeline::create(&client).await.unwrap();
    let a = RtpEndpoint::create(&client, &pipeline)
        .use_ipv6(true)
        .await
        .unwrap();
    let b = RtpEndpoint::create(&client, &there).await.unwrap();
    b.set_max_video_recv_bandwidth(300).await.unwrap();
    player.connect(&a).await.unwrap(); // before there is anything to send it to
    let offer = a.generate_offer().await.unwrap();
    assert!(offer.contains("c=IN IP6 "), "{offer}");
    // Only H.264 is left of the video that is offered, and all is to come over one port, from this machine.
    let offer: String = offer
        .lines()
        .map(|line| match line {
            line if line.starts_with("c=") => "c=IN IP6 ::1".to_owned(),
            line if line.starts_with("m=video") => {
                let words: Vec<&str> = line.split(' ').collect();
                format!("{} {} {} 98", words[0], words[1], words[2])
            }
            line => line.to_owned(),
        })
        .map(|line| line + "\r\n")
        .collect();
    let offer = offer.replace("a=mid:", "a=rtcp-mux\r\na=mid:");
    let answer = b.process_offer(&offer).await.unwrap();
    assert!(answer.contains("c=IN IP6 ::1"), "{answer}");
    assert_eq!(answer.matches("a=rtcp-mux").count(), 2, "{answer}");
    assert!(
        answer.contains("b=AS:300") && answer.contains("H264/90000"),
        "{answer}"
    );
    assert!(!answer.contains("VP8"), "{answer}");
    let rtcp = format!("a=rtcp:{}", port(&answer, "video"));
    assert!(answer.contains(&rtcp), "{answer}");
    a.process_answer(&answer).await.unwrap();
    player.play().await.unwrap();
    let file = folder.path("received.mp4");
    record(&client, &there, &b, &file, 4).await;
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["h264", "opus"]);
    assert!((2.5..7.0).contains(&seconds), "{seconds} s");
    // The encoder keeps to the bandwidth.
    let video = video_bits(&file) as f64 / seconds;
    assert!(video < 300_000.0, "{video} bit/s");
}

/// Bits of a file's video.
fn video_bits(file: &Path) -> u64 {
    let probed = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "packet=size",
            "-of",
            "csv=p=0",
        ])
        .arg(file)
        .output();
    let sizes = String::from_utf8(probed.unwrap().stdout).unwrap();
    sizes
        .lines()
        .filter_map(|l| l.trim_end_matches(',').parse::<u64>().ok())
        .sum::<u64>()
        * 8
}

#[tokio::test]
async fn keyframes_can_be_asked_for_over_rtcp() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let a = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let b = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let mut flows = b.on_media_flow_out_state_changed().await.unwrap();
    pair(&a, &b).await;
    player.connect(&a).await.unwrap();
    player.play().await.unwrap();
    within("media", flows.next()).await;
    within("media of the other kind", flows.next()).await;
    let requests = async |endpoint: &RtpEndpoint, kind| {
        let stats = endpoint.get_stats().await.unwrap();
        let of_kind = stats
            .values()
            .filter(|s| s.r#type == kind && s.extra["codecId"] == "VP8");
        let counts =
            of_kind.map(|s| s.extra["pliCount"].as_i64().unwrap() + s.extra["firCount"].as_i64().unwrap());
        counts.sum::<i64>()
    };
    let before = requests(&a, StatsType::Outboundrtp).await;
    for _ in 0..100 {
        b.request_keyframe().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if requests(&a, StatsType::Outboundrtp).await > before {
            assert!(requests(&b, StatsType::Inboundrtp).await > 0);
            return;
        }
    }
    panic!("no request came");
}

#[tokio::test]
async fn picture_and_sound_stay_together_over_rtp() {
    let folder = Folder::new();
    let file = folder.path("camera.mp4");
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let a = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let b = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let mut flows = b.on_media_flow_out_state_changed().await.unwrap();
    pair(&a, &b).await;
    player.connect(&a).await.unwrap();
    player.play().await.unwrap();
    within("media", flows.next()).await;
    within("media of the other kind", flows.next()).await;
    // Sender reports have come by then, by which the streams find together.
    tokio::time::sleep(Duration::from_secs(3)).await;
    record(&client, &pipeline, &b, &file, 8).await;
    let (codecs, _) = judge(&file);
    assert_eq!(codecs, ["h264", "opus"]);
    let worst = out_of_sync(&file, crate::recorder::REPORTED);
    assert!(worst.abs() < 60.0, "{worst} ms between flash and beep");
}

#[tokio::test]
async fn nothing_is_left_when_it_is_released() {
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let line = "m=audio 5004 RTP/AVP 0\r\na=sendonly\r\n".to_owned();
    let answer = endpoint.process_offer(&sdp("127.0.0.1", &[line])).await.unwrap();
    let port = port(&answer, "audio");
    let mut states = endpoint.on_media_state_changed().await.unwrap();
    let mut arguments = vec!["-v", "quiet", "-re", "-f", "lavfi"];
    let to = format!("rtp://127.0.0.1:{port}");
    arguments.extend(TONE);
    arguments.extend(["-c:a", "pcm_mulaw", "-ar", "8000", "-f", "rtp", &to]);
    let _sender = Peer::start("ffmpeg", &arguments);
    within("media", states.next()).await;
    assert!(
        daemon.thread_names().iter().any(|t| t == "rtp"),
        "{:?}",
        daemon.thread_names()
    );
    endpoint.release().await.unwrap();
    // GStreamer keeps a thread that has nothing to do for a while.
    for _ in 0..400 {
        let threads = daemon.thread_names();
        let gone = |name: &str| threads.iter().all(|t| !t.starts_with(name));
        let closed = [port, port + 1]
            .iter()
            .all(|p| std::net::UdpSocket::bind(("0.0.0.0", *p)).is_ok());
        if closed && gone("rtp") && gone("rtpsession") && gone("rtpjitter") && gone("appsrc") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("left: {:?}", daemon.thread_names());
}

#[tokio::test]
async fn codecs_that_are_costly_to_encode_are_passed_on() {
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let h265 = [
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-x265-params",
        "bframes=0:log-level=1",
        "-c:a",
        "aac",
    ];
    let vp9 = [
        "-c:v",
        "libvpx-vp9",
        "-pix_fmt",
        "yuv420p",
        "-deadline",
        "realtime",
        "-c:a",
        "libopus",
    ];
    for (source, codec, encoding) in [
        ("in.mp4", "H265", h265.as_slice()),
        ("in.webm", "VP9", vp9.as_slice()),
    ] {
        let folder = Folder::new();
        make(&folder.path(source), 10, encoding);
        let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path(source)))
            .await
            .unwrap();
        let a = RtpEndpoint::create(&client, &pipeline).await.unwrap();
        let b = RtpEndpoint::create(&client, &pipeline).await.unwrap();
        // What comes out is decoded, for one who takes VP8.
        let decoded = RtpEndpoint::create(&client, &pipeline).await.unwrap();
        let line = "m=video 9 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=recvonly\r\n".to_owned();
        decoded.process_offer(&sdp("127.0.0.1", &[line])).await.unwrap();
        b.connect(&decoded).await.unwrap();
        pair(&a, &b).await;
        player.connect(&a).await.unwrap();
        player.play().await.unwrap();
        received(&b, StatsType::Inboundrtp, "packetsReceived", codec).await;
        received(&decoded, StatsType::Outboundrtp, "packetsSent", "VP8").await;
        player.release().await.unwrap();
    }
}

/// Waits until statistics count some packets of a codec.
async fn received(endpoint: &RtpEndpoint, direction: StatsType, counter: &str, codec: &str) {
    for _ in 0..150 {
        let stats = endpoint.get_stats().await.unwrap();
        let mut streams = stats
            .values()
            .filter(|s| s.r#type == direction && s.extra["codecId"] == codec);
        if streams.any(|s| s.extra[counter].as_i64().unwrap() > 20) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no {codec}: {:?}", endpoint.get_stats().await.unwrap());
}

#[tokio::test]
async fn latency_from_a_camera_to_the_network_and_to_a_file_is_told() {
    let folder = Folder::new();
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    pipeline.set_latency_stats(true).await.unwrap();
    let player = camera.player(&client, &pipeline).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let line = format!(
        "m=video {} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=recvonly\r\n",
        free_ports()
    );
    endpoint.process_offer(&sdp("127.0.0.1", &[line])).await.unwrap();
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&folder.path("latency.mp4")))
        .media_profile(MediaProfileSpecType::Mp4VideoOnly)
        .await
        .unwrap();
    player.connect(&endpoint).await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    told("to the network", async || endpoint.get_stats().await.unwrap()).await;
    told("to a file", async || recorder.get_stats().await.unwrap()).await;
}

/// Waits until statistics say how old video is when it leaves.
async fn told(where_to: &str, statistics: impl AsyncFn() -> BTreeMap<String, Stats>) {
    for _ in 0..300 {
        let stats = statistics().await;
        let own = stats.values().find(|s| s.r#type == StatsType::Endpoint).unwrap();
        if let Some(latency) = own.extra["E2ELatency"].as_array().and_then(|l| l.first()) {
            assert_eq!(latency["type"], "VIDEO");
            let milliseconds = latency["avg"].as_f64().unwrap() / 1e6;
            // Packets that come in order don't wait for the cache. How long they take depends on how busy the machine is.
            assert!(
                (0.01..1_000.0).contains(&milliseconds),
                "{where_to}: {milliseconds} ms"
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing measured {where_to}");
}
