//! The classes a server has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::{Api, ClassDef, ModuleDef, Type, Wire};

use crate::class::{Class, ClassEntry};
use crate::object::Object;

/// The classes and modules of a server.
#[derive(Clone, Default)]
pub struct Registry {
    modules: Vec<ModuleDef>,
    classes: BTreeMap<&'static str, Arc<ClassEntry>>,
    /// Qualified type ("kurento.PassThrough") to class.
    qualified: BTreeMap<String, Arc<ClassEntry>>,
    types: Vec<(&'static str, Type)>,
}

impl Registry {
    /// A registry with module `core` in it.
    pub fn new() -> Registry {
        let mut registry = Registry::default();
        registry.module("core", "Objects, pipelines, elements and how they are connected.");
        crate::objects::register(&mut registry);
        registry
    }

    /// Adds a module.
    pub fn module(&mut self, name: &'static str, doc: &'static str) -> &mut Self {
        self.modules.push(ModuleDef {
            name,
            version: API_VERSION,
            doc,
        });
        self
    }

    /// Adds a type to the description of a module: one that is in a map or extended by others, so that no parameter or
    /// property names it.
    pub fn describe_type<T: Wire>(&mut self, module: &'static str) -> &mut Self {
        self.types.push((module, T::ty()));
        self
    }

    /// Adds a class.
    ///
    /// # Panics
    /// If a class of this name is there already: two classes of one name are a mistake in the program.
    pub fn class<T: Object>(&mut self, class: Class<T>) -> &mut Self {
        let entry = Arc::new(class.finish());
        let name = entry.def.name;
        self.qualified.insert(entry.def.qualified(), entry.clone());
        assert!(
            self.classes.insert(name, entry).is_none(),
            "class {name} is registered twice"
        );
        self
    }

    /// The class that `create` names: "PassThrough" or "kurento.PassThrough".
    pub fn find(&self, name: &str) -> Option<&Arc<ClassEntry>> {
        self.classes.get(name).or_else(|| self.qualified.get(name))
    }

    /// The modules.
    pub fn modules(&self) -> &[ModuleDef] {
        &self.modules
    }

    /// The names of the classes of a module that can be created.
    pub fn factories(&self, module: &str) -> Vec<String> {
        let of_module = self
            .classes
            .values()
            .filter(|c| c.def.module == module && c.create.is_some());
        of_module.map(|c| c.def.name.to_owned()).collect()
    }

    /// The description of everything registered, parents before children.
    pub fn api(&self) -> Api {
        let mut seen = BTreeSet::new();
        let mut classes: Vec<ClassDef> = Vec::new();
        for module in &self.modules {
            for entry in self.classes.values().filter(|c| c.def.module == module.name) {
                for def in entry.ancestors.iter().rev().chain([&entry.def]) {
                    if seen.insert(def.name) {
                        classes.push(def.clone());
                    }
                }
            }
        }
        Api {
            modules: self.modules.clone(),
            classes,
            base_events: crate::events::base_events().to_vec(),
            types: self.types.clone(),
        }
    }
}

/// The version of this server.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of the Kurento API that the modules implement, and report as theirs: clients compare it.
pub const API_VERSION: &str = "7.3.1";
