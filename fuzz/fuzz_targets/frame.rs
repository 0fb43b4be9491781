//! Messages of a client: JSON, requests, their parameters, transactions.
#![no_main]

use kms::edge::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| fuzzing::frames(text));
