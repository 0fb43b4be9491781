//! A Rust client of the Kurento Protocol: it builds graphs of media elements in a media server, from your application.
//!
//! Two layers, use whichever fits:
//!
//! - [`Client`] speaks the protocol's verbs with JSON: `create`, `invoke`, `subscribe`, `release`, transactions. It knows
//!   no class by name, so it works with every module a server may have.
//! - [`api`] has a Rust type for each remote class, register type and event, generated from the server's own description
//!   ([`generate`]).
//!
//! ```no_run
//! use kms_client::{Client, api::*};
//!
//! # async fn example(offer: &str) -> kms_client::Result<()> {
//! let client = Client::connect("ws://127.0.0.1:8888/kurento").await?;
//! let pipeline = MediaPipeline::create(&client).await?;
//! let endpoint = WebRtcEndpoint::create(&client, &pipeline).use_data_channels(true).await?;
//! endpoint.connect(&endpoint).await?; // what comes in goes out again
//!
//! let mut candidates = endpoint.on_ice_candidate_found().await?;
//! let answer = endpoint.process_offer(offer).await?;
//! endpoint.gather_candidates().await?;
//! while let Some(found) = candidates.next().await {
//!     println!("for the browser: {}", found.candidate.candidate);
//! }
//! # let _ = answer; Ok(())
//! # }
//! ```
//!
//! A request is sent when it is awaited, not before. Everything is `Send`; handles are cheap to clone and share one
//! connection. Dropping a handle does not release the remote object: call [`Object::release`](api::Object::release), or
//! [`Client::close_session`] for all of them.

mod client;
mod connection;
mod error;
mod events;
pub mod generate;
#[allow(
    clippy::too_many_arguments,
    reason = "operations have the parameters that Kurento gave them"
)]
mod generated;
mod ids;
mod stubs;
mod transaction;

pub use client::{Client, Description, ObjectId, Options};
pub use connection::State;
pub use error::{Error, Result, ServerError};
pub use events::{EventStream, RawEvent};
pub use transaction::{NewRef, Transaction};

/// The remote classes, register types and events as Rust types.
pub mod api {
    pub use crate::generated::*;
    pub use crate::stubs::{Event, Events, Handle, Object, Request, Subscribe, downcast};
}
