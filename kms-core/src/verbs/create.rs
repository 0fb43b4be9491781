//! `create`, `describe`, `release`: objects come, are asked what they are, and go.

use protocol::error::clip;
use protocol::{Code, Error};
use serde_json::{Map, Value};

use super::{Answer, nothing, required, value};
use crate::call::Call;
use crate::class::ClassEntry;
use crate::object::Object;

/// Makes an object of class `type` with `constructorParams`, then sets `properties`.
pub(super) async fn create(call: Call, params: Map<String, Value>) -> Answer {
    let name = required(&params, "type")?;
    let class = call.server.registry().find(&name).cloned();
    let Some((class, make)) = class.and_then(|c| c.create.clone().map(|make| (c, make))) else {
        return Err(Error::new(
            Code::ObjectNotAvailable,
            format!("Factory '{}' not found", clip(&name)),
        ));
    };
    let constructor = match params.get("constructorParams") {
        None | Some(Value::Null) => None,
        Some(Value::Object(map)) => Some(map),
        Some(_) => {
            return Err(Error::new(
                Code::Marshall,
                "'constructorParams' should be an object",
            ));
        }
    };
    let leave = call.server.ask_leave(&call.session, &class)?;
    let object = make(call.clone(), constructor)?;
    call.server.add(object.clone(), class.clone(), leave)?;
    if let Some(Value::Object(properties)) = params.get("properties") {
        set_properties(&call, &object, &class, properties).await;
    }
    value(object.core().id().into())
}

/// Sets what can be set; the rest is logged, for Kurento ignores it and clients send it.
async fn set_properties(
    call: &Call,
    object: &std::sync::Arc<dyn Object>,
    class: &ClassEntry,
    properties: &Map<String, Value>,
) {
    // The official JavaScript client sends the pipeline with all that a pipeline creates, with ports of hubs too.
    for (name, value) in properties.iter().filter(|(name, _)| *name != "mediaPipeline") {
        let mut chars = name.chars();
        let setter = chars
            .next()
            .map(|c| format!("set{}{}", c.to_uppercase(), chars.as_str()))
            .unwrap_or_default();
        let outcome = match class.methods.get(setter.as_str()) {
            Some(method) => {
                let params = Map::from_iter([(name.clone(), value.clone())]);
                (method.run)(object.clone(), call.clone(), Some(&params))
                    .wait()
                    .await
                    .map(|_| ())
            }
            None => Err(Error::new(Code::Marshall, "there is no such property to set")),
        };
        if let Err(error) = outcome {
            tracing::warn!(object = object.core().id(), property = clip(name), %error, "property of create is ignored");
        }
    }
}

/// Tells an object's class and ancestors.
pub(super) async fn describe(call: Call, params: Map<String, Value>) -> Answer {
    let id = required(&params, "object")?;
    let (_, class) = call.find(&id)?;
    call.server.hold(&call.session, &id)?;
    let hierarchy: Vec<String> = class.ancestors.iter().map(|a| a.qualified()).collect();
    Ok(Some(Map::from_iter([
        ("type".to_owned(), class.def.name.into()),
        ("qualifiedType".to_owned(), class.def.qualified().into()),
        ("hierarchy".to_owned(), hierarchy.into()),
    ])))
}

/// Releases an object and its children. Unknown objects are released already.
pub(super) async fn release(call: Call, params: Map<String, Value>) -> Answer {
    let id = required(&params, "object")?;
    if call.find(&id).is_ok() {
        call.server.release(&id);
    }
    nothing()
}
