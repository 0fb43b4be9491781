//! Events, register types and enumerations.

use super::GenerateError;
use super::model::{Api, Field, Record, TypeDef};
use super::names::{Types, ident, pascal, serde_camel};
use super::print::doc;

/// Appends the module `events`.
pub(super) fn events(api: &Api, out: &mut String) -> Result<(), GenerateError> {
    *out += "\n/// Events, as they come out of a subscription.\npub mod events {\n    use super::*;\n";
    let types = Types {
        api,
        types: "types::",
    };
    for event in api.raised_events() {
        let fallback = format!("The event `{}`.", event.name);
        *out += &structure(
            &types,
            event,
            &fallback,
            "Debug, Clone, Default, serde::Deserialize",
            false,
        )?;
        *out += &format!(
            "\n    impl crate::stubs::Event for {0} {{\n        const NAME: &'static str = \"{0}\";\n    }}\n",
            event.name
        );
    }
    *out += "}\n";
    Ok(())
}

/// Appends the module `types`.
pub(super) fn types(api: &Api, out: &mut String) -> Result<(), GenerateError> {
    *out += "\n/// Register types and enumerations: what parameters, results and events are made of.\npub mod types {\n    use super::*;\n";
    let types = Types { api, types: "" };
    for def in api.types() {
        *out += &match def {
            TypeDef::Enum { name, doc, values } => enumeration(name, doc, values),
            TypeDef::Register(record) => {
                let fallback = format!("The register type `{}`.", record.name);
                let derive = "Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize";
                structure(&types, record, &fallback, derive, api.is_base_type(&record.name))?
            }
        };
    }
    *out += "}\n";
    Ok(())
}

fn structure(
    types: &Types<'_>,
    record: &Record,
    fallback: &str,
    derive: &str,
    base: bool,
) -> Result<String, GenerateError> {
    let mut fields = String::new();
    for field in types.api.fields(record)? {
        fields += &structure_field(types, &field)?;
    }
    if base {
        fields += "        /// What types that extend this one have besides; see [`downcast`](crate::api::downcast).\n";
        fields +=
            "        #[serde(flatten)]\n        pub extra: serde_json::Map<String, serde_json::Value>,\n";
    }
    // Fields that a server leaves out get the default of their type: servers of other versions have fewer.
    let head = doc("    ", &record.doc, fallback);
    let name = &record.name;
    let body = if fields.is_empty() {
        " {}".to_owned()
    } else {
        format!(" {{\n{fields}    }}")
    };
    Ok(format!(
        "\n{head}    #[derive({derive})]\n    #[serde(default, rename_all = \"camelCase\")]\n    pub struct {name}{body}\n"
    ))
}

fn structure_field(types: &Types<'_>, field: &Field) -> Result<String, GenerateError> {
    let name = ident(&field.name);
    let mut ty = types.owned(&field.ty)?;
    let mut serde = Vec::new();
    if serde_camel(&name) != field.name {
        serde.push(format!("rename = \"{}\"", field.name));
    }
    if field.optional {
        ty = format!("Option<{ty}>");
        serde.push("skip_serializing_if = \"Option::is_none\"".into());
    }
    let default = match &field.default {
        Some(default) => format!(" Default: `{default}`."),
        None => String::new(),
    };
    let text = if field.doc.is_empty() {
        format!("The property `{}`.", field.name)
    } else {
        field.doc.clone()
    };
    let attribute = if serde.is_empty() {
        String::new()
    } else {
        format!("        #[serde({})]\n", serde.join(", "))
    };
    Ok(format!(
        "{}{attribute}        pub {name}: {ty},\n",
        doc("        ", &format!("{text}{default}"), "")
    ))
}

fn enumeration(name: &str, text: &str, values: &[String]) -> String {
    let mut variants = String::new();
    for value in values {
        variants += &format!("        /// `{value}`\n");
        let variant = pascal(value);
        if variant != *value {
            variants += &format!("        #[serde(rename = \"{value}\")]\n");
        }
        variants += &format!("        {variant},\n");
    }
    format!(
        "\n{head}    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]\n    \
         #[non_exhaustive]\n    pub enum {name} {{\n{variants}        \
         /// A value this client doesn't know, or none.\n        #[default]\n        #[serde(other)]\n        Unknown,\n    }}\n",
        head = doc("    ", text, &format!("The enumeration `{name}`.")),
    )
}
