//! The remote API, described once.
//!
//! A remote class is described by a [`ClassDef`]; its parameters, register types, enumerations and events are plain Rust
//! types declared with the macros of this crate ([`record!`], [`remote_enum!`], [`params!`], [`event!`]). From that one
//! description come: decoding and encoding with Kurento's rules ([`wire`]), `describe` and `getKmd` ([`kmd`]), the API
//! reference ([`reference`]), the list of what is missing against another description ([`compare`]) and client stubs.
//!
//! This crate knows no sockets, no async runtime and no media: it depends on serde alone.

pub mod compare;
pub mod describe;
pub mod error;
pub mod kmd;
pub mod reference;
pub mod wire;

#[doc(hidden)]
pub mod macros;

pub use describe::{Api, ClassDef, EventDef, Field, MethodDef, ModuleDef, PropertyDef, Type};
pub use error::{Code, Error};
pub use wire::{ClassName, Event, NoParams, Params, Ref, Wire};

#[doc(hidden)]
pub use serde_json;
