//! What the classes describe: held against Kurento's own API, and against what is generated from it and committed.
//!
//! `KMS_BLESS=1 cargo test --test api` writes the committed files anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn describe(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kms"))
        .arg("describe")
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Compares with a committed file, or writes it.
fn is_committed(path: PathBuf, text: &str) {
    if std::env::var_os("KMS_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let line = committed.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        committed == text,
        "{} is out of date, first in line {}: KMS_BLESS=1 cargo test --test api writes it anew",
        path.display(),
        line.map_or(committed.lines().count().min(text.lines().count()), |l| l) + 1
    );
}

#[test]
fn what_kurento_has_and_we_have_not_is_known() {
    let ours: Value = serde_json::from_str(&describe(&["--json"])).unwrap();
    let reference = std::fs::read_to_string(top().join("tests/data/kurento-api.json")).unwrap();
    let missing = protocol::compare::missing(&ours, &serde_json::from_str(&reference).unwrap());
    println!(
        "{} differences from Kurento's API:\n{}",
        missing.len(),
        missing.join("\n")
    );
    is_committed(
        top().join("tests/data/not-there-yet.txt"),
        &(missing.join("\n") + "\n"),
    );
}

#[test]
fn the_reference_is_up_to_date() {
    is_committed(top().join("docs/api-reference.md"), &describe(&[]));
}

#[test]
fn the_description_for_the_client_is_up_to_date() {
    is_committed(top().join("client/tests/api.json"), &describe(&["--json"]));
}

#[test]
fn the_types_of_the_client_are_up_to_date() {
    let api = serde_json::from_str(&describe(&["--json"])).unwrap();
    let types = kms_client::generate::generate(&api).unwrap();
    is_committed(top().join("client/src/generated.rs"), &types);
}
