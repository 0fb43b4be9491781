//! `subscribe` and `unsubscribe`.

use protocol::error::clip;
use protocol::{Code, Error};
use serde_json::{Map, Value};

use super::{Answer, nothing, required, value};
use crate::call::Call;

/// Subscribes the session to events of a type that the object's class raises.
pub(super) async fn subscribe(call: Call, params: Map<String, Value>) -> Answer {
    let event = required(&params, "type")?;
    let id = required(&params, "object")?;
    let (object, class) = call.find(&id)?;
    let Some(event) = class.event(&event) else {
        let message = format!("Event '{}' not supported", clip(&event));
        return Err(Error::new(Code::EventNotSupported, message));
    };
    call.server.hold(&call.session, &id)?;
    let place = call.server.take_subscription(&call.session)?;
    value(object.core().subscribe(event, &call.session, place)?.into())
}

/// Ends a subscription. Unknown ones have ended already.
pub(super) async fn unsubscribe(call: Call, params: Map<String, Value>) -> Answer {
    let id = required(&params, "object")?;
    let subscription = required(&params, "subscription")?;
    if let Ok((object, _)) = call.find(&id) {
        object.core().unsubscribe(&subscription);
    }
    nothing()
}
