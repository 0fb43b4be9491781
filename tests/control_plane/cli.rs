//! The command line.

use std::process::Output;

use crate::daemon::{ConfigFile, kms};

fn run(arguments: &[&str]) -> Output {
    kms().args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.stderr.is_empty(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_tells_every_option() {
    let help = printed(&["--help"]);
    assert_eq!(help, printed(&["-h"]));
    for option in [
        "--config FILE",
        "--listen ADDR:PORT",
        "--help",
        "--version",
        "kms describe",
        "] config",
    ] {
        assert!(help.contains(option), "{option} is missing in:\n{help}");
    }
}

#[test]
fn version_is_the_package_s() {
    let version = printed(&["--version"]);
    assert_eq!(version, format!("kms {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(version, printed(&["-V"]));
}

#[test]
fn a_printed_configuration_loads_again_and_prints_the_same() {
    let changes = "[server]\nmax_connections = 17\n[webrtc]\nmin_port = 50000\nmax_port = 50100\n";
    let changed = ConfigFile::new(changes);
    for arguments in [
        vec!["config"],
        vec!["--config", changed.0.to_str().unwrap(), "config"],
    ] {
        let first = printed(&arguments);
        let file = ConfigFile::new(&first);
        assert_eq!(printed(&["--config", file.0.to_str().unwrap(), "config"]), first);
        assert_eq!(
            first.contains("max_connections = 17"),
            arguments.len() > 1,
            "{first}"
        );
    }
}

#[test]
fn what_wins_on_the_command_line() {
    let file = ConfigFile::new("[server]\nlisten = \"127.0.0.1:1111\"\n");
    let from_file = ["--config", file.0.to_str().unwrap(), "config"];
    assert!(printed(&from_file).contains("listen = \"127.0.0.1:1111\""));
    let mut with_variable = kms();
    with_variable
        .env("KMS_SERVER_LISTEN", "127.0.0.1:2222")
        .args(from_file);
    let text = String::from_utf8(with_variable.output().unwrap().stdout).unwrap();
    assert!(text.contains("listen = \"127.0.0.1:2222\""), "{text}");
    with_variable.args(["--listen", "[::1]:3333"]);
    let text = String::from_utf8(with_variable.output().unwrap().stdout).unwrap();
    assert!(text.contains("listen = \"[::1]:3333\""), "{text}");
}

#[test]
fn the_api_is_described_as_text_and_as_json() {
    assert!(printed(&["describe"]).contains("WebRtcEndpoint"));
    let json: serde_json::Value = serde_json::from_str(&printed(&["describe", "--json"])).unwrap();
    assert!(
        json["modules"]
            .as_array()
            .is_some_and(|modules| !modules.is_empty())
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_a_hint() {
    let cases: [(&[&str], &str); 6] = [
        (&["--port", "8888"], "unknown argument --port; see kms --help"),
        (&["serve"], "unknown argument serve; see kms --help"),
        (&["--config"], "--config needs a file; see kms --help"),
        (&["--listen"], "--listen needs ADDR:PORT; see kms --help"),
        (
            &["--listen", "8888"],
            "--listen 8888: should be ADDR:PORT, such as 0.0.0.0:8888",
        ),
        (
            &["--config", "/nonexistent/kms.toml"],
            "/nonexistent/kms.toml: No such file or directory",
        ),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            said.starts_with("kms: ") && said.contains(expected),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn a_model_that_can_t_be_used_keeps_it_from_starting() {
    let mut command = crate::daemon::kms();
    command.env("KMS_FILTERS_FACE_DETECTOR_MODEL", "/nowhere/yunet.onnx");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the face detector's model /nowhere/yunet.onnx can't be used: No such file"),
        "{said}"
    );
}
