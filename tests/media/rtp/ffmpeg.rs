//! ffmpeg at the other end.

use super::*;

#[tokio::test]
async fn what_ffmpeg_sends_is_received_recorded_and_counted() {
    let folder = Folder::new();
    let file = folder.path("received.mp4");
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let mut connections = endpoint.on_connection_state_changed().await.unwrap();
    let mut states = endpoint.on_media_state_changed().await.unwrap();
    let mut flows = endpoint.on_media_flow_out_state_changed().await.unwrap();
    let offer = sdp(
        "127.0.0.1",
        &[
            "m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=sendonly\r\n".into(),
            "m=audio 5006 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=sendonly\r\n".into(),
        ],
    );
    let answer = endpoint.process_offer(&offer).await.unwrap();
    assert_eq!(answer.matches("a=recvonly").count(), 2, "{answer}");
    assert_eq!(
        within("a connection", connections.next()).await.new_state,
        ConnectionState::Connected
    );
    assert_eq!(endpoint.media_state().await.unwrap(), MediaState::Disconnected);

    let to = |kind| format!("rtp://127.0.0.1:{}", port(&answer, kind));
    let ffmpeg = send(
        &H264,
        &to("video"),
        &["-c:a", "libopus", "-payload_type", "97"],
        &to("audio"),
    );
    assert_eq!(
        within("media", states.next()).await.new_state,
        MediaState::Connected
    );
    within("a flow", flows.next()).await;
    within("a second flow", flows.next()).await;
    record(&client, &pipeline, &endpoint, &file, 5).await;

    let stats = endpoint.get_stats().await.unwrap();
    let inbound: Vec<_> = stats
        .values()
        .filter(|s| s.r#type == StatsType::Inboundrtp)
        .collect();
    assert_eq!(inbound.len(), 2, "{stats:?}");
    for stream in inbound.into_iter().map(|s| &s.extra) {
        assert!(stream["packetsReceived"].as_i64().unwrap() > 50, "{stream:?}");
        assert!(stream["bytesReceived"].as_i64().unwrap() > 1_000, "{stream:?}");
        assert!(stream["packetsLost"].as_i64().unwrap() <= 0, "{stream:?}");
        assert!(stream["jitter"].as_f64().unwrap() < 1.0, "{stream:?}");
    }
    assert!(endpoint.element_gstreamer_dot().await.unwrap().contains("rtpbin"));
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["h264", "opus"]);
    assert!((3.5..8.0).contains(&seconds), "{seconds} s");

    drop(ffmpeg);
    assert_eq!(
        within("silence", states.next()).await.new_state,
        MediaState::Disconnected
    );
}

#[tokio::test]
async fn ffmpeg_receives_what_is_sent() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let (video, audio) = (free_ports(), free_ports());
    // Audio is wanted in another codec than it comes in.
    let lines = [
        format!("m=video {video} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=recvonly\r\n"),
        format!("m=audio {audio} RTP/AVP 8\r\na=recvonly\r\n"),
    ];
    let answer = endpoint.process_offer(&sdp("127.0.0.1", &lines)).await.unwrap();
    assert_eq!(answer.matches("a=sendonly").count(), 2, "{answer}");
    // One ffmpeg each: over two streams it jumps in time when the first sender report comes.
    let mut files = Vec::new();
    for (line, codec) in lines.iter().zip(["vp8", "pcm_alaw"]) {
        let description = folder.path(&format!("{codec}.sdp"));
        std::fs::write(&description, sdp("127.0.0.1", std::slice::from_ref(line))).unwrap();
        let out = folder.path(&format!("{codec}.mkv"));
        files.push((codec, receive(&description, &out), out));
    }
    player.connect(&endpoint).await.unwrap();
    player.play().await.unwrap();
    for (codec, ffmpeg, out) in &mut files {
        ffmpeg.ended().await;
        let (codecs, seconds) = judge(out);
        assert_eq!(codecs, [*codec]);
        assert!((2.5..6.0).contains(&seconds), "{seconds} s");
    }
    let stats = endpoint.get_stats().await.unwrap();
    let outbound: Vec<_> = stats
        .values()
        .filter(|s| s.r#type == StatsType::Outboundrtp)
        .collect();
    assert_eq!(outbound.len(), 2, "{stats:?}");
    for stream in outbound {
        assert!(stream.extra["packetsSent"].as_i64().unwrap() > 50, "{stream:?}");
    }
}
