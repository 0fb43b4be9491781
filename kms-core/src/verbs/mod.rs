//! The verbs of the protocol: what each message needs, checks and does. `connect`, `ping` and `transaction` concern the
//! connection and stand at the daemon's edge; all others are here, each a function and a line in [`VERBS`].

mod create;
mod events;
mod invoke;
mod sessions;

use std::future::Future;
use std::pin::Pin;

use protocol::wire::lenient_string;
use protocol::{Code, Error};
use serde_json::{Map, Value};

use crate::call::Call;

/// The members of a result, besides `sessionId`. `None`: the result is null.
pub type Answer = Result<Option<Map<String, Value>>, Error>;

/// What a verb needs of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// One is begun if there is none.
    AnySession,
    /// There must be one.
    ItsSession,
}

/// What a verb answers, once it is done.
pub type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A verb.
pub struct Verb {
    /// Name: the `method` of a request.
    pub name: &'static str,
    /// What it needs of a session.
    pub needs: Needs,
    /// Carries it out.
    pub run: fn(Call, Map<String, Value>) -> Answering,
    /// Whether the request waits on purpose, so that events are not held back until it is answered.
    pub waits: fn(&Call, &Map<String, Value>) -> bool,
}

macro_rules! verbs {
    ($($name:literal $needs:ident $run:path;)*) => {
        /// All verbs carried out here.
        pub const VERBS: &[Verb] = &[$(Verb {
            name: $name,
            needs: Needs::$needs,
            run: |call, params| Box::pin(async move { $run(call, params).await }),
            waits: invoke::waits_if_invoke($name),
        }),*];
    };
}

verbs! {
    "create" AnySession create::create;
    "describe" AnySession create::describe;
    "release" AnySession create::release;
    "invoke" AnySession invoke::invoke;
    "subscribe" AnySession events::subscribe;
    "unsubscribe" ItsSession events::unsubscribe;
    "ref" ItsSession sessions::hold;
    "unref" ItsSession sessions::unhold;
    "keepAlive" ItsSession sessions::keep_alive;
    "closeSession" ItsSession sessions::close;
}

/// A member of `params` that must be a string, or a scalar Kurento takes for one.
fn required(params: &Map<String, Value>, name: &str) -> Result<String, Error> {
    let value = params
        .get(name)
        .ok_or_else(|| Error::new(Code::ServerError, format!("'{name}' parameter is required")))?;
    lenient_string(value).ok_or_else(|| {
        Error::new(
            Code::ServerError,
            format!("'{name}' parameter should be a string"),
        )
    })
}

fn value(value: Value) -> Answer {
    Ok(Some(Map::from_iter([("value".to_owned(), value)])))
}

fn nothing() -> Answer {
    Ok(Some(Map::new()))
}
