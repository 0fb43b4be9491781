//! Descriptions: plain values that say what a class, a type or an event is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A type as it is named in descriptions.
#[derive(Debug, Clone)]
pub enum Type {
    /// Nothing is returned.
    Void,
    /// `boolean`
    Boolean,
    /// `int`, 32 bits.
    Int,
    /// `int64`
    Int64,
    /// `float`
    Float,
    /// `double`
    Double,
    /// `String`
    String,
    /// A remote object of this class; its id on the wire.
    Object(&'static str),
    /// An enumeration.
    Enum(EnumType),
    /// A register type.
    Record(RecordType),
    /// `T[]`
    List(Box<Type>),
    /// `T<>`: a map from strings.
    Map(Box<Type>),
}

/// An enumeration, described when asked.
#[derive(Debug, Clone, Copy)]
pub struct EnumType {
    /// Its name.
    pub name: &'static str,
    /// Its description.
    pub def: fn() -> EnumDef,
}

/// A register type, described when asked (types may refer to one another).
#[derive(Debug, Clone, Copy)]
pub struct RecordType {
    /// Its name.
    pub name: &'static str,
    /// Its description.
    pub def: fn() -> RecordDef,
}

impl Type {
    /// The name used in descriptions: `String`, `Tag[]`, `Stats<>`.
    pub fn name(&self) -> String {
        match self {
            Type::Void => "void".into(),
            Type::Boolean => "boolean".into(),
            Type::Int => "int".into(),
            Type::Int64 => "int64".into(),
            Type::Float => "float".into(),
            Type::Double => "double".into(),
            Type::String => "String".into(),
            Type::Object(name) => (*name).into(),
            Type::Enum(e) => e.name.into(),
            Type::Record(r) => r.name.into(),
            Type::List(t) => format!("{}[]", t.name()),
            Type::Map(t) => format!("{}<>", t.name()),
        }
    }

    /// Adds the enumerations and register types this type needs.
    fn collect(&self, types: &mut BTreeMap<&'static str, TypeDef>) {
        match self {
            Type::Enum(e) => {
                types.entry(e.name).or_insert_with(|| TypeDef::Enum((e.def)()));
            }
            Type::Record(r) if !types.contains_key(r.name) => {
                let def = (r.def)();
                types.insert(r.name, TypeDef::Record(def.clone()));
                def.fields.iter().for_each(|f| f.ty.collect(types));
            }
            Type::List(t) | Type::Map(t) => t.collect(types),
            _ => {}
        }
    }
}

/// A parameter, a property of a register type, or a property of an event.
#[derive(Debug, Clone)]
pub struct Field {
    /// Name on the wire.
    pub name: &'static str,
    /// What it is: unit, range, consequence.
    pub doc: String,
    /// Its type.
    pub ty: Type,
    /// Whether it may be left out.
    pub optional: bool,
    /// What is taken when it is left out.
    pub default: Option<Value>,
}

/// An enumeration.
#[derive(Debug, Clone)]
pub struct EnumDef {
    /// Name.
    pub name: &'static str,
    /// Wire module: "kurento" for core, elements and filters.
    pub module: &'static str,
    /// What it is.
    pub doc: String,
    /// Values and their docs.
    pub values: Vec<(&'static str, String)>,
}

/// A register type.
#[derive(Debug, Clone)]
pub struct RecordDef {
    /// Name.
    pub name: &'static str,
    /// Wire module.
    pub module: &'static str,
    /// What it is.
    pub doc: String,
    /// The type it extends.
    pub parent: Option<&'static str>,
    /// All its fields, those of the parent included.
    pub fields: Vec<Field>,
}

/// A type of a module.
#[derive(Debug, Clone)]
pub enum TypeDef {
    /// Enumeration.
    Enum(EnumDef),
    /// Register type.
    Record(RecordDef),
}

/// An event.
#[derive(Debug, Clone)]
pub struct EventDef {
    /// Name.
    pub name: &'static str,
    /// Wire module.
    pub module: &'static str,
    /// When it is raised.
    pub doc: String,
    /// The event it extends.
    pub parent: Option<&'static str>,
    /// Its own properties.
    pub fields: Vec<Field>,
}

/// How a property can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Never changes.
    Final,
    /// Can be read.
    Read,
    /// Can be read and set.
    ReadWrite,
}

/// A property: on the wire the operations `getX` and, when it can be set, `setX`.
#[derive(Debug, Clone)]
pub struct PropertyDef {
    /// Name.
    pub name: &'static str,
    /// What it is: unit, range, default.
    pub doc: String,
    /// Its type.
    pub ty: Type,
    /// How it can be used.
    pub access: Access,
}

/// A method.
#[derive(Debug, Clone)]
pub struct MethodDef {
    /// Name.
    pub name: &'static str,
    /// What it does, and how it fails.
    pub doc: String,
    /// Its parameters.
    pub params: Vec<Field>,
    /// What it returns.
    pub returns: Type,
}

/// A remote class.
#[derive(Debug, Clone)]
pub struct ClassDef {
    /// Name, e.g. "WebRtcEndpoint".
    pub name: &'static str,
    /// Module it belongs to: "core", "elements", "filters", ...
    pub module: &'static str,
    /// What it is for.
    pub doc: String,
    /// The class it extends.
    pub parent: Option<&'static str>,
    /// Parameters of `create`; `None`: the class is abstract.
    pub constructor: Option<Vec<Field>>,
    /// Its own properties.
    pub properties: Vec<PropertyDef>,
    /// Its own methods.
    pub methods: Vec<MethodDef>,
    /// Events it raises itself.
    pub events: Vec<EventDef>,
}

impl ClassDef {
    /// The prefix of the class's type name on the wire: core, elements and filters share "kurento".
    pub fn wire_module(&self) -> &'static str {
        wire_module(self.module)
    }

    /// The qualified type name, e.g. "kurento.WebRtcEndpoint".
    pub fn qualified(&self) -> String {
        format!("{}.{}", self.wire_module(), self.name)
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.constructor
            .iter()
            .flatten()
            .chain(self.methods.iter().flat_map(|m| &m.params))
            .chain(self.events.iter().flat_map(|e| &e.fields))
    }
}

/// The prefix that a module's names have on the wire.
pub fn wire_module(module: &'static str) -> &'static str {
    match module {
        "core" | "elements" | "filters" => "kurento",
        other => other,
    }
}

/// A module: what is installed and named together.
#[derive(Debug, Clone)]
pub struct ModuleDef {
    /// Name: "core", "elements", ...
    pub name: &'static str,
    /// Version.
    pub version: &'static str,
    /// What it holds.
    pub doc: &'static str,
}

/// The whole API: modules and the classes in them, parents before children.
#[derive(Debug, Clone, Default)]
pub struct Api {
    /// Modules in order.
    pub modules: Vec<ModuleDef>,
    /// Classes in order, parents first.
    pub classes: Vec<ClassDef>,
    /// Events of module `core` that others extend and nobody raises as such.
    pub base_events: Vec<EventDef>,
    /// Types that no parameter or property names, with their module: what maps hold, and what others extend.
    pub types: Vec<(&'static str, Type)>,
}

impl Api {
    /// The class of this name.
    pub fn class(&self, name: &str) -> Option<&ClassDef> {
        self.classes.iter().find(|c| c.name == name)
    }

    /// The classes of a module.
    pub fn classes_of<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a ClassDef> {
        self.classes.iter().filter(move |c| c.module == module)
    }

    /// The events of a module, each once. An event belongs to the module of the first class that raises it.
    pub fn events_of(&self, module: &str) -> Vec<&EventDef> {
        let mut seen: BTreeMap<&str, (&str, &EventDef)> =
            self.base_events.iter().map(|e| (e.name, ("core", e))).collect();
        for class in &self.classes {
            for event in &class.events {
                seen.entry(event.name).or_insert((class.module, event));
            }
        }
        seen.into_values()
            .filter(|(m, _)| *m == module)
            .map(|(_, e)| e)
            .collect()
    }

    /// The types of a module, by name. A type belongs to the module of the first class that needs it.
    pub fn types_of(&self, module: &str) -> Vec<TypeDef> {
        let mut owner: BTreeMap<&'static str, &'static str> = BTreeMap::new();
        let mut all = BTreeMap::new();
        for (module, ty) in &self.types {
            ty.collect(&mut all);
            for name in all.keys() {
                owner.entry(name).or_insert(module);
            }
        }
        for class in &self.classes {
            class.fields().for_each(|f| f.ty.collect(&mut all));
            class.properties.iter().for_each(|p| p.ty.collect(&mut all));
            class.methods.iter().for_each(|m| m.returns.collect(&mut all));
            class
                .events
                .iter()
                .flat_map(|e| &e.fields)
                .for_each(|f| f.ty.collect(&mut all));
            for name in all.keys() {
                owner.entry(name).or_insert(class.module);
            }
        }
        all.into_iter()
            .filter(|(name, _)| owner.get(name) == Some(&module))
            .map(|(_, def)| def)
            .collect()
    }

    /// The API as one JSON value: what `kms describe` prints, the client generator reads and [`crate::compare`] compares.
    pub fn to_json(&self) -> Value {
        let modules: Vec<Value> = self.modules.iter().map(|m| self.module_json(m)).collect();
        json!({ "protocol": "Kurento Protocol 7.x", "modules": modules })
    }

    fn module_json(&self, module: &ModuleDef) -> Value {
        let classes: Vec<Value> = self.classes_of(module.name).map(class_json).collect();
        let events: Vec<Value> = self
            .events_of(module.name)
            .iter()
            .map(|e| {
                with_parent(
                    json!({"name": e.name, "doc": e.doc, "properties": fields_json(&e.fields)}),
                    e.parent,
                )
            })
            .collect();
        let types = self.types_of(module.name);
        let types: Vec<Value> = types.iter().map(|t| self.type_json(t)).collect();
        json!({ "name": module.name, "doc": module.doc, "classes": classes, "events": events, "types": types })
    }

    fn type_json(&self, def: &TypeDef) -> Value {
        match def {
            TypeDef::Enum(e) => {
                let values: Vec<&str> = e.values.iter().map(|(v, _)| *v).collect();
                json!({"name": e.name, "kind": "ENUM", "doc": e.doc, "values": values})
            }
            TypeDef::Record(r) => {
                let own = self.own_fields(r);
                with_parent(
                    json!({"name": r.name, "kind": "REGISTER", "doc": r.doc, "properties": fields_json(&own)}),
                    r.parent,
                )
            }
        }
    }

    /// A register type's fields without those its parent has.
    pub fn own_fields(&self, record: &RecordDef) -> Vec<Field> {
        let parent_fields: Vec<&'static str> = record
            .parent
            .and_then(|p| self.record(p))
            .map(|p| p.fields.iter().map(|f| f.name).collect())
            .unwrap_or_default();
        record
            .fields
            .iter()
            .filter(|f| !parent_fields.contains(&f.name))
            .cloned()
            .collect()
    }

    fn record(&self, name: &str) -> Option<RecordDef> {
        self.modules
            .iter()
            .flat_map(|m| self.types_of(m.name))
            .find_map(|t| match t {
                TypeDef::Record(r) if r.name == name => Some(r),
                _ => None,
            })
    }
}

fn class_json(class: &ClassDef) -> Value {
    let properties: Vec<Value> = class
        .properties
        .iter()
        .map(|p| {
            let access = match p.access {
                Access::Final => "final",
                Access::Read => "read",
                Access::ReadWrite => "read-write",
            };
            json!({"name": p.name, "doc": p.doc, "type": p.ty.name(), "access": access})
        })
        .collect();
    let methods: Vec<Value> = class
        .methods
        .iter()
        .map(|m| {
            let mut method = json!({"name": m.name, "doc": m.doc, "params": fields_json(&m.params)});
            if !matches!(m.returns, Type::Void) {
                method["returns"] = m.returns.name().into();
            }
            method
        })
        .collect();
    let events: Vec<&str> = class.events.iter().map(|e| e.name).collect();
    let mut json = json!({
        "name": class.name, "doc": class.doc, "properties": properties, "methods": methods, "events": events,
    });
    match &class.constructor {
        Some(params) => json["constructor"] = fields_json(params),
        None => json["abstract"] = true.into(),
    }
    with_parent(json, class.parent)
}

fn with_parent(mut json: Value, parent: Option<&str>) -> Value {
    if let Some(parent) = parent {
        json["extends"] = parent.into();
    }
    json
}

fn fields_json(fields: &[Field]) -> Value {
    fields
        .iter()
        .map(|f| {
            let mut json = json!({"name": f.name, "doc": f.doc, "type": f.ty.name()});
            if f.optional {
                json["optional"] = true.into();
            }
            if let Some(default) = &f.default {
                json["default"] = default.clone();
            }
            json
        })
        .collect()
}

/// Joins the lines of a doc comment.
#[doc(hidden)]
pub fn join_doc(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|l| l.trim())
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}
