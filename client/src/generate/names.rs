//! From the names and types of the description to those of Rust.

use super::GenerateError;
use super::model::{Api, TypeDef};

/// `sdpMLineIndex` to `sdp_m_line_index`, `ICECandidatePairs` to `ice_candidate_pairs`.
pub(super) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.replace("IPv", "Ipv").chars().collect();
    let mut out = String::new();
    for (i, c) in chars.iter().enumerate() {
        let word_follows = chars.get(i + 1).is_some_and(|next| next.is_lowercase());
        let after_word = i > 0 && chars[i - 1].is_lowercase();
        if i > 0 && c.is_uppercase() && (after_word || word_follows) {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// The same as a field, parameter or function; words that Rust keeps for itself get `r#`.
pub(super) fn ident(name: &str) -> String {
    const KEYWORDS: [&str; 12] = [
        "as", "box", "enum", "fn", "in", "loop", "match", "mod", "move", "ref", "type", "use",
    ];
    let snake = snake(name);
    if KEYWORDS.contains(&snake.as_str()) {
        format!("r#{snake}")
    } else {
        snake
    }
}

/// `NOT_FLOWING` to `NotFlowing`, `inboundrtp` to `Inboundrtp`, `gatherCandidates` to `GatherCandidates`.
pub(super) fn pascal(name: &str) -> String {
    let shouting = !name.chars().any(char::is_lowercase);
    let mut out = String::new();
    for word in name.split('_') {
        let mut chars = word.chars();
        out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        out.extend(chars.map(|c| if shouting { c.to_ascii_lowercase() } else { c }));
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        format!("_{out}")
    } else {
        out
    }
}

/// What serde's `rename_all = "camelCase"` makes of a field: where that is not the name on the wire, it needs its own `rename`.
pub(super) fn serde_camel(field: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in field.trim_start_matches("r#").chars() {
        match c {
            '_' => upper = true,
            c => {
                out.push(if upper { c.to_ascii_uppercase() } else { c });
                upper = false;
            }
        }
    }
    out
}

/// A described type in Rust. `types` is the path before register types and enumerations: empty inside their module.
pub(super) struct Types<'a> {
    pub(super) api: &'a Api,
    pub(super) types: &'a str,
}

impl Types<'_> {
    /// As a field or a result. Objects are ids there: what they can be attached as is for the application to know.
    pub(super) fn owned(&self, ty: &str) -> Result<String, GenerateError> {
        if let Some(item) = ty.strip_suffix("[]") {
            return Ok(format!("Vec<{}>", self.owned(item)?));
        }
        if let Some(item) = ty.strip_suffix("<>") {
            return Ok(format!("BTreeMap<String, {}>", self.owned(item)?));
        }
        Ok(match ty {
            "String" => "String".into(),
            "boolean" => "bool".into(),
            "int" => "i32".into(),
            "int64" => "i64".into(),
            "float" | "double" => "f64".into(),
            class if self.api.is_class(class) => "ObjectId".into(),
            name if self.api.type_def(name).is_some() => format!("{}{name}", self.types),
            other => return Err(GenerateError::Unresolved(other.to_owned())),
        })
    }

    /// As a parameter.
    pub(super) fn param(&self, ty: &str) -> Result<String, GenerateError> {
        let owned = self.owned(ty)?;
        Ok(match self.api.type_def(ty) {
            Some(TypeDef::Enum { .. }) => owned,
            Some(TypeDef::Register(_)) => format!("&{owned}"),
            None if self.api.is_trait(ty) => format!("&impl {ty}"),
            None if self.api.is_class(ty) => format!("&{ty}"),
            None if ty == "String" => "&str".into(),
            None if ty.ends_with("[]") => format!("&[{}]", self.owned(ty.trim_end_matches("[]"))?),
            None if ty.ends_with("<>") => format!("&{owned}"),
            None => owned,
        })
    }

    /// How a parameter of this name is handed to [`Request::arg`](crate::api::Request::arg).
    pub(super) fn argument(&self, name: &str, ty: &str) -> String {
        if self.api.is_class(ty) {
            format!("{name}.id()")
        } else {
            name.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_rust_names() {
        for (wire, rust) in [
            ("processOffer", "process_offer"),
            ("sdpMLineIndex", "sdp_m_line_index"),
            ("ICECandidatePairs", "ice_candidate_pairs"),
            ("externalIPv4", "external_ipv4"),
            ("E2ELatency", "e2e_latency"),
            ("IceConnectionState", "ice_connection_state"),
        ] {
            assert_eq!(snake(wire), rust);
        }
        assert_eq!(ident("type"), "r#type");
        for (wire, rust) in [
            ("NOT_FLOWING", "NotFlowing"),
            ("VP8", "Vp8"),
            ("inboundrtp", "Inboundrtp"),
        ] {
            assert_eq!(pascal(wire), rust);
        }
    }
}
