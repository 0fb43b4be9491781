//! Recordings that go to a server: S3 (moto, made of software) and HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kms_client::api::types::MediaProfileSpecType;
use kms_client::api::*;

use crate::camera::Camera;
use crate::daemon::Daemon;
use crate::files::Folder;
use crate::player::{pipeline, within};
use crate::recorder::judge;

/// How long anything may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(40);

/// A process that is killed with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An S3 with an empty bucket `recordings`.
struct Moto {
    _process: Process,
}

impl Moto {
    fn start(port: u16) -> Moto {
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin/moto_server");
        let child = Command::new(server)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/setup.sh --test installs moto");
        let moto = Moto {
            _process: Process(child),
        };
        let deadline = Instant::now() + PATIENCE;
        while request(port, "PUT", "/recordings").is_none_or(|(head, _)| !head.contains(" 200 ")) {
            assert!(Instant::now() < deadline, "moto does not answer");
            std::thread::park_timeout(Duration::from_millis(100));
        }
        moto
    }
}

/// Head and body of an answer.
fn request(port: u16, method: &str, path: &str) -> Option<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    // Moto wants to know who asks, and believes it.
    let who = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let text = format!(
        "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1\r\nauthorization: {who}\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    Some((head, answer[end + 4..].to_vec()))
}

/// Gets an object into a file, once it is there; its head.
async fn fetch(port: u16, path: &str, file: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = request(port, "GET", path);
        let seen = format!("{answer:?}");
        if let Some((head, body)) = answer
            && head.lines().next().is_some_and(|line| line.contains(" 200 "))
        {
            std::fs::write(file, body).unwrap();
            return head.to_lowercase();
        }
        assert!(Instant::now() < deadline, "{path} is never there: {seen}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A daemon that stores in that S3, with a spool in the folder.
fn daemon(folder: &Folder, s3_port: u16) -> Daemon {
    Daemon::with_config(&format!(
        "[recorder]\nspool = '{}'\ns3_endpoint = 'http://127.0.0.1:{s3_port}'\ns3_region = 'us-east-1'\n\
         s3_access_key_id = 'testing'\ns3_secret_access_key = 'verysecretkey'\n",
        folder.path("spool").display()
    ))
}

fn spooled(folder: &Folder) -> usize {
    let entries = std::fs::read_dir(folder.path("spool")).unwrap();
    entries.flatten().filter(|e| e.file_name() != "lock").count()
}

#[tokio::test]
async fn segments_go_to_s3_over_an_outage_and_the_end_of_the_server() {
    let folder = Folder::new();
    let port = free_port();
    let source = Camera::start(&["--port", "0"]);
    let first = daemon(&folder, port);
    {
        let (client, pipeline) = pipeline(&first).await;
        let player = source.player(&client, &pipeline).await;
        let recorder = RecorderEndpoint::create(&client, &pipeline, "s3://recordings/{name}/{n}.mp4")
            .media_profile(MediaProfileSpecType::Mp4)
            .segment_duration(2_000)
            .await
            .unwrap();
        recorder.set_name("door").await.unwrap();
        let mut recorded = recorder.on_file_recorded().await.unwrap();
        let mut uploaded = recorder.on_file_uploaded().await.unwrap();
        let mut errors = recorder.on_error().await.unwrap();
        player.connect(&recorder).await.unwrap();
        recorder.record().await.unwrap();
        player.play().await.unwrap();
        let file = within("a file", recorded.next()).await;
        assert_eq!(file.uri, "s3://recordings/door/1.mp4");
        // Nobody is there yet; the recording goes on.
        let error = within("an error", errors.next()).await;
        assert!(error.description.contains("tried again"), "{}", error.description);
        {
            let _moto = Moto::start(port);
            let stored = tokio::time::timeout(PATIENCE, uploaded.next())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(stored.uri, file.uri);
            assert_eq!(stored.size, file.size);
            fetch(port, "/recordings/door/1.mp4", &folder.path("1.mp4")).await;
        }
        // It is gone again, and now the daemon is, too.
        while within("a file", recorded.next()).await.uri != "s3://recordings/door/5.mp4" {}
        drop(first);
    }
    assert!(spooled(&folder) > 0);
    let _moto = Moto::start(port);
    let second = daemon(&folder, port);
    fetch(port, "/recordings/door/5.mp4", &folder.path("5.mp4")).await;
    for name in ["1.mp4", "5.mp4"] {
        let (codecs, seconds) = judge(&folder.path(name));
        assert_eq!(codecs, ["aac", "h264"]);
        assert!((1.5..5.0).contains(&seconds), "{name}: {seconds} s");
    }
    let deadline = Instant::now() + PATIENCE;
    while spooled(&folder) > 0 {
        assert!(
            Instant::now() < deadline,
            "something is left in the spool:\n{}",
            second.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!second.log().contains("verysecretkey"));
}

#[tokio::test]
async fn a_large_recording_is_sent_in_parts_while_it_grows() {
    let folder = Folder::new();
    let port = free_port();
    let _moto = Moto::start(port);
    let source = Camera::start(&[
        "--port", "0", "--video", "mjpeg", "--audio", "none", "--width", "1280", "--height", "720", "--fps",
        "15",
    ]);
    let daemon = daemon(&folder, port);
    let (client, pipeline) = pipeline(&daemon).await;
    let player = source.player(&client, &pipeline).await;
    let recorder = RecorderEndpoint::create(&client, &pipeline, "s3://recordings/large.mkv")
        .media_profile(MediaProfileSpecType::MkvVideoOnly)
        .await
        .unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    let mut uploaded = recorder.on_file_uploaded().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", recording.next()).await;
    let grown = || {
        let entries = std::fs::read_dir(folder.path("spool")).unwrap().flatten();
        entries
            .filter_map(|e| e.metadata().ok())
            .map(|m| m.len())
            .max()
            .unwrap_or(0)
    };
    let deadline = Instant::now() + Duration::from_secs(90);
    while grown() < 20_000_000 {
        assert!(
            Instant::now() < deadline,
            "it grows too slowly: {} bytes",
            grown()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    recorder.stop_and_wait().await.unwrap();
    let stored = tokio::time::timeout(PATIENCE, uploaded.next())
        .await
        .unwrap()
        .unwrap();
    let head = fetch(port, "/recordings/large.mkv", &folder.path("large.mkv")).await;
    // That of an object of several parts (S3 API).
    let tag = head.lines().find(|line| line.starts_with("etag:")).unwrap();
    assert!(tag.contains("-3"), "{tag}");
    let file = folder.path("large.mkv");
    assert_eq!(std::fs::metadata(&file).unwrap().len() as i64, stored.size);
    assert_eq!(judge(&file).0, ["mjpeg"]);
    assert_eq!(spooled(&folder), 0);
}

#[tokio::test]
async fn what_a_killed_server_has_sent_is_given_up_and_sent_anew() {
    let folder = Folder::new();
    let port = free_port();
    let _moto = Moto::start(port);
    let source = Camera::start(&[
        "--port", "0", "--video", "mjpeg", "--audio", "none", "--width", "1280", "--height", "720", "--fps",
        "15",
    ]);
    let uploads = || {
        let (_, body) = request(port, "GET", "/recordings?uploads").unwrap();
        String::from_utf8_lossy(&body).matches("<UploadId>").count()
    };
    let deadline = Instant::now() + Duration::from_secs(90);
    let first = daemon(&folder, port);
    {
        let (client, pipeline) = pipeline(&first).await;
        let player = source.player(&client, &pipeline).await;
        let recorder = RecorderEndpoint::create(&client, &pipeline, "s3://recordings/killed.mkv")
            .media_profile(MediaProfileSpecType::MkvVideoOnly)
            .await
            .unwrap();
        player.connect(&recorder).await.unwrap();
        recorder.record().await.unwrap();
        player.play().await.unwrap();
        while uploads() == 0 {
            assert!(Instant::now() < deadline, "no part is sent");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        drop(first); // SIGKILL
    }
    let _second = daemon(&folder, port);
    fetch(port, "/recordings/killed.mkv", &folder.path("killed.mkv")).await;
    let size = std::fs::metadata(folder.path("killed.mkv")).unwrap().len();
    assert!(size > 16_000_000, "{size} bytes");
    while uploads() > 0 {
        assert!(Instant::now() < deadline, "parts are left in the bucket");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_recording_goes_to_a_web_server_and_its_password_nowhere_else() {
    let folder = Folder::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/put_server.py");
    let mut child = Command::new("/usr/bin/python3")
        .arg(script)
        .arg(folder.path("served"))
        .args(["cam", "s3cr3t"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let _server = Process(child);
    let source = Camera::start(&["--port", "0"]);
    let daemon = daemon(&folder, 1);
    let (client, pipeline) = pipeline(&daemon).await;
    let player = source.player(&client, &pipeline).await;
    let uri = format!("http://cam:s3cr3t@127.0.0.1:{}/rec/a.webm", port.trim());
    let shown = uri.replace("cam:s3cr3t@", "");
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri)
        .media_profile(MediaProfileSpecType::Mkv)
        .await
        .unwrap();
    assert_eq!(recorder.uri().await.unwrap(), shown);
    let refused = recorder.set_retention_age(60).await.unwrap_err();
    assert!(refused.to_string().contains("on this machine"), "{refused}");
    let mut recording = recorder.on_recording().await.unwrap();
    let mut uploaded = recorder.on_file_uploaded().await.unwrap();
    let mut errors = recorder.on_error().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", recording.next()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    recorder.stop_and_wait().await.unwrap();
    let error = within("the first refusal", errors.next()).await;
    assert!(error.description.contains("503"), "{}", error.description);
    let stored = within("the file", uploaded.next()).await;
    assert_eq!(stored.uri, shown);
    let (codecs, seconds) = judge(&folder.path("served/rec/a.webm"));
    assert_eq!(codecs, ["aac", "h264"]);
    assert!(seconds > 1.0, "{seconds} s");
    assert!(!daemon.log().contains("s3cr3t"), "{}", daemon.log());
}
