//! Classes: traits, structs, and the builders of requests with optional parameters.

use super::GenerateError;
use super::model::{Api, Class, Field, Method};
use super::names::{Types, ident, pascal, snake};
use super::print::{chain, doc, signature};

/// Appends a class.
pub(super) fn class(api: &Api, class: &Class, out: &mut String) -> Result<(), GenerateError> {
    let types = Types {
        api,
        types: "types::",
    };
    let mut printer = Printer {
        types,
        class,
        builders: String::new(),
    };
    let text = if api.is_trait(&class.name) {
        printer.as_trait()?
    } else {
        printer.as_struct(api)?
    };
    out.push_str(&text);
    out.push_str(&printer.builders);
    Ok(())
}

struct Printer<'a> {
    types: Types<'a>,
    class: &'a Class,
    builders: String,
}

/// A request: what a constructor and a method have in common.
struct Call<'a> {
    /// `create` or the method's name in Rust.
    function: String,
    doc: &'a str,
    fallback: String,
    /// `client: &Client` or `&self`.
    first: &'static str,
    visibility: &'static str,
    /// What makes the request: an expression, and the first call on it.
    start: (&'static str, Option<String>),
    params: &'a [Field],
    returns: String,
}

impl Printer<'_> {
    fn as_trait(&mut self) -> Result<String, GenerateError> {
        let name = &self.class.name;
        let parent = self.class.extends.as_deref().unwrap_or("Object");
        let members = self.members("")?;
        let head = doc(
            "",
            &self.class.doc,
            &format!("What all classes that extend `{name}` have."),
        );
        Ok(match members.is_empty() {
            true => format!("\n{head}pub trait {name}: {parent} {{}}\n"),
            false => format!(
                "\n{head}pub trait {name}: {parent} {{\n{}}}\n",
                members.join("\n")
            ),
        })
    }

    fn as_struct(&mut self, api: &Api) -> Result<String, GenerateError> {
        let name = &self.class.name;
        let head = doc(
            "",
            &self.class.doc,
            &format!("A remote object of class `{name}`."),
        );
        let mut members = Vec::new();
        if let Some(params) = &self.class.constructor {
            members.push(self.call(Call {
                function: "create".into(),
                doc: "",
                fallback: format!("Creates a `{name}` in the server."),
                first: "client: &Client",
                visibility: "pub ",
                start: ("Request::create(client)", None),
                params,
                returns: "Self".into(),
            })?);
        }
        members.extend(self.members("pub ")?);
        let mut out = format!("\n{head}#[derive(Debug, Clone)]\npub struct {name}(Handle);\n");
        if !members.is_empty() {
            out += &format!("\nimpl {name} {{\n{}}}\n", members.join("\n"));
        }
        out += &format!("\nobject!({name});\n");
        for ancestor in api.ancestors(self.class)? {
            out += &format!("impl {} for {name} {{}}\n", ancestor.name);
        }
        Ok(out)
    }

    /// Properties, methods and events.
    fn members(&mut self, visibility: &'static str) -> Result<Vec<String>, GenerateError> {
        let mut members = Vec::new();
        // The id is known without asking: `Object::id`.
        for property in self.class.properties.iter().filter(|p| p.name != "id") {
            members.push(self.getter(property, visibility)?);
            if property.access == "read-write" {
                members.push(self.setter(property, visibility)?);
            }
        }
        for method in &self.class.methods {
            members.push(self.method(method, visibility)?);
        }
        members.extend(
            self.class
                .events
                .iter()
                .map(|event| subscription(event, visibility)),
        );
        Ok(members)
    }

    fn getter(&mut self, property: &Field, visibility: &'static str) -> Result<String, GenerateError> {
        self.call(Call {
            function: snake(&property.name),
            doc: &property.doc,
            fallback: format!("The property `{}`.", property.name),
            first: "&self",
            visibility,
            start: (
                "self.handle()",
                Some(format!("invoke(\"get{}\")", capital(&property.name))),
            ),
            params: &[],
            returns: self.types.owned(&property.ty)?,
        })
    }

    fn setter(&mut self, property: &Field, visibility: &'static str) -> Result<String, GenerateError> {
        self.call(Call {
            function: format!("set_{}", snake(&property.name)),
            doc: "",
            fallback: format!("Sets [`{}`](Self::{}).", property.name, snake(&property.name)),
            first: "&self",
            visibility,
            start: (
                "self.handle()",
                Some(format!("invoke(\"set{}\")", capital(&property.name))),
            ),
            params: std::slice::from_ref(property),
            returns: "()".into(),
        })
    }

    fn method(&mut self, method: &Method, visibility: &'static str) -> Result<String, GenerateError> {
        self.call(Call {
            function: ident(&method.name),
            doc: &method.doc,
            fallback: format!("Invokes `{}`.", method.name),
            first: "&self",
            visibility,
            start: ("self.handle()", Some(format!("invoke(\"{}\")", method.name))),
            params: &method.params,
            returns: method
                .returns
                .as_ref()
                .map_or(Ok("()".into()), |r| self.types.owned(r))?,
        })
    }

    /// A function that makes a request. With optional parameters it returns a builder, which is printed after the class.
    fn call(&mut self, call: Call<'_>) -> Result<String, GenerateError> {
        let (optional, required): (Vec<_>, Vec<_>) = call.params.iter().partition(|p| p.optional);
        let mut params = vec![call.first.to_owned()];
        let mut calls: Vec<String> = call.start.1.iter().cloned().collect();
        for param in required {
            let name = ident(&param.name);
            params.push(format!("{name}: {}", self.types.param(&param.ty)?));
            calls.push(format!(
                "arg(\"{}\", {})",
                param.name,
                self.types.argument(&name, &param.ty)
            ));
        }
        let builder = format!("{}{}", self.class.name, pascal(&call.function));
        let (returns, around) = match optional.is_empty() {
            true => (format!("Request<{}>", call.returns), None),
            false => (builder.clone(), Some(builder.as_str())),
        };
        if !optional.is_empty() {
            self.builder(&builder, &call, &optional)?;
        }
        let head = format!("{}fn {}", call.visibility, call.function);
        Ok(format!(
            "{}{}{}    }}\n",
            doc("    ", call.doc, &call.fallback),
            signature("    ", &head, &params, &returns),
            chain("        ", around, call.start.0, &calls),
        ))
    }

    fn builder(&mut self, name: &str, call: &Call<'_>, optional: &[&Field]) -> Result<(), GenerateError> {
        let class = &self.class.name;
        let returns = if call.returns == "Self" {
            class.clone()
        } else {
            call.returns.clone()
        };
        let mut setters = Vec::new();
        for param in optional {
            let field = ident(&param.name);
            let params = [
                "self".to_owned(),
                format!("{field}: {}", self.types.param(&param.ty)?),
            ];
            let default = match &param.default {
                Some(default) => format!(" Default: `{default}`."),
                None => String::new(),
            };
            let text = if param.doc.is_empty() {
                format!("Sets `{}`.", param.name)
            } else {
                param.doc.clone()
            };
            let argument = self.types.argument(&field, &param.ty);
            setters.push(format!(
                "{}{}        Self(self.0.arg(\"{}\", {argument}))\n    }}\n",
                doc("    ", &format!("{text}{default}"), ""),
                signature("    ", &format!("pub fn {field}"), &params, "Self"),
                param.name,
            ));
        }
        self.builders += &format!(
            "\n/// [`{class}::{function}`] with optional parameters; sent by `.await`.\n\
             #[derive(Debug)]\n\
             #[must_use = \"a request is sent when it is awaited\"]\n\
             pub struct {name}(Request<{returns}>);\n\n\
             impl {name} {{\n{}}}\n\n\
             awaitable!({name} => {returns});\n",
            setters.join("\n"),
            function = call.function,
        );
        Ok(())
    }
}

fn subscription(event: &str, visibility: &str) -> String {
    // A few events are called "OnSomething" already.
    let name = snake(
        event
            .strip_prefix("On")
            .filter(|rest| rest.starts_with(char::is_uppercase))
            .unwrap_or(event),
    );
    format!(
        "    /// Subscribes to [`{event}`](events::{event}).\n    \
         {visibility}fn on_{name}(&self) -> Subscribe<events::{event}> {{\n        self.handle().on()\n    }}\n"
    )
}

/// `iceTcp` to `IceTcp`: the part after `get` and `set`.
fn capital(name: &str) -> String {
    let mut chars = name.chars();
    chars
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(chars)
        .collect()
}
