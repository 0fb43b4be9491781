//! Troubles of the machine itself: paths that can't be written, clocks that are set, interfaces that go down and come back.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kms_client::api::types::MediaProfileSpecType;
use kms_client::api::*;

use crate::camera::Camera;
use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::network::{Namespace, in_own_network, run};
use crate::player::{pipeline, within};
use crate::recorder::judge;
use crate::recorder_faults::Mount;

#[tokio::test]
async fn what_cannot_be_written_is_told_and_all_else_goes_on() {
    let folder = Folder::new();
    let _sealed = Mount::new(&folder.path("sealed"), &["-t", "tmpfs", "-o", "ro", "tmpfs"]);
    std::fs::write(folder.path("file"), "no directory").unwrap();
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let well = folder.path("well.mp4");
    let mut recorders = Vec::new();
    for path in ["sealed/camera.mp4", "file/camera.mp4", "well.mp4"] {
        let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&folder.path(path)))
            .media_profile(MediaProfileSpecType::Mp4)
            .await
            .unwrap();
        let errors = recorder.on_error().await.unwrap();
        let stopped = recorder.on_stopped().await.unwrap();
        player.connect(&recorder).await.unwrap();
        recorder.record().await.unwrap();
        recorders.push((recorder, errors, stopped));
    }
    player.play().await.unwrap();
    let [sealed, file, good] = &mut recorders[..] else {
        unreachable!("three were made")
    };
    for ((recorder, errors, stopped), why) in [(sealed, "Read-only"), (file, "is a file, not a directory")] {
        let error = within("Error", errors.next()).await;
        assert!(error.description.contains(why), "{}", error.description);
        within("Stopped", stopped.next()).await;
        // It answers on, and says the same when it is told to try again.
        recorder.record().await.unwrap();
        let again = within("Error", errors.next()).await;
        assert_eq!(again.description, error.description);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let sealed = uri(&folder.path("sealed/picture.jpg"));
    let refused = good.0.take_snapshot().uri(&sealed).await.unwrap_err().to_string();
    assert!(refused.contains("Read-only"), "{refused}");
    good.0.stop_and_wait().await.unwrap();
    let (codecs, seconds) = judge(&well);
    assert_eq!(codecs, ["aac", "h264"]);
    assert!(seconds > 2.0, "{seconds} s");
}

/// A daemon whose wall clock the test sets; time that only goes on, which media is timed by, is left alone.
struct Clock {
    offset: std::path::PathBuf,
    daemon: Daemon,
}

impl Clock {
    fn start(folder: &Folder) -> Clock {
        let libraries = std::fs::read_dir("/usr/lib").unwrap();
        let library = libraries
            .map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"))
            .find(|path| path.exists())
            .expect("libfaketime is installed");
        let offset = folder.path("clock");
        std::fs::write(&offset, "+0").unwrap();
        let variables = [
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DONT_RESET", "1"),
        ];
        let daemon = Daemon::with_variables(&variables, "");
        Clock { offset, daemon }
    }

    /// Sets the clock so many seconds from the true time.
    fn set(&self, seconds: i64) {
        // By renaming, so that it is never read half.
        let next = self.offset.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}")).unwrap();
        std::fs::rename(next, &self.offset).unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_and_on_harms_no_recording_and_no_session() {
    const HOUR: i64 = 3_600;
    let folder = Folder::new();
    let clock = Clock::start(&folder);
    let camera = Camera::start(&["--port", "0"]);
    let (client, pipeline) = pipeline(&clock.daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let pattern = format!("{}/{{n}}.mp4", folder.path("").display());
    let recorder = RecorderEndpoint::create(&client, &pipeline, &pattern)
        .media_profile(MediaProfileSpecType::Mp4)
        .segment_duration(2_000)
        .await
        .unwrap();
    let mut files = recorder.on_file_recorded().await.unwrap();
    let mut losses = player.on_connection_lost().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.unwrap().as_secs() as i64
    };
    for offset in [0, -HOUR, 24 * HOUR, 0] {
        clock.set(offset);
        // What began before is of the clock before. To judge files may take longer than to record them.
        let mut of_now = 0;
        for _ in 0..15 {
            let file = within("a file", files.next()).await;
            let told = file.start / 1_000 - now();
            if !(offset - 120..offset + 5).contains(&told) {
                assert_eq!(of_now, 0, "{told} s from now, the clock is {offset} s off");
                continue;
            }
            of_now += 1;
            assert!((1_500..6_500).contains(&file.duration), "{file:?}");
            let (codecs, seconds) = judge(std::path::Path::new(file.uri.trim_start_matches("file://")));
            assert_eq!(codecs, ["aac", "h264"]);
            assert!(
                (seconds * 1_000.0 - file.duration as f64).abs() < 150.0,
                "{seconds} s, {file:?}"
            );
            if of_now == 2 {
                break;
            }
        }
        assert_eq!(of_now, 2, "the names follow the clock, which is {offset} s off");
    }
    recorder.stop_and_wait().await.unwrap();
    let lost = tokio::time::timeout(Duration::from_millis(100), losses.next()).await;
    assert!(lost.is_err(), "the camera was never away: {lost:?}");
    // The session is the same, and so is what it made.
    assert!(!pipeline.children().await.unwrap().is_empty());
}

/// Counts packets that come to a port in a namespace.
struct Listener {
    child: Child,
    count: Arc<AtomicU64>,
}

impl Listener {
    fn start(namespace: &str, address: &str, port: u16) -> Listener {
        let script = format!(
            "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('{address}', {port}))\nprint('bound', flush=True)\n\
             while True:\n    s.recv(2048)\n    print('.', flush=True)\n"
        );
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace, "/usr/bin/python3", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "bound");
        let count = Arc::new(AtomicU64::new(0));
        let counting = count.clone();
        std::thread::spawn(move || {
            while let Some(Ok(_)) = lines.next() {
                counting.fetch_add(1, Ordering::Relaxed);
            }
        });
        Listener { child, count }
    }

    /// Waits until more packets come.
    async fn hears(&self, what: &str) {
        let before = self.count.load(Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(15);
        while self.count.load(Ordering::Relaxed) < before + 100 {
            assert!(Instant::now() < deadline, "no packets {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn an_interface_that_goes_down_and_comes_back_brings_media_back() {
    let name = "adversity::an_interface_that_goes_down_and_comes_back_brings_media_back";
    if !in_own_network(name, &[]) {
        return;
    }
    let far = Namespace::new(&format!("kms-far-{}", std::process::id()));
    run(
        "ip",
        &[
            "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &far.0,
        ],
    );
    run("ip", &["address", "add", "10.77.0.1/24", "dev", "near"]);
    run("ip", &["link", "set", "near", "up"]);
    run(
        "ip",
        &["-n", &far.0, "address", "add", "10.77.0.2/24", "dev", "far"],
    );
    run("ip", &["-n", &far.0, "link", "set", "far", "up"]);
    run("ip", &["-n", &far.0, "link", "set", "lo", "up"]);

    let folder = Folder::new();
    make(
        &folder.path("film.webm"),
        30,
        &["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-an"],
    );
    let camera = Camera::start_in(&far.0, &["--port", "0", "--address", "10.77.0.2"]);
    let listener = Listener::start(&far.0, "10.77.0.2", 5004);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;

    // In: a camera, recorded. Out: a film over RTP.
    let player = camera.player(&client, &pipeline).await;
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&folder.path("camera.mp4")))
        .media_profile(MediaProfileSpecType::Mp4)
        .await
        .unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    let mut losses = player.on_connection_lost().await.unwrap();
    let mut returns = player.on_connection_restored().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    let film = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("film.webm")))
        .await
        .unwrap();
    let sender = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    film.connect(&sender).await.unwrap();
    let offer = "v=0\r\no=- 1 1 IN IP4 10.77.0.2\r\ns=-\r\nc=IN IP4 10.77.0.2\r\nt=0 0\r\n\
                 m=video 5004 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=recvonly\r\n";
    sender.process_offer(offer).await.unwrap();
    film.play().await.unwrap();
    within("Recording", recording.next()).await;
    listener.hears("before").await;

    run("ip", &["link", "set", "near", "down"]);
    let away = Instant::now();
    within("the loss", losses.next()).await;
    assert!(away.elapsed() < Duration::from_secs(6), "{:?}", away.elapsed());
    // Whoever asks is answered meanwhile.
    assert!(recorder.name().await.is_ok());
    tokio::time::sleep(Duration::from_secs(2)).await;
    run("ip", &["link", "set", "near", "up"]);
    let back = Instant::now();
    within("the return", returns.next()).await;
    listener.hears("after").await;
    println!("media was back after {:?}", back.elapsed());
    tokio::time::sleep(Duration::from_secs(3)).await;
    recorder.stop_and_wait().await.unwrap();
    let (codecs, seconds) = judge(&folder.path("camera.mp4"));
    assert_eq!(codecs, ["aac", "h264"]);
    assert!(seconds > 6.0, "it goes over the loss: {seconds} s");
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}
