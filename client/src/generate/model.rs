//! The description as it is read from JSON, and questions to it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::GenerateError;

/// Abstract classes that have objects all the same: the server makes them, clients can't. They become structs.
const MADE_BY_THE_SERVER: [&str; 1] = ["ServerManager"];

#[derive(Deserialize)]
struct Document {
    modules: Vec<Module>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    classes: Vec<Class>,
    #[serde(default)]
    events: Vec<Record>,
    #[serde(default)]
    types: Vec<TypeDef>,
}

#[derive(Deserialize)]
pub(super) struct Class {
    pub(super) name: String,
    #[serde(default)]
    pub(super) doc: String,
    pub(super) extends: Option<String>,
    pub(super) constructor: Option<Vec<Field>>,
    #[serde(default)]
    pub(super) properties: Vec<Field>,
    #[serde(default)]
    pub(super) methods: Vec<Method>,
    #[serde(default)]
    pub(super) events: Vec<String>,
}

/// A parameter, or a property of a class, an event or a register type.
#[derive(Clone, Deserialize)]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(default)]
    pub(super) doc: String,
    #[serde(rename = "type")]
    pub(super) ty: String,
    #[serde(default)]
    pub(super) optional: bool,
    pub(super) default: Option<Value>,
    #[serde(default)]
    pub(super) access: String,
}

#[derive(Deserialize)]
pub(super) struct Method {
    pub(super) name: String,
    #[serde(default)]
    pub(super) doc: String,
    #[serde(default)]
    pub(super) params: Vec<Field>,
    pub(super) returns: Option<String>,
}

/// An event or a register type.
#[derive(Deserialize)]
pub(super) struct Record {
    pub(super) name: String,
    #[serde(default)]
    pub(super) doc: String,
    pub(super) extends: Option<String>,
    #[serde(default)]
    pub(super) properties: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
pub(super) enum TypeDef {
    #[serde(rename = "ENUM")]
    Enum {
        name: String,
        #[serde(default)]
        doc: String,
        values: Vec<String>,
    },
    #[serde(rename = "REGISTER")]
    Register(Record),
}

impl TypeDef {
    fn name(&self) -> &str {
        match self {
            TypeDef::Enum { name, .. } | TypeDef::Register(Record { name, .. }) => name,
        }
    }
}

/// The whole description. Sorted by name, so that the same API always gives the same text.
pub(super) struct Api {
    classes: BTreeMap<String, Class>,
    events: BTreeMap<String, Record>,
    types: BTreeMap<String, TypeDef>,
}

impl Api {
    pub(super) fn read(json: &Value) -> Result<Api, GenerateError> {
        let document = Document::deserialize(json)?;
        let mut api = Api {
            classes: BTreeMap::new(),
            events: BTreeMap::new(),
            types: BTreeMap::new(),
        };
        for module in document.modules {
            api.classes
                .extend(module.classes.into_iter().map(|c| (c.name.clone(), c)));
            api.events
                .extend(module.events.into_iter().map(|e| (e.name.clone(), e)));
            api.types
                .extend(module.types.into_iter().map(|t| (t.name().to_owned(), t)));
        }
        if let Some(class) = api
            .classes()
            .find(|c| !api.is_trait(&c.name) && api.extended(&c.name))
        {
            return Err(GenerateError::ConcreteParent(class.name.clone()));
        }
        Ok(api)
    }

    pub(super) fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }

    pub(super) fn types(&self) -> impl Iterator<Item = &TypeDef> {
        self.types.values()
    }

    /// The events that some class raises; what they only extend is not among them.
    pub(super) fn raised_events(&self) -> impl Iterator<Item = &Record> {
        self.events
            .values()
            .filter(|e| self.classes.values().any(|c| c.events.contains(&e.name)))
    }

    pub(super) fn is_class(&self, name: &str) -> bool {
        self.classes.contains_key(name)
    }

    /// Whether the class becomes a trait. Otherwise it becomes a struct.
    pub(super) fn is_trait(&self, class: &str) -> bool {
        let abstract_ = self.classes.get(class).is_some_and(|c| c.constructor.is_none());
        abstract_ && !MADE_BY_THE_SERVER.contains(&class)
    }

    pub(super) fn type_def(&self, name: &str) -> Option<&TypeDef> {
        self.types.get(name)
    }

    /// The class's ancestors, nearest first.
    pub(super) fn ancestors(&self, class: &Class) -> Result<Vec<&Class>, GenerateError> {
        let mut line = Vec::new();
        let mut next = class.extends.as_ref();
        while let Some(name) = next {
            let parent = self
                .classes
                .get(name)
                .ok_or_else(|| GenerateError::Unresolved(name.clone()))?;
            line.push(parent);
            next = parent.extends.as_ref();
        }
        Ok(line)
    }

    /// An event's or register type's fields, those it inherits first.
    pub(super) fn fields(&self, record: &Record) -> Result<Vec<Field>, GenerateError> {
        let mut fields = match &record.extends {
            Some(name) => self.fields(self.record(name)?)?,
            None => Vec::new(),
        };
        fields.retain(|f| record.properties.iter().all(|own| own.name != f.name));
        fields.extend(record.properties.iter().cloned());
        Ok(fields)
    }

    /// Whether other register types extend this one.
    pub(super) fn is_base_type(&self, name: &str) -> bool {
        self.types()
            .any(|t| matches!(t, TypeDef::Register(r) if r.extends.as_deref() == Some(name)))
    }

    fn record(&self, name: &str) -> Result<&Record, GenerateError> {
        match (self.events.get(name), self.types.get(name)) {
            (Some(event), _) => Ok(event),
            (_, Some(TypeDef::Register(record))) => Ok(record),
            _ => Err(GenerateError::Unresolved(name.to_owned())),
        }
    }

    fn extended(&self, class: &str) -> bool {
        self.classes().any(|c| c.extends.as_deref() == Some(class))
    }
}
