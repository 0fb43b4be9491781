//! Offers of remotes: taken apart, answered by str0m, put back into shape.
#![no_main]

use kms_elements::webrtc::sdp::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| fuzzing::offer(text));
