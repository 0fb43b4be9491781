//! Media from outside: a daemon, real files and cameras, and ffmpeg as the judge.

mod adversity;
mod bitrates;
mod camera;
#[path = "../control_plane/client.rs"]
#[allow(dead_code, reason = "shared with another test, which uses more of it")]
mod client;
mod codes;
mod conformance;
#[path = "../control_plane/daemon.rs"]
#[allow(dead_code, reason = "shared with another test, which uses more of it")]
mod daemon;
mod faces;
mod files;
mod filters;
mod http_post;
mod hubs;
mod metrics;
mod models;
mod network;
mod overlays;
mod player;
mod reach;
mod recorder;
mod recorder_faults;
mod recorder_segments;
mod recorder_tutorial;
mod recorder_upload;
mod rtp;
mod soak;
#[path = "../control_plane/tokens.rs"]
#[allow(dead_code, reason = "shared with another test, which uses more of it")]
mod tokens;
mod vanishing;
