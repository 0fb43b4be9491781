//! The abstract classes `Endpoint`, `SessionEndpoint` and `UriEndpoint`, generic over the endpoint that inherits them.

use std::sync::Arc;

use kms_core::events::{MediaSessionStarted, MediaSessionTerminated};
use kms_core::objects::media_element;
use kms_core::{Class, Element};
use protocol::{Error, NoParams, event, remote_enum};

remote_enum! { "kurento"
    /// What an endpoint does with its URI.
    pub enum UriEndpointState {
        /// Nothing: not begun, or ended.
        Stop = "STOP",
        /// It plays or records.
        Start = "START",
        /// It waits to go on.
        Pause = "PAUSE",
    }
}

event! { "kurento"
    /// The endpoint began, paused or stopped.
    pub struct UriEndpointStateChanged: Media {
        /// The new state.
        state "state": UriEndpointState,
    }
}

/// `Endpoint`, for an endpoint of type `T`.
pub(crate) fn endpoint<T: Element>() -> Class<T> {
    Class::<T>::new("Endpoint", "core", "Where media enters or leaves the server.")
        .extends(media_element::class())
}

/// `SessionEndpoint`, for an endpoint of type `T`.
pub(crate) fn session_endpoint<T: Element>() -> Class<T> {
    Class::<T>::new(
        "SessionEndpoint",
        "core",
        "An endpoint with a session that begins and ends.",
    )
    .extends(endpoint())
    .event::<MediaSessionTerminated>()
    .event::<MediaSessionStarted>()
}

/// An endpoint that reads or writes what a URI names.
pub(crate) trait UriEndpoint: Element {
    /// The URI, without the user's name and password.
    fn uri(&self) -> String;
    /// What it does now.
    fn state(&self) -> UriEndpointState;
    /// Waits to go on where it is.
    fn pause(self: Arc<Self>) -> Result<(), Error>;
    /// Ends. It may be begun again.
    fn stop(self: Arc<Self>) -> Result<(), Error>;
}

/// `UriEndpoint`, for an endpoint of type `T`.
pub(crate) fn uri_endpoint<T: UriEndpoint>() -> Class<T> {
    Class::<T>::new(
        "UriEndpoint",
        "core",
        "An endpoint that reads or writes what a URI names.",
    )
    .extends(endpoint())
    .constant("uri", "The URI, without the user's name and password.", |this| {
        this.uri()
    })
    .property("state", "What the endpoint does now.", |this| this.state())
    .method(
        "pause",
        "Waits to go on where it is.",
        |this: &Arc<T>, _, _: NoParams| this.clone().pause(),
    )
    .method(
        "stop",
        "Ends. It may be begun again, from its beginning.",
        |this: &Arc<T>, _, _: NoParams| this.clone().stop(),
    )
    .event::<UriEndpointStateChanged>()
}
