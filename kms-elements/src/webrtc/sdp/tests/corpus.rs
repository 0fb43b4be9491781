//! The corpora of the fuzz targets, on stable Rust.

use std::path::Path;

use super::fuzzing;

/// Runs every file of a corpus. An empty one would be a test of nothing.
fn run(target: &str, check: fn(&str)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read(&path).expect("a file");
        eprintln!("{}", path.display());
        check(&String::from_utf8_lossy(&text));
        count += 1;
    }
    assert!(count > 0, "{}", folder.display());
}

#[test]
fn offers() {
    run("sdp_offer", fuzzing::offer);
}

#[test]
fn answers() {
    run("sdp_answer", fuzzing::remote_answer);
}

#[test]
fn candidates() {
    run("candidate", fuzzing::candidate);
}
