//! tutorials/rtsp-to-mp4, as a person runs it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::camera::Camera;
use crate::daemon::Daemon;
use crate::files::Folder;
use crate::recorder::judge;

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let below = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut files: Vec<PathBuf> = below(folder).iter().flat_map(|day| below(day)).collect();
    files.sort();
    files
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn the_tutorial_records_two_cameras_over_a_loss_and_ends_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Folder::new();
    let daemon = Daemon::start();
    let cameras = [Camera::start(&["--port", "0"]), Camera::start(&["--port", "0"])];
    let mut child = Command::new(root.join("target/tools/python/bin/python"))
        .arg(root.join("tutorials/rtsp-to-mp4/record.py"))
        .arg(format!("door={}", cameras[0].uri))
        .arg(format!("yard={}", cameras[1].uri))
        .args([
            "--to",
            &format!("file://{}", folder.path("").display()),
            "--segment",
            "2",
        ])
        .args(["--kms", &format!("ws://{}/kurento", daemon.address)])
        .stdout(Stdio::piped())
        .spawn()
        .expect("scripts/setup.sh --test installs Python's websockets");
    let yard = folder.path("yard");
    wait_until("three files of each camera", || {
        files_of(&folder.path("door")).len() >= 3 && files_of(&yard).len() >= 3
    });
    let [door, gone] = cameras;
    let port = gone.port();
    drop(gone);
    let before = files_of(&yard).len();
    let _back = Camera::start(&["--port", &port]);
    wait_until("files after the loss", || files_of(&yard).len() >= before + 2);

    let interrupt = Command::new("sh")
        .args(["-c", &format!("kill -INT {}", child.id())])
        .status();
    assert!(interrupt.unwrap().success());
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success(), "{shown}");
    drop(door);
    let last: Vec<&str> = shown.lines().rev().take(2).collect();
    assert!(
        last[1].starts_with("door") && last[1].contains("  0 reconnects  recording"),
        "{shown}"
    );
    assert!(
        last[0].starts_with("yard") && last[0].contains("  1 reconnects  recording"),
        "{shown}"
    );
    for name in ["door", "yard"] {
        for file in files_of(&folder.path(name)) {
            assert_eq!(judge(&file).0, ["aac", "h264"]);
        }
    }
}
