//! Tutorial application server.
fn main() {}
