//! `docs/configuration.md`. Compiled for tests only: one of them writes that file and says when it is stale.

use std::fmt::Write;

use super::schema::{Config, SECTIONS};

/// `docs/configuration.md`: every key with its variables, default, allowed values and meaning.
pub(super) fn reference_markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in SECTIONS {
        let _ = write!(text, "\n## [{}]\n\n{}\n\n", section.name, one_line(section.doc));
        text += "| key | default | value | variables | meaning |\n|---|---|---|---|---|\n";
        for key in section.keys {
            let variables: Vec<String> = key
                .variables(section)
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            let _ = writeln!(
                text,
                "| `{}` | `{}` | {} | {} | {} |",
                key.name,
                (key.get)(&Config::default()),
                cell(&(key.expected)()),
                variables.join("<br>"),
                cell(&one_line(key.doc)),
            );
        }
    }
    text
}

const INTRODUCTION: &str = "\
<!-- Generated from src/config/schema.rs; to write it anew: KMS_BLESS=1 cargo test -p kms config -->

# Configuration

`kms` runs without a configuration: every key has a default. To change some, name a TOML file with
`kms --config FILE`, set environment variables, or both. `kms config` prints what is in force, as a file with each key
explained; `kms config > kms.toml` is a good start for your own. (The password of `turn_url` is printed as `***`: write
it in again.)

    [server]
    listen = \"0.0.0.0:8888\"

    [webrtc]
    min_port = 50000
    max_port = 59999
    external_ipv4 = \"198.51.100.1\"

What wins, weakest first: the default, the file, the variable of Kurento's Docker image (such as `KMS_MIN_PORT`), the variable
named after section and key (such as `KMS_WEBRTC_MIN_PORT`), the command line. An empty variable counts as not set. Anything
that can't be used is refused at the start with its place, and never guessed at:

    kms.toml:7: unknown key `min_prot` in [webrtc]; known keys: min_port, max_port, ...

An empty string stands for \"none\" where the meaning says so.
";

/// A doc without its line breaks; paragraphs are told apart by `<br>`, since they stand in a table.
fn one_line(doc: &str) -> String {
    let lines: Vec<&str> = doc.lines().map(str::trim).collect();
    let paragraphs: Vec<String> = lines
        .split(|line| line.is_empty())
        .map(|lines| lines.join(" "))
        .collect();
    paragraphs.join("<br>").trim_end_matches("<br>").trim().to_owned()
}

/// What would end a table's cell, escaped.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
