//! The daemon.

mod config;

fn main() {}
