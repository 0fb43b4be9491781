//! What tenants may name: files beneath their directories, hosts that aren't denied, elements that are allowed.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kms_client::Client;
use kms_client::api::types::{FilterType, UriEndpointState};
use kms_client::api::*;
use protocol::Code;
use serde_json::json;

use crate::camera::Camera;
use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{Files, WEBM, web_server_at, within};
use crate::tokens::{OPERATOR, daemon, token};

/// An address of this machine that isn't denied in these tests.
const OPEN: &str = "127.0.0.2";

async fn enter(daemon: &Daemon, token: &str) -> (Client, MediaPipeline) {
    let url = format!("ws://{}/kurento?access_token={token}", daemon.address);
    let client = Client::connect(&url).await.unwrap();
    let pipeline = MediaPipeline::create(&client).await.unwrap();
    (client, pipeline)
}

async fn tenant(daemon: &Daemon) -> (Client, MediaPipeline) {
    enter(daemon, &token("acme", 3600)).await
}

/// That something is refused with 40107, naming this key.
fn refused<T: std::fmt::Debug>(result: kms_client::Result<T>, key: &str, what: &str) {
    let error = result.expect_err(what);
    assert_eq!(error.code(), Some(Code::IllegalParam), "{what}: {error}");
    assert!(error.to_string().contains(key), "{what}: {error}");
}

/// Plays something until media comes, or gives the error.
async fn play(client: &Client, pipeline: &MediaPipeline, uri: &str) -> Result<PlayerEndpoint, String> {
    let player = PlayerEndpoint::create(client, pipeline, uri).await.unwrap();
    let mut flows = player.on_media_flow_out_state_changed().await.unwrap();
    let mut errors = player.on_error().await.unwrap();
    player.play().await.unwrap();
    tokio::select! {
        _ = within(uri, flows.next()) => Ok(player),
        error = errors.next() => {
            assert_eq!(player.state().await.unwrap(), UriEndpointState::Stop);
            Err(error.unwrap().description)
        }
    }
}

#[tokio::test]
async fn files_of_tenants_lie_beneath_their_directories() {
    let folder = Folder::new();
    let (own, others) = (folder.path("tenants/acme"), folder.path("tenants/other"));
    for directory in [&own, &others] {
        std::fs::create_dir_all(directory).unwrap();
        make(&directory.join("film.webm"), 3, &WEBM);
        std::fs::write(
            directory.join("hat.svg"),
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'/>",
        )
        .unwrap();
    }
    std::os::unix::fs::symlink(&others, own.join("link")).unwrap();
    let roots = folder.path("tenants/{tenant}");
    let daemon = daemon(&format!("[files]\ntenant_roots = \"{}\"\n", roots.display()));
    let (client, pipeline) = tenant(&daemon).await;
    let key = "files.tenant_roots";

    let player = play(&client, &pipeline, &uri(&own.join("film.webm")))
        .await
        .unwrap();
    let recording = own.join("{name}/recorded.webm");
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&recording))
        .await
        .unwrap();
    recorder.set_name("camera").await.unwrap();
    player.connect(&recorder).await.unwrap();
    let mut recordings = recorder.on_recording().await.unwrap();
    recorder.record().await.unwrap();
    within("the recording", recordings.next()).await;
    recorder.stop_and_wait().await.unwrap();
    assert!(own.join("camera/recorded.webm").metadata().unwrap().len() > 1000);
    let overlay = ImageOverlayFilter::create(&client, &pipeline).await.unwrap();
    let add = async |path: &Path| {
        let uri = path.to_string_lossy();
        overlay
            .add_image("hat", &uri, 0.0, 0.0, 0.5, 0.5, true, false)
            .await
    };
    add(&own.join("hat.svg")).await.unwrap();

    for outside in [
        others.join("film.webm"),
        own.join("link/film.webm"),
        own.join("../other/film.webm"),
        Path::new("/etc/passwd").to_owned(),
        Path::new("/etc/no-such-file").to_owned(),
    ] {
        let what = outside.to_string_lossy().into_owned();
        refused(
            PlayerEndpoint::create(&client, &pipeline, &uri(&outside)).await,
            key,
            &what,
        );
        refused(
            PlayerEndpoint::create(&client, &pipeline, &what).await,
            key,
            &what,
        );
        refused(add(&outside).await, key, &what);
        refused(OnnxFilter::create(&client, &pipeline, &what).await, key, &what);
        if !what.contains("..") {
            refused(
                RecorderEndpoint::create(&client, &pipeline, &what).await,
                key,
                &what,
            );
            refused(recorder.take_snapshot().uri(&what).await, key, &what);
        }
    }
    // A name that is set later leads no further.
    let named = own.join("{name}/x.webm");
    let sly = RecorderEndpoint::create(&client, &pipeline, &uri(&named))
        .await
        .unwrap();
    sly.set_name("link").await.unwrap();
    player.connect(&sly).await.unwrap();
    let mut errors = sly.on_error().await.unwrap();
    sly.record().await.unwrap();
    let error = within("an error", errors.next()).await;
    assert!(error.description.contains(key), "{error:?}");
    assert!(!others.join("x.webm").exists());
    // The operator goes where the daemon may.
    let (client, pipeline) = enter(&daemon, OPERATOR).await;
    play(&client, &pipeline, &uri(&others.join("film.webm")))
        .await
        .unwrap();
}

#[tokio::test]
async fn without_directories_tenants_have_no_files() {
    let folder = Folder::new();
    make(&folder.path("film.webm"), 1, &WEBM);
    let daemon = daemon("");
    let (client, pipeline) = tenant(&daemon).await;
    let film = uri(&folder.path("film.webm"));
    refused(
        PlayerEndpoint::create(&client, &pipeline, &film).await,
        "files.tenant_roots",
        &film,
    );
    let new = uri(&folder.path("new.webm"));
    refused(
        RecorderEndpoint::create(&client, &pipeline, &new).await,
        "files.tenant_roots",
        &new,
    );
}

/// A server that only counts who comes.
fn canary(address: &str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let (port, count) = (
        listener.local_addr().unwrap().port(),
        Arc::new(AtomicUsize::new(0)),
    );
    let counting = count.clone();
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            counting.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, count)
}

#[tokio::test]
async fn tenants_reach_no_address_that_is_denied_by_whatever_name() {
    let folder = Folder::new();
    make(&folder.path("film.webm"), 2, &WEBM);
    let (port, came) = canary("127.0.0.1");
    std::fs::write(
        folder.path("index.m3u8"),
        format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/1.ts\n#EXT-X-ENDLIST\n"
        ),
    )
    .unwrap();
    let files = Files::serve_at(OPEN, &folder.path(""));
    let elsewhere = web_server_at(
        OPEN,
        format!(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    );
    let daemon = daemon(&format!("[network]\nallow = \"{OPEN}\"\n"));
    let (client, pipeline) = tenant(&daemon).await;
    let key = "network.tenant_deny";

    play(&client, &pipeline, &format!("{}/film.webm", files.1))
        .await
        .expect("what may be reached is");
    for literal in [
        format!("http://127.0.0.1:{port}/film.webm"),
        format!("https://127.0.0.1:{port}/film.webm"),
        format!("http://[::1]:{port}/film.webm"),
        format!("http://[::ffff:127.0.0.1]:{port}/film.webm"),
        format!("rtsp://127.0.0.1:{port}/camera"),
        format!("rtsps://127.0.0.1:{port}/camera"),
        format!("rtspu://user:s3cret@127.0.0.1:{port}/camera"),
        "http://169.254.169.254/latest/meta-data".into(),
    ] {
        let created = PlayerEndpoint::create(&client, &pipeline, &literal).await;
        refused(created, key, &literal);
    }
    for scheme in ["rtsps", "rtspu", "rtmp"] {
        let named = format!("{scheme}://localhost:{port}/camera");
        refused(
            PlayerEndpoint::create(&client, &pipeline, &named).await,
            "IP address",
            &named,
        );
    }
    for (uri, said) in [
        (format!("http://localhost:{port}/film.webm"), "Forbidden"),
        (format!("http://2130706433:{port}/film.webm"), "Forbidden"),
        (format!("http://0x7f.1:{port}/film.webm"), "Forbidden"),
        (format!("https://localhost:{port}/film.webm"), ""),
        (elsewhere.clone(), "Forbidden"),
        (format!("{}/index.m3u8", files.1), "playlist"),
        (format!("rtsp://localhost:{port}/camera"), key),
    ] {
        let error = play(&client, &pipeline, &uri).await.map(|_| ()).expect_err(&uri);
        assert!(error.contains(said), "{uri}: {error}");
    }
    let overlay = ImageOverlayFilter::create(&client, &pipeline).await.unwrap();
    for uri in [
        format!("http://127.0.0.1:{port}/a.png"),
        format!("http://localhost:{port}/a.png"),
        elsewhere,
    ] {
        let added = overlay
            .add_image("x", &uri, 0.0, 0.0, 0.5, 0.5, true, false)
            .await;
        assert_eq!(added.unwrap_err().code(), Some(Code::IllegalParam), "{uri}");
    }
    let put = format!("http://127.0.0.1:{port}/a.webm");
    refused(
        RecorderEndpoint::create(&client, &pipeline, &put).await,
        key,
        &put,
    );
    refused(
        RecorderEndpoint::create(&client, &pipeline, "s3://bucket/a.webm").await,
        "operator",
        "s3",
    );
    assert_eq!(came.load(Ordering::Relaxed), 0, "nobody got there");

    // A camera that may be reached, by its address and by a name of it.
    let camera = Camera::start(&["--port", "0", "--address", OPEN]);
    play(
        &client,
        &pipeline,
        &format!("rtsp://{OPEN}:{}/camera", camera.port()),
    )
    .await
    .unwrap();
    // The operator is asked about nothing.
    let (client, pipeline) = enter(&daemon, OPERATOR).await;
    let denied_to_tenants = format!("http://127.0.0.1:{port}/film.webm");
    play(&client, &pipeline, &denied_to_tenants)
        .await
        .map(|_| ())
        .expect_err("there is no film");
    assert!(came.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn tenants_upload_recordings_to_hosts_that_are_not_denied() {
    let folder = Folder::new();
    make(&folder.path("film.webm"), 2, &WEBM);
    let files = Files::serve_at(OPEN, &folder.path(""));
    let (port, came) = canary("127.0.0.1");
    let spool = folder.path("spool");
    let config = format!(
        "[network]\nallow = \"{OPEN}\"\n[recorder]\nspool = \"{}\"\n",
        spool.display()
    );
    let daemon = daemon(&config);
    let (client, pipeline) = tenant(&daemon).await;
    let player = play(&client, &pipeline, &format!("{}/film.webm", files.1))
        .await
        .unwrap();
    // Python's server knows no PUT, and says so: that it is asked is enough here.
    for (uri, comes) in [
        (format!("http://localhost:{port}/a.webm"), false),
        (format!("{}/b.webm", files.1), true),
    ] {
        let recorder = RecorderEndpoint::create(&client, &pipeline, &uri).await.unwrap();
        let mut errors = recorder.on_error().await.unwrap();
        player.connect(&recorder).await.unwrap();
        recorder.record().await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        recorder.stop_and_wait().await.unwrap();
        let error = within("an error", errors.next()).await;
        let said = if comes { "501" } else { "403" };
        assert!(error.description.contains(said), "{uri}: {error:?}");
    }
    assert_eq!(came.load(Ordering::Relaxed), 0);
    for note in std::fs::read_dir(&spool)
        .unwrap()
        .flatten()
        .filter(|f| f.path().extension().is_some_and(|e| e == "json"))
    {
        let note: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(note.path()).unwrap()).unwrap();
        assert_eq!(note["tenants"], json!(true), "also after a restart");
    }
}

#[tokio::test]
async fn tenants_use_the_elements_they_are_allowed() {
    let daemon = daemon("[filters]\ntenant_gstreamer_elements = \"videobalance, videoflip\"\n");
    let (client, pipeline) = tenant(&daemon).await;
    let create = async |client: &Client, pipeline: &MediaPipeline, command: &str| {
        GStreamerFilter::create(client, pipeline, command)
            .filter_type(FilterType::Video)
            .await
    };
    create(
        &client,
        &pipeline,
        "videobalance saturation=0.0 ! videoflip method=clockwise",
    )
    .await
    .unwrap();
    let key = "filters.tenant_gstreamer_elements";
    refused(
        create(&client, &pipeline, "videobalance ! gamma gamma=2").await,
        key,
        "gamma",
    );
    let (client, pipeline) = enter(&daemon, OPERATOR).await;
    create(&client, &pipeline, "videobalance ! gamma gamma=2")
        .await
        .unwrap();
}
