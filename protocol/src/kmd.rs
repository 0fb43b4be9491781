//! Kurento module descriptions: what `ServerManager.getKmd` answers and Kurento's code generators read.

use serde_json::{Value, json};

use crate::describe::{Access, Api, ClassDef, Field, TypeDef};

/// The description of a module as JSON text, or `None` if the API has no such module.
pub fn kmd(api: &Api, module: &str) -> Option<String> {
    let def = api.modules.iter().find(|m| m.name == module)?;
    let imports: Vec<Value> = ["core", "elements", "filters"]
        .iter()
        .take_while(|m| **m != def.name)
        .map(|m| json!({"name": m, "version": def.version, "mavenVersion": def.version}))
        .collect();
    let events: Vec<Value> = api
        .events_of(module)
        .iter()
        .map(|e| {
            let mut json = json!({"name": e.name, "doc": e.doc, "properties": fields(&e.fields)});
            if let Some(parent) = e.parent {
                json["extends"] = parent.into();
            }
            json
        })
        .collect();
    let types = api.types_of(module);
    let description = json!({
        "name": def.name,
        "version": def.version,
        "kurentoVersion": def.version,
        "imports": imports,
        "remoteClasses": api.classes_of(module).map(class).collect::<Vec<_>>(),
        "complexTypes": types.iter().map(|t| complex_type(api, t)).collect::<Vec<_>>(),
        "events": events,
    });
    Some(description.to_string())
}

fn class(class: &ClassDef) -> Value {
    let properties: Vec<Value> = class
        .properties
        .iter()
        .map(|p| {
            let mut json = json!({"name": p.name, "doc": p.doc, "type": p.ty.name()});
            match p.access {
                Access::Final => json["final"] = true.into(),
                Access::Read => json["readOnly"] = true.into(),
                Access::ReadWrite => {}
            }
            json
        })
        .collect();
    let methods: Vec<Value> = class
        .methods
        .iter()
        .map(|m| {
            let mut json = json!({"name": m.name, "doc": m.doc, "params": fields(&m.params)});
            if !matches!(m.returns, crate::Type::Void) {
                json["return"] = json!({"doc": "", "type": m.returns.name()});
            }
            json
        })
        .collect();
    let mut json = json!({
        "name": class.name,
        "doc": class.doc,
        "abstract": class.constructor.is_none(),
        "properties": properties,
        "methods": methods,
        "events": class.events.iter().map(|e| e.name).collect::<Vec<_>>(),
    });
    if let Some(parent) = class.parent {
        json["extends"] = parent.into();
    }
    if let Some(params) = &class.constructor {
        json["constructor"] = json!({"doc": class.doc, "params": fields(params)});
    }
    json
}

fn complex_type(api: &Api, def: &TypeDef) -> Value {
    match def {
        TypeDef::Enum(e) => {
            let values: Vec<&str> = e.values.iter().map(|(v, _)| *v).collect();
            json!({"typeFormat": "ENUM", "name": e.name, "doc": e.doc, "values": values})
        }
        TypeDef::Record(r) => {
            let mut json = json!({
                "typeFormat": "REGISTER", "name": r.name, "doc": r.doc, "properties": fields(&api.own_fields(r)),
            });
            if let Some(parent) = r.parent {
                json["extends"] = parent.into();
            }
            json
        }
    }
}

fn fields(fields: &[Field]) -> Value {
    fields
        .iter()
        .map(|f| {
            let mut json = json!({"name": f.name, "doc": f.doc, "type": f.ty.name()});
            if f.optional || f.default.is_some() {
                json["optional"] = true.into();
            }
            if let Some(default) = &f.default {
                json["defaultValue"] = default.clone();
            }
            json
        })
        .collect()
}
