//! Cameras: RTSP servers that come and go, freeze, and want passwords.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kms_client::Client;
use kms_client::api::types::{MediaFlowState, UriEndpointState};
use kms_client::api::*;

use crate::daemon::Daemon;
use crate::network::in_own_network;
use crate::player::{pipeline, within};

/// A camera made of software (scripts/camera.py).
pub(crate) struct Camera {
    child: Child,
    pub(crate) uri: String,
}

impl Camera {
    pub(crate) fn start(arguments: &[&str]) -> Camera {
        Camera::started_by(Command::new("/usr/bin/python3"), arguments)
    }

    /// In the network of this namespace.
    pub(crate) fn start_in(namespace: &str, arguments: &[&str]) -> Camera {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "/usr/bin/python3"]);
        Camera::started_by(command, arguments)
    }

    fn started_by(mut python: Command, arguments: &[&str]) -> Camera {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/camera.py");
        let mut child = python
            .arg(script)
            .args(["--width", "320", "--height", "240", "--bitrate", "500"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let uri = line
            .strip_prefix("camera: ")
            .unwrap_or_else(|| panic!("{line:?}"))
            .trim()
            .to_owned();
        Camera { child, uri }
    }

    /// A player of it, which has not begun.
    pub(crate) async fn player(&self, client: &Client, pipeline: &MediaPipeline) -> PlayerEndpoint {
        PlayerEndpoint::create(client, pipeline, &self.uri)
            .network_cache(200)
            .await
            .unwrap()
    }

    pub(crate) fn port(&self) -> String {
        let authority = self.uri.split('/').nth(2).unwrap();
        authority.rsplit(':').next().unwrap().to_owned()
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_camera_that_goes_is_noticed_and_its_media_is_back_soon_after_it_is() {
    let camera = Camera::start(&["--port", "0"]);
    let port = camera.port();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let mut flows = player.on_media_flow_out_state_changed().await.unwrap();
    let mut losses = player.on_connection_lost().await.unwrap();
    let mut returns = player.on_connection_restored().await.unwrap();
    let mut errors = player.on_error().await.unwrap();
    assert!(player.reconnect().await.unwrap(), "on for cameras");
    player.play().await.unwrap();
    for _ in 0..2 {
        assert_eq!(within("media", flows.next()).await.state, MediaFlowState::Flowing);
    }
    drop(camera);
    let gone = Instant::now();
    let loss = within("the loss", losses.next()).await;
    assert!(
        gone.elapsed() < Duration::from_secs(5),
        "noticed after {:?}",
        gone.elapsed()
    );
    assert!(loss.description.contains("is lost"), "{}", loss.description);
    for _ in 0..2 {
        assert_eq!(
            within("the end of media", flows.next()).await.state,
            MediaFlowState::NotFlowing
        );
    }
    assert_eq!(player.state().await.unwrap(), UriEndpointState::Start);

    tokio::time::sleep(Duration::from_secs(3)).await;
    let _camera = Camera::start(&["--port", &port]);
    let back = Instant::now();
    within("the return", returns.next()).await;
    assert_eq!(within("media", flows.next()).await.state, MediaFlowState::Flowing);
    assert!(
        back.elapsed() < Duration::from_secs(2),
        "media came {:?} after the camera",
        back.elapsed()
    );
    let error = tokio::time::timeout(Duration::from_millis(100), errors.next()).await;
    assert!(error.is_err(), "a loss is no error: {error:?}");
}

#[tokio::test]
async fn a_camera_that_freezes_is_noticed_and_one_that_is_stopped_is_left_alone() {
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let mut flows = player.on_media_flow_out_state_changed().await.unwrap();
    let mut losses = player.on_connection_lost().await.unwrap();
    let mut returns = player.on_connection_restored().await.unwrap();
    player.play().await.unwrap();
    within("media", flows.next()).await;
    camera.signal("USR1");
    let frozen = Instant::now();
    within("the loss", losses.next()).await;
    assert!(
        frozen.elapsed() < Duration::from_secs(5),
        "noticed after {:?}",
        frozen.elapsed()
    );
    camera.signal("USR2");
    within("the return", returns.next()).await;

    player.stop().await.unwrap();
    camera.signal("USR1");
    let loss = tokio::time::timeout(Duration::from_secs(6), losses.next()).await;
    assert!(loss.is_err(), "{loss:?}");
}

#[tokio::test]
async fn passwords_are_given_to_the_camera_and_to_nobody_else() {
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    for method in ["basic", "digest"] {
        let arguments = [
            "--port",
            "0",
            "--auth",
            method,
            "--user",
            "admin",
            "--password",
            "s3cret",
        ];
        let camera = Camera::start(&arguments);
        let with = |password: &str| {
            let rest = camera.uri.strip_prefix("rtsp://").unwrap();
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("rtsp://admin:{password}@{host}")
        };
        let right = PlayerEndpoint::create(&client, &pipeline, &with("s3cret"))
            .network_cache(100)
            .await
            .unwrap();
        let mut flows = right.on_media_flow_out_state_changed().await.unwrap();
        right.play().await.unwrap();
        within("media", flows.next()).await;
        assert!(!right.element_gstreamer_dot().await.unwrap().contains("s3cret"));
        assert!(!right.uri().await.unwrap().contains("s3cret"));

        let wrong = PlayerEndpoint::create(&client, &pipeline, &with("wr0ng"))
            .await
            .unwrap();
        let mut errors = wrong.on_error().await.unwrap();
        wrong.play().await.unwrap();
        let error = within("an error", errors.next()).await;
        assert_eq!(error.r#type, "RESOURCE_ERROR_NOT_AUTHORIZED", "{error:?}");
        assert!(!error.description.contains("wr0ng"), "{error:?}");
        right.release().await.unwrap();
        wrong.release().await.unwrap();
    }
    let log = daemon.log();
    assert!(!log.contains("s3cret") && !log.contains("wr0ng"), "{log}");
}

#[tokio::test]
async fn over_tls_a_certificate_counts_that_is_known_or_any_if_that_is_configured() {
    let certificate = std::env::temp_dir().join(format!("kms-camera-{}.pem", std::process::id()));
    let path = certificate.to_str().unwrap();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=camera",
            "-days",
            "1",
        ])
        .args(["-keyout", path, "-out", &format!("{path}.crt")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let both =
        std::fs::read_to_string(format!("{path}.crt")).unwrap() + &std::fs::read_to_string(path).unwrap();
    std::fs::write(path, both).unwrap();
    let camera = Camera::start(&["--port", "0", "--certificate", path]);
    assert!(camera.uri.starts_with("rtsps://"));
    for verify in [true, false] {
        let daemon = Daemon::with_config(&format!("[player]\nverify_certificates = {verify}"));
        let (client, pipeline) = pipeline(&daemon).await;
        let player = camera.player(&client, &pipeline).await;
        let mut flows = player.on_media_flow_out_state_changed().await.unwrap();
        let mut errors = player.on_error().await.unwrap();
        player.play().await.unwrap();
        if verify {
            let error = within("an error", errors.next()).await;
            assert_eq!(error.r#type, "RESOURCE_ERROR_NOT_AUTHORIZED", "{error:?}");
            assert!(error.description.contains("certificate"), "{error:?}");
        } else {
            for _ in 0..2 {
                assert_eq!(within("media", flows.next()).await.state, MediaFlowState::Flowing);
            }
        }
    }
    for file in [path, &format!("{path}.crt")] {
        std::fs::remove_file(file).unwrap();
    }
}

#[tokio::test]
async fn cameras_are_read_over_tcp_and_over_udp_if_that_is_asked_for_or_all_there_is() {
    // Nothing comes through over UDP.
    let rules = [
        "add table inet lossy",
        "add chain inet lossy in { type filter hook input priority 0; }",
        "add rule inet lossy in meta l4proto udp drop",
    ];
    let name = "camera::cameras_are_read_over_tcp_and_over_udp_if_that_is_asked_for_or_all_there_is";
    let lossy = std::env::var_os("KMS_TEST_NETWORK").is_some();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let cases: &[(&str, &str)] = match lossy {
        true => &[("rtsp", "any")],
        false => &[
            ("rtsp", "any"),
            ("rtsp", "udp"),
            ("rtspu", "any"),
            ("rtspt", "tcp"),
        ],
    };
    for (scheme, protocols) in cases {
        let camera = Camera::start(&["--port", "0", "--protocols", protocols]);
        let uri = camera.uri.replacen("rtsp", scheme, 1);
        let player = PlayerEndpoint::create(&client, &pipeline, &uri)
            .network_cache(200)
            .await
            .unwrap();
        let mut flows = player.on_media_flow_out_state_changed().await.unwrap();
        let mut losses = player.on_connection_lost().await.unwrap();
        player.play().await.unwrap();
        let kinds = [
            within(&format!("media of {uri}"), flows.next()).await.media_type,
            within(&format!("media of {uri}"), flows.next()).await.media_type,
        ];
        assert_ne!(kinds[0], kinds[1], "{uri}");
        let lost = tokio::time::timeout(Duration::from_secs(1), losses.next()).await;
        assert!(lost.is_err(), "{uri}: {lost:?}");
        player.release().await.unwrap();
    }
    if !lossy {
        in_own_network(name, &rules);
    }
}
