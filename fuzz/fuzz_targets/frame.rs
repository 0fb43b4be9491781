//! Messages of a client: JSON, requests, their parameters, transactions. Each input is a connection, each line of it a message: how many
//! there were is said after every 100,000.
#![no_main]

use std::sync::atomic::{AtomicUsize, Ordering};

use kms::edge::fuzzing;
use libfuzzer_sys::fuzz_target;

const TOLD: usize = 100_000;

static FRAMES: AtomicUsize = AtomicUsize::new(0);

fuzz_target!(|text: &str| {
    fuzzing::frames(text);
    let count = text.lines().count();
    let before = FRAMES.fetch_add(count, Ordering::Relaxed);
    let now = before + count;
    if before / TOLD < now / TOLD {
        eprintln!("{now} frames");
    }
});
