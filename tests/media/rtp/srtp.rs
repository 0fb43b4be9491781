//! SRTP: each suite, with ffmpeg, with GStreamer, and among strangers.

use super::*;

#[tokio::test]
async fn each_suite_encrypts_from_endpoint_to_endpoint() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let there = MediaPipeline::create(&client).await.unwrap();
    let suites = [
        (CryptoSuite::Aes128CmHmacSha132, 30),
        (CryptoSuite::Aes128CmHmacSha180, 30),
        (CryptoSuite::Aes256CmHmacSha132, 46),
        (CryptoSuite::Aes256CmHmacSha180, 46),
    ];
    player.play().await.unwrap();
    for (suite, length) in suites {
        let crypto = SDES {
            crypto: Some(suite),
            key: Some("k".repeat(length)),
            key_base64: None,
        };
        let a = RtpEndpoint::create(&client, &pipeline)
            .crypto(&crypto)
            .await
            .unwrap();
        let crypto = SDES {
            crypto: Some(suite),
            key: None,
            key_base64: None,
        };
        let b = RtpEndpoint::create(&client, &there)
            .crypto(&crypto)
            .await
            .unwrap();
        let mut flows = b.on_media_flow_out_state_changed().await.unwrap();
        let (offer, answer) = pair(&a, &b).await;
        assert!(
            offer.contains("RTP/SAVPF") && offer.contains("a=crypto:1 AES_"),
            "{offer}"
        );
        assert!(
            answer.contains("RTP/SAVPF") && answer.contains("a=crypto:1 AES_"),
            "{answer}"
        );
        player.connect(&a).await.unwrap();
        within("media", flows.next()).await;
        within("media of the other kind", flows.next()).await;
        // It is what was sent: it can be decoded.
        let file = folder.path(&format!("{suite:?}.webm"));
        record(&client, &there, &b, &file, 1).await;
        let (codecs, _) = judge(&file);
        assert_eq!(codecs, ["opus", "vp8"], "{suite:?}");
        a.release().await.unwrap();
        b.release().await.unwrap();
    }
}

#[tokio::test]
async fn ffmpeg_sends_and_receives_srtp() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    // In: the endpoint was made without a suite, and takes the one that is offered.
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let offer = sdp(
        "127.0.0.1",
        &[format!(
            "m=video 5004 RTP/SAVP 96\r\na=rtpmap:96 VP8/90000\r\na=sendonly\r\n\
             a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\n"
        )],
    );
    let answer = endpoint.process_offer(&offer).await.unwrap();
    assert!(
        answer.contains("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"),
        "{answer}"
    );
    assert!(!answer.contains(KEY), "each side has a key of its own");
    let mut arguments = PICTURE[..7].to_vec();
    let to = format!("srtp://127.0.0.1:{}", port(&answer, "video"));
    arguments.extend(VP8);
    arguments.extend([
        "-srtp_out_suite",
        "AES_CM_128_HMAC_SHA1_80",
        "-srtp_out_params",
        KEY,
    ]);
    arguments.extend(["-payload_type", "96", "-f", "rtp", to.as_str()]);
    let sender = Peer::start("ffmpeg", &arguments);

    // Out: a client's key, to which ffmpeg has the answer.
    let crypto = SDES {
        crypto: Some(CryptoSuite::Aes128CmHmacSha180),
        key: None,
        key_base64: Some(KEY.into()),
    };
    let out = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let video = free_ports();
    let line = format!("m=video {video} RTP/SAVP 96\r\na=rtpmap:96 VP8/90000\r\na=recvonly\r\n");
    let refused = out
        .process_offer(&sdp("127.0.0.1", &[line.replace("SAVP", "AVP")]))
        .await
        .unwrap();
    assert!(
        refused.contains("m=video 0 RTP/AVP 96"),
        "not in clear: {refused}"
    );
    let out = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let line = format!("{line}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    let answer = out
        .process_offer(&sdp("127.0.0.1", std::slice::from_ref(&line)))
        .await
        .unwrap();
    assert!(answer.contains(KEY), "{answer}");
    let (description, file) = (folder.path("in.sdp"), folder.path("out.mkv"));
    std::fs::write(&description, sdp("127.0.0.1", &[line])).unwrap();
    let mut receiver = receive(&description, &file);
    endpoint.connect(&out).await.unwrap();
    receiver.ended().await;
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["vp8"]);
    assert!((2.5..6.0).contains(&seconds), "{seconds} s");
    drop(sender);
    let log = daemon.log();
    assert!(!log.contains(KEY), "{log}");
}

#[tokio::test]
async fn gstreamer_sends_and_receives_with_long_keys() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    // 46 bytes, as GStreamer and as descriptions write them.
    let (hex, base64) = ("6b".repeat(46), format!("{}aw==", "a2tr".repeat(15)));
    let crypto = SDES {
        crypto: Some(CryptoSuite::Aes256CmHmacSha132),
        key: Some("k".repeat(46)),
        key_base64: None,
    };
    let line = |port: u16, direction: &str| {
        format!(
            "m=video {port} RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na={direction}\r\n\
             a=crypto:1 AES_256_CM_HMAC_SHA1_32 inline:{base64}\r\n"
        )
    };
    let of = |direction| sdp("127.0.0.1", &[line(free_ports(), direction)]);
    let receiving = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let answer = receiving.process_offer(&of("sendonly")).await.unwrap();
    let suite = "rtp-cipher=aes-256-icm rtp-auth=hmac-sha1-32 rtcp-cipher=aes-256-icm rtcp-auth=hmac-sha1-80";
    let pipeline_of_sender = format!(
        "videotestsrc is-live=true ! video/x-raw,width=320,height=240 ! vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay pt=96 ! \
         srtpenc key={hex} {suite} ! udpsink host=127.0.0.1 port={}",
        port(&answer, "video")
    );
    let arguments: Vec<&str> = pipeline_of_sender.split(' ').collect();
    let _sender = Peer::start("gst-launch-1.0", &[&["-q"], &arguments[..]].concat());

    let sending = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let offer = of("recvonly");
    let answer = sending.process_offer(&offer).await.unwrap();
    let ssrc = answer.lines().find_map(|l| l.strip_prefix("a=ssrc:")).unwrap();
    let ssrc = ssrc.split(' ').next().unwrap();
    let file = folder.path("out.mkv");
    let pipeline_of_receiver = format!(
        "udpsrc port={} num-buffers=150 \
         caps=application/x-srtp,media=video,clock-rate=90000,payload=96,encoding-name=VP8,ssrc=(uint){ssrc},srtp-key=(buffer){hex},\
         srtp-cipher=aes-256-icm,srtp-auth=hmac-sha1-32,srtcp-cipher=aes-256-icm,srtcp-auth=hmac-sha1-80 ! \
         srtpdec ! rtpjitterbuffer latency=50 ! rtpvp8depay wait-for-keyframe=true ! matroskamux ! filesink location={}",
        port(&offer, "video"),
        file.display()
    );
    let arguments: Vec<&str> = pipeline_of_receiver.split(' ').collect();
    let mut receiver = Peer::start("gst-launch-1.0", &[&["-q"], &arguments[..]].concat());
    receiving.connect(&sending).await.unwrap();
    receiver.ended().await;
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["vp8"]);
    assert!(seconds > 0.5, "{seconds} s");
}

#[tokio::test]
async fn strangers_do_not_disturb_what_is_encrypted() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let crypto = SDES {
        crypto: Some(CryptoSuite::Aes256CmHmacSha180),
        key: None,
        key_base64: None,
    };
    let a = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let b = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let mut flows = b.on_media_flow_out_state_changed().await.unwrap();
    let mut states = b.on_media_state_changed().await.unwrap();
    let (_, answer) = pair(&a, &b).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (video, mut seed) = (port(&answer, "video"), 1);
    let mut disturb = || {
        for round in 0..300_u32 {
            let mut packet = vec![0x80, if round % 3 == 0 { 200 } else { 97 }];
            packet.extend(noise(&mut seed, 100));
            socket.send_to(&packet, ("127.0.0.1", video)).unwrap();
        }
    };
    disturb();
    assert_eq!(b.media_state().await.unwrap(), MediaState::Disconnected);
    player.connect(&a).await.unwrap();
    player.play().await.unwrap();
    within("media", flows.next()).await;
    within("media of the other kind", flows.next()).await;
    assert_eq!(
        within("media", states.next()).await.new_state,
        MediaState::Connected
    );
    let file = folder.path("received.webm");
    let recorder = recorder(&client, &pipeline, &file).await;
    let mut recording = recorder.on_recording().await.unwrap();
    b.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    within("Recording", recording.next()).await;
    for _ in 0..10 {
        disturb();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    recorder.stop_and_wait().await.unwrap();
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["opus", "vp8"]);
    assert!(seconds > 1.5, "{seconds} s");
    let stats = b.get_stats().await.unwrap();
    let inbound = stats.values().filter(|s| s.r#type == StatsType::Inboundrtp);
    assert_eq!(inbound.count(), 2, "{stats:?}");
}
