//! Answers of remotes to an offer of ours.
#![no_main]

use kms_elements::webrtc::sdp::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| fuzzing::remote_answer(text));
