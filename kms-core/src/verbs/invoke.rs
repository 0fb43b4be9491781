//! `invoke`: calls a method of an object.

use protocol::error::clip;
use protocol::{Code, Error};
use serde_json::{Map, Value};

use super::{Answer, required, value};
use crate::call::Call;
use crate::tenant::Tenant;

/// Calls `operation` of `object` with `operationParams`.
pub(super) async fn invoke(call: Call, params: Map<String, Value>) -> Answer {
    let operation = required(&params, "operation")?;
    let id = required(&params, "object")?;
    let (object, class) = call.find(&id)?;
    let arguments = params.get("operationParams").and_then(Value::as_object);
    let Some(method) = class.methods.get(operation.as_str()) else {
        let count = arguments.map_or(0, Map::len);
        return Err(Error::new(
            Code::MalformedTransaction,
            format!("Method '{}' with {count} parameters not found", clip(&operation)),
        ));
    };
    if method.operators && *call.tenant() != Tenant::Operator {
        let message = format!("Only the operator may call {} of this object", clip(&operation));
        return Err(Error::new(Code::OperationNotSupported, message));
    }
    call.server.hold(&call.session, &id)?;
    value((method.run)(object, call, arguments).wait().await?)
}

fn waits(call: &Call, params: &Map<String, Value>) -> bool {
    let text = |name| params.get(name).and_then(Value::as_str).unwrap_or_default();
    let class = call.find(text("object")).map(|(_, class)| class);
    class.is_ok_and(|c| c.methods.get(text("operation")).is_some_and(|m| m.waits))
}

/// Only `invoke` can reach a method that waits on purpose.
pub(super) const fn waits_if_invoke(verb: &str) -> fn(&Call, &Map<String, Value>) -> bool {
    if matches!(verb.as_bytes(), b"invoke") {
        waits
    } else {
        |_, _| false
    }
}
