//! The API reference in Markdown, generated from the description.

use std::fmt::Write as _;

use crate::describe::{Access, Api, ClassDef, EventDef, Field, TypeDef};
use crate::error::Code;

/// The whole reference as one Markdown text.
pub fn markdown(api: &Api) -> String {
    let mut out = String::from(
        "# API reference\n\n\
         Generated from the description of the classes; do not edit. `KMS_BLESS=1 cargo test --test api` writes it anew.\n\n\
         Every class is created by `create`, its methods are called by `invoke`, its events are asked for by `subscribe`.\n\
         A property `x` is read by the operation `getX` and, if it can be set, set by `setX` with one parameter `x`.\n",
    );
    for module in &api.modules {
        let _ = write!(out, "\n## Module {}\n\n{}\n", module.name, module.doc);
        for class in api.classes_of(module.name) {
            write_class(&mut out, class);
        }
        let events = api.events_of(module.name);
        if !events.is_empty() {
            let _ = write!(out, "\n### Events of {}\n", module.name);
            events.iter().for_each(|e| write_event(&mut out, e));
        }
        let types = api.types_of(module.name);
        if !types.is_empty() {
            let _ = write!(out, "\n### Types of {}\n", module.name);
            types.iter().for_each(|t| write_type(&mut out, api, t));
        }
    }
    write_errors(&mut out);
    out
}

fn write_class(out: &mut String, class: &ClassDef) {
    let _ = write!(out, "\n### {}\n\n{}\n", class.name, class.doc);
    if let Some(parent) = class.parent {
        let _ = write!(out, "\nExtends [{parent}](#{}).", parent.to_lowercase());
    }
    match &class.constructor {
        None => out.push_str(" Abstract.\n"),
        Some(params) => {
            let _ = write!(out, " Type name: `{}`.\n\n**Constructor**\n\n", class.name);
            write_fields(out, params);
        }
    }
    if !class.properties.is_empty() {
        out.push_str("\n| Property | Type | Access | Meaning |\n|---|---|---|---|\n");
        for p in &class.properties {
            let access = match p.access {
                Access::Final => "constant",
                Access::Read => "read",
                Access::ReadWrite => "read, set",
            };
            let _ = writeln!(
                out,
                "| `{}` | `{}` | {access} | {} |",
                p.name,
                p.ty.name(),
                cell(&p.doc)
            );
        }
    }
    for m in &class.methods {
        let names: Vec<&str> = m.params.iter().map(|p| p.name).collect();
        let _ = write!(
            out,
            "\n**`{}({})`** → `{}`. {}\n\n",
            m.name,
            names.join(", "),
            m.returns.name(),
            m.doc
        );
        write_fields(out, &m.params);
    }
    if !class.events.is_empty() {
        let names: Vec<String> = class
            .events
            .iter()
            .map(|e| format!("[{0}](#{1})", e.name, e.name.to_lowercase()))
            .collect();
        let _ = write!(out, "\nEvents: {}.\n", names.join(", "));
    }
}

fn write_event(out: &mut String, event: &EventDef) {
    let _ = write!(out, "\n#### {}\n\n{}\n\n", event.name, event.doc);
    write_fields(out, &event.fields);
}

fn write_type(out: &mut String, api: &Api, def: &TypeDef) {
    match def {
        TypeDef::Enum(e) => {
            let _ = write!(
                out,
                "\n#### {}\n\n{}\n\n| Value | Meaning |\n|---|---|\n",
                e.name, e.doc
            );
            for (value, doc) in &e.values {
                let _ = writeln!(out, "| `{value}` | {} |", cell(doc));
            }
        }
        TypeDef::Record(r) => {
            let extends = r.parent.map(|p| format!(" Extends `{p}`.")).unwrap_or_default();
            let _ = write!(out, "\n#### {}\n\n{}{extends}\n\n", r.name, r.doc);
            write_fields(out, &api.own_fields(r));
        }
    }
}

fn write_fields(out: &mut String, fields: &[Field]) {
    if fields.is_empty() {
        return;
    }
    out.push_str("| Name | Type | Default | Meaning |\n|---|---|---|---|\n");
    for f in fields {
        let default = match (&f.default, f.optional) {
            (Some(value), _) => format!("`{value}`"),
            (None, true) => "optional".into(),
            (None, false) => "required".into(),
        };
        let _ = writeln!(
            out,
            "| `{}` | `{}` | {default} | {} |",
            f.name,
            f.ty.name(),
            cell(&f.doc)
        );
    }
}

fn write_errors(out: &mut String) {
    out.push_str("\n## Errors\n\n| Code | `data.type` | Meaning |\n|---|---|---|\n");
    for code in Code::ALL {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            code.number(),
            code.name(),
            code.meaning().trim()
        );
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
