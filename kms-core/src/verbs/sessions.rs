//! `ref`, `unref`, `keepAlive`, `closeSession`: what a session holds, and that it is there.

use protocol::{Code, Error};
use serde_json::{Map, Value};

use super::{Answer, nothing, required};
use crate::call::Call;

/// The session holds an object, so that it outlives other sessions.
pub(super) async fn hold(call: Call, params: Map<String, Value>) -> Answer {
    call.server.hold(&call.session, &required(&params, "object")?)?;
    nothing()
}

/// The session no longer holds an object.
pub(super) async fn unhold(call: Call, params: Map<String, Value>) -> Answer {
    call.server.unhold(&call.session, &required(&params, "object")?);
    nothing()
}

/// The session is alive (the edge has noted that already).
pub(super) async fn keep_alive(_: Call, _: Map<String, Value>) -> Answer {
    nothing()
}

/// Ends the session; what nobody else holds is released.
pub(super) async fn close(call: Call, _: Map<String, Value>) -> Answer {
    if !call.server.has_session(&call.session) {
        return Err(Error::new(Code::InvalidSession, "Session not found"));
    }
    call.server.close_session(&call.session);
    Ok(None)
}
