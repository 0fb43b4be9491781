//! Who is listened to, and what is not taken.

use super::*;

#[tokio::test]
async fn a_remote_that_asks_for_it_gets_media_where_its_own_comes_from() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    // Nobody is where this description says.
    let line = "m=audio 9 RTP/AVP 0\r\na=sendrecv\r\na=direction:active\r\n".to_owned();
    let answer = endpoint.process_offer(&sdp("127.0.0.1", &[line])).await.unwrap();
    assert!(answer.contains("a=direction:passive"), "{answer}");
    let player = player(&client, &pipeline, &folder).await;
    player.connect(&endpoint).await.unwrap();
    player.play().await.unwrap();

    let to = ("127.0.0.1", port(&answer, "audio"));
    let mut received = [0; 2048];
    let [remote, stranger] = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    for socket in [&remote, &stranger] {
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    }
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    packet.extend([0xff; 160]);
    let mut answered = 0;
    for sequence in 0..60_u8 {
        packet[3] = sequence;
        remote.send_to(&packet, to).unwrap();
        // A stranger who would like to have it sends too: at once, and while the remote does.
        if sequence > 0 {
            stranger.send_to(&packet, to).unwrap();
        }
        if let Ok((length, from)) = remote.recv_from(&mut received) {
            assert_eq!(from.port(), to.1);
            assert_eq!((received[0], received[1] & 0x7f), (0x80, 0), "{length} bytes");
            answered += 1;
        }
        if answered == 20 {
            break;
        }
    }
    assert_eq!(answered, 20, "media comes back");
    stranger.set_nonblocking(true).unwrap();
    assert!(
        stranger.recv_from(&mut received).is_err(),
        "the stranger gets nothing"
    );
}

#[tokio::test]
async fn what_is_no_description_is_refused_and_what_is_unknown_is_rejected() {
    use protocol::Code;
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let refused = async |offer: &str| endpoint.process_offer(offer).await.unwrap_err().code().unwrap();
    assert_eq!(refused("").await, Code::SdpParse);
    assert_eq!(refused("hello").await, Code::SdpParse);
    let line = || "m=audio 5004 RTP/AVP 0\r\n".to_owned();
    assert_eq!(
        refused(&sdp("example.com", &[line()])).await,
        Code::SdpProcessOffer
    );
    assert_eq!(refused(&sdp("239.1.1.1", &[line()])).await, Code::SdpProcessOffer);
    let early = endpoint.process_answer(&sdp("127.0.0.1", &[line()])).await;
    assert_eq!(early.unwrap_err().code(), Some(Code::SdpNoOffer));
    let missing = endpoint.get_local_session_descriptor().await;
    assert_eq!(missing.unwrap_err().code(), Some(Code::SdpNoLocal));

    let unknown = "m=video 5006 RTP/AVP 96\r\na=rtpmap:96 H261/90000\r\n".to_owned();
    let data = "m=application 5008 UDP/BFCP *\r\n".to_owned();
    let answer = endpoint
        .process_offer(&sdp("127.0.0.1", &[unknown, line(), data]))
        .await
        .unwrap();
    let lines: Vec<&str> = answer.lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(lines[0], "m=video 0 RTP/AVP 96");
    assert!(
        lines[1].starts_with("m=audio ") && lines[1].ends_with(" RTP/AVP 0"),
        "{answer}"
    );
    assert_eq!(lines[2], "m=application 0 UDP/BFCP *");
    let again = endpoint.process_offer(&sdp("127.0.0.1", &[line()])).await;
    assert_eq!(again.unwrap_err().code(), Some(Code::SdpAlreadyNegotiated));
}

#[tokio::test]
async fn hostile_packets_harm_neither_the_server_nor_who_comes_after() {
    let folder = Folder::new();
    let file = folder.path("received.mp4");
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let line =
        "m=video 5004 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack pli\r\na=sendonly\r\n";
    let audio = "m=audio 5006 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=sendonly\r\n";
    let offer = sdp("127.0.0.1", &[line.to_owned(), audio.to_owned()]);
    let answer = endpoint.process_offer(&offer).await.unwrap();
    let mut states = endpoint.on_media_state_changed().await.unwrap();
    let recorder = recorder(&client, &pipeline, &file).await;
    let mut recording = recorder.on_recording().await.unwrap();
    endpoint.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (rtp, rtcp) = (port(&answer, "video"), port(&answer, "video") + 1);
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for round in 0..3_000_u32 {
        let mut packet = vec![0x80, 96];
        packet.extend((round as u16).to_be_bytes());
        packet.extend((round * 3_000).to_be_bytes());
        // Mostly one stream; some of many others.
        packet.extend(if round % 10 == 0 { round } else { 7 }.to_be_bytes());
        packet.extend(noise(&mut seed, 1 + round as usize % 1_400));
        socket.send_to(&packet, ("127.0.0.1", rtp)).unwrap();
        let length = round as usize % 200;
        socket
            .send_to(&noise(&mut seed, length), ("127.0.0.1", rtp))
            .unwrap();
        let mut report = vec![0x81, 200 + (round % 8) as u8, 0, (length / 4) as u8];
        report.extend(noise(&mut seed, length));
        socket.send_to(&report, ("127.0.0.1", rtcp)).unwrap();
        if round % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(
        within("media", states.next()).await.new_state,
        MediaState::Connected
    );
    assert_eq!(
        within("silence", states.next()).await.new_state,
        MediaState::Disconnected
    );

    let to = |kind| format!("rtp://127.0.0.1:{}", port(&answer, kind));
    let _ffmpeg = send(
        &H264,
        &to("video"),
        &["-c:a", "libopus", "-payload_type", "97"],
        &to("audio"),
    );
    assert_eq!(
        within("media", states.next()).await.new_state,
        MediaState::Connected
    );
    within("Recording", recording.next()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    recorder.stop_and_wait().await.unwrap();
    let size = std::fs::metadata(&file).unwrap().len();
    assert!(size > 50_000, "{size} bytes");
}
