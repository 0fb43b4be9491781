//! Classes: a description and the Rust code behind it, in one value.
//!
//! An abstract class is a function generic over the concrete type, `media_element::class::<T: Element>()`, so that the
//! methods a class inherits are typed for the class that inherits them, and one downcast a call is all that dispatch needs.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use protocol::describe::{Access, MethodDef, PropertyDef};
use protocol::wire::Place;
use protocol::{ClassDef, Code, Error, Event, NoParams, Params, Wire};
use serde_json::{Map, Value};

use crate::call::Call;
use crate::object::Object;

/// Parameters as they arrive.
pub type RawParams<'a> = Option<&'a Map<String, Value>>;

/// The result of a call, at once or later.
pub enum Reply {
    /// Done.
    Now(Result<Value, Error>),
    /// Under way.
    Later(Pin<Box<dyn Future<Output = Result<Value, Error>> + Send>>),
}

impl Reply {
    /// Waits for the result.
    pub async fn wait(self) -> Result<Value, Error> {
        match self {
            Reply::Now(result) => result,
            Reply::Later(future) => future.await,
        }
    }
}

type MethodFn = Arc<dyn Fn(Arc<dyn Object>, Call, RawParams<'_>) -> Reply + Send + Sync>;
type CreateFn = Arc<dyn Fn(Call, RawParams<'_>) -> Result<Arc<dyn Object>, Error> + Send + Sync>;

/// A method and how events are treated while it runs.
#[derive(Clone)]
pub struct Method {
    pub(crate) run: MethodFn,
    /// The method waits on purpose (`getUsedCpu`): events are not held back until it answers.
    pub waits: bool,
    /// The method is the operator's alone: it concerns all tenants.
    pub operators: bool,
}

/// A class ready for dispatch: everything it has and inherits.
pub struct ClassEntry {
    /// Its own description.
    pub def: ClassDef,
    /// Descriptions of its ancestors, nearest first.
    pub ancestors: Vec<ClassDef>,
    pub(crate) methods: HashMap<&'static str, Method>,
    pub(crate) events: HashMap<&'static str, ()>,
    pub(crate) create: Option<CreateFn>,
}

impl ClassEntry {
    /// The name of an event the class raises or inherits.
    pub fn event(&self, name: &str) -> Option<&'static str> {
        self.events.get_key_value(name).map(|(name, ())| *name)
    }
}

/// Builds a class.
pub struct Class<T> {
    entry: ClassEntry,
    concrete: std::marker::PhantomData<fn() -> T>,
}

impl<T: Object> Class<T> {
    /// A class of this name in this module.
    pub fn new(name: &'static str, module: &'static str, doc: &str) -> Class<T> {
        let def = ClassDef {
            name,
            module,
            doc: doc.split_whitespace().collect::<Vec<_>>().join(" "),
            parent: None,
            constructor: None,
            properties: Vec::new(),
            methods: Vec::new(),
            events: Vec::new(),
        };
        let entry = ClassEntry {
            def,
            ancestors: Vec::new(),
            methods: HashMap::new(),
            events: HashMap::new(),
            create: None,
        };
        Class {
            entry,
            concrete: std::marker::PhantomData,
        }
    }

    /// Inherits everything `parent` has. Call it first: what follows overrides what was inherited.
    pub fn extends(mut self, parent: Class<T>) -> Self {
        let parent = parent.entry;
        self.entry.def.parent = Some(parent.def.name);
        self.entry.methods = parent.methods;
        self.entry.events = parent.events;
        self.entry.ancestors = parent.ancestors;
        self.entry.ancestors.insert(0, parent.def);
        self
    }

    /// Makes the class one that clients can create.
    pub fn constructor<P: Params>(
        mut self,
        create: impl Fn(&Call, P) -> Result<Arc<T>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.entry.def.constructor = Some(P::fields());
        self.entry.create = Some(Arc::new(move |call, raw| {
            Ok(create(&call, P::decode(raw)?)? as Arc<dyn Object>)
        }));
        self
    }

    /// A method that answers at once.
    pub fn method<P: Params, R: Wire>(
        mut self,
        name: &'static str,
        doc: &str,
        run: impl Fn(&Arc<T>, &Call, P) -> Result<R, Error> + Send + Sync + 'static,
    ) -> Self {
        self.describe_method::<P, R>(name, doc);
        self.install(name, move |this, call, raw| {
            Reply::Now(
                P::decode(raw)
                    .and_then(|p| run(&this, &call, p))
                    .map(|r| r.encode().unwrap_or_default()),
            )
        });
        self
    }

    /// A method that answers later.
    pub fn async_method<P, R, F>(
        mut self,
        name: &'static str,
        doc: &str,
        run: impl Fn(Arc<T>, Call, P) -> F + Send + Sync + 'static,
    ) -> Self
    where
        P: Params,
        R: Wire,
        F: Future<Output = Result<R, Error>> + Send + 'static,
    {
        self.describe_method::<P, R>(name, doc);
        self.install(name, move |this, call, raw| match P::decode(raw) {
            Err(e) => Reply::Now(Err(e)),
            Ok(p) => {
                let future = run(this, call, p);
                Reply::Later(Box::pin(
                    async move { Ok(future.await?.encode().unwrap_or_default()) },
                ))
            }
        });
        self
    }

    /// Says that the method just described waits on purpose: events are not held back until it answers.
    pub fn waits(mut self) -> Self {
        let name = self.entry.def.methods.last().map(|m| m.name).unwrap_or_default();
        if let Some(method) = self.entry.methods.get_mut(name) {
            method.waits = true;
        }
        self
    }

    /// Says that methods, inherited ones too, are the operator's alone: error 40111 to tenants.
    pub fn operators(mut self, names: &[&'static str]) -> Self {
        for name in names {
            if let Some(method) = self.entry.methods.get_mut(name) {
                method.operators = true;
            }
        }
        self
    }

    /// A property that never changes.
    pub fn constant<R: Wire>(
        self,
        name: &'static str,
        doc: &str,
        get: impl Fn(&Arc<T>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.getter(name, doc, Access::Final, move |this, _| get(this))
    }

    /// A property that can be read.
    pub fn property<R: Wire>(
        self,
        name: &'static str,
        doc: &str,
        get: impl Fn(&Arc<T>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.getter(name, doc, Access::Read, move |this, _| get(this))
    }

    /// A property that can be read, and is another for each caller.
    pub fn property_for<R: Wire>(
        self,
        name: &'static str,
        doc: &str,
        get: impl Fn(&Arc<T>, &Call) -> R + Send + Sync + 'static,
    ) -> Self {
        self.getter(name, doc, Access::Read, get)
    }

    /// A property that can be read and set.
    pub fn settable<R: Wire + Send + 'static>(
        self,
        name: &'static str,
        doc: &str,
        get: impl Fn(&Arc<T>) -> R + Send + Sync + 'static,
        set: impl Fn(&Arc<T>, R) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        let mut class = self.getter(name, doc, Access::ReadWrite, move |this, _| get(this));
        class.install(accessor("set", name), move |this, _, raw| {
            let value = R::decode(
                raw.and_then(|r| r.get(name)),
                Place {
                    name,
                    kind: "parameter",
                },
            );
            Reply::Now(value.and_then(|v| set(&this, v)).map(|()| Value::Null))
        });
        class
    }

    /// An event the class raises.
    pub fn event<E: Event>(mut self) -> Self {
        self.entry.def.events.push(E::def());
        self.entry.events.insert(E::NAME, ());
        self
    }

    /// The finished class.
    pub fn finish(self) -> ClassEntry {
        self.entry
    }

    fn getter<R: Wire>(
        mut self,
        name: &'static str,
        doc: &str,
        access: Access,
        get: impl Fn(&Arc<T>, &Call) -> R + Send + Sync + 'static,
    ) -> Self {
        self.entry.def.properties.push(PropertyDef {
            name,
            doc: doc.into(),
            ty: R::ty(),
            access,
        });
        self.install(accessor("get", name), move |this, call, _| {
            Reply::Now(Ok(get(&this, &call).encode().unwrap_or_default()))
        });
        self
    }

    fn describe_method<P: Params, R: Wire>(&mut self, name: &'static str, doc: &str) {
        let def = MethodDef {
            name,
            doc: doc.into(),
            params: P::fields(),
            returns: R::ty(),
        };
        self.entry.def.methods.push(def);
    }

    fn install(
        &mut self,
        name: &'static str,
        run: impl Fn(Arc<T>, Call, RawParams<'_>) -> Reply + Send + Sync + 'static,
    ) {
        let run: MethodFn = Arc::new(move |object, call, raw| match object.into_any().downcast::<T>() {
            Ok(this) => run(this, call, raw),
            // The registry pairs every object with its own class; anything else is a bug here, not the client's.
            Err(_) => Reply::Now(Err(Error::new(
                Code::Unexpected,
                format!("{name}: object of another class"),
            ))),
        });
        let method = Method {
            run,
            waits: false,
            operators: false,
        };
        self.entry.methods.insert(name, method);
    }
}

/// The operation that reads or sets a property: "getMtu", "setMtu". Called once a class at start-up.
fn accessor(verb: &str, property: &str) -> &'static str {
    let mut chars = property.chars();
    let first = chars
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    Box::leak(format!("{verb}{first}{}", chars.as_str()).into_boxed_str())
}

/// Calls a method without parameters, for tests and internal use.
pub fn no_params() -> NoParams {
    NoParams
}
