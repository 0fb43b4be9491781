//! The control plane from outside: a daemon, websockets, and clients that misbehave.
//!
//! Each test has a daemon of its own. What answers look like is held against recordings of a real server in
//! `tests/wire`; here it is about what recordings can't show: time, several connections, limits and hostile input.

mod access;
mod cli;
mod client;
mod daemon;
mod draining;
mod ending;
mod hostile_sdp;
mod leaks;
mod limits;
mod metrics;
mod objects;
mod order;
mod request_cache;
mod sessions;
mod slow_reader;
mod tenants;
mod tls;
mod tokens;
mod traces;
mod wrong_types;
