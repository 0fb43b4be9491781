//! The control plane and the media graph: objects, classes, sessions, events.
//!
//! Nothing here knows how requests arrive (the daemon's edge does) or how media is carried (elements do).
//! A [`Server`] value owns everything; there is no global state, so a test can run two.

pub mod call;
pub mod class;
pub mod element;
pub mod events;
pub mod graph;
pub mod hub;
pub mod limits;
pub mod media;
pub mod object;
pub mod objects;
pub mod reach;
pub mod registry;
pub mod server;
pub mod session;
pub mod tenant;
pub mod types;
pub mod verbs;

pub use call::Call;
pub use class::Class;
pub use element::{Element, ElementCore};
pub use hub::{Hub, HubCore};
pub use object::{Object, ObjectCore};
pub use reach::Reach;
pub use registry::Registry;
pub use server::{EventSink, Room, Server, Settings};
pub use tenant::{SessionKey, Tenant};
