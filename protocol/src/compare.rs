//! Holds one description of an API against another: what does the other have that ours lacks or names differently?

use serde_json::Value;

/// Everything in `reference` that `ours` lacks or has otherwise, one line each, e.g. "WebRtcEndpoint.gatherCandidates: missing".
/// What `ours` has beyond the reference is no difference. Both are in the shape of [`crate::Api::to_json`].
pub fn missing(ours: &Value, reference: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for module in items(reference, "modules") {
        let Some(mine) = named(ours, "modules", name(module)) else {
            out.push(format!("module {}: missing", name(module)));
            continue;
        };
        for class in items(module, "classes") {
            match named(mine, "classes", name(class)) {
                Some(own) => class_differences(own, class, &mut out),
                None => out.push(format!("class {}: missing", name(class))),
            }
        }
        for (list, what) in [("events", "event"), ("types", "type")] {
            for item in items(module, list) {
                match find_anywhere(ours, list, name(item)) {
                    Some(own) => {
                        definition_differences(own, item, &format!("{what} {}", name(item)), &mut out)
                    }
                    None => out.push(format!("{what} {}: missing", name(item))),
                }
            }
        }
    }
    out
}

fn class_differences(ours: &Value, reference: &Value, out: &mut Vec<String>) {
    let class = name(reference);
    same(ours, reference, "extends", class, out);
    if items(reference, "constructor").next().is_some() {
        fields(
            ours,
            reference,
            "constructor",
            &format!("{class}.constructor"),
            out,
        );
    }
    for property in items(reference, "properties") {
        let at = format!("{class}.{}", name(property));
        match named(ours, "properties", name(property)) {
            Some(own) => {
                same(own, property, "type", &at, out);
                same(own, property, "access", &at, out);
            }
            None => out.push(format!("{at}: missing")),
        }
    }
    for method in items(reference, "methods") {
        let at = format!("{class}.{}", name(method));
        match named(ours, "methods", name(method)) {
            Some(own) => {
                same(own, method, "returns", &at, out);
                fields(own, method, "params", &at, out);
            }
            None => out.push(format!("{at}: missing")),
        }
    }
    for event in items(reference, "events") {
        if !items(ours, "events").any(|e| e == event) {
            out.push(format!(
                "{class}: event {} missing",
                event.as_str().unwrap_or_default()
            ));
        }
    }
}

fn definition_differences(ours: &Value, reference: &Value, at: &str, out: &mut Vec<String>) {
    same(ours, reference, "extends", at, out);
    same(ours, reference, "kind", at, out);
    for value in items(reference, "values") {
        if !items(ours, "values").any(|v| v == value) {
            out.push(format!("{at}: value {value} missing"));
        }
    }
    fields(ours, reference, "properties", at, out);
}

fn fields(ours: &Value, reference: &Value, list: &str, at: &str, out: &mut Vec<String>) {
    for field in items(reference, list) {
        let at = format!("{at}({})", name(field));
        match named(ours, list, name(field)) {
            Some(own) => {
                for key in ["type", "optional", "default"] {
                    same(own, field, key, &at, out);
                }
            }
            None => out.push(format!("{at}: missing")),
        }
    }
}

fn same(ours: &Value, reference: &Value, key: &str, at: &str, out: &mut Vec<String>) {
    let (own, other) = (&ours[key], &reference[key]);
    let numbers_equal = matches!((own.as_f64(), other.as_f64()), (Some(a), Some(b)) if (a - b).abs() < 1e-6);
    if own != other && !numbers_equal {
        out.push(format!("{at}: {key} is {own}, should be {other}"));
    }
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    value[list].as_array().into_iter().flatten()
}

fn named<'a>(value: &'a Value, list: &str, wanted: &str) -> Option<&'a Value> {
    items(value, list).find(|item| name(item) == wanted)
}

fn find_anywhere<'a>(api: &'a Value, list: &str, wanted: &str) -> Option<&'a Value> {
    items(api, "modules").find_map(|m| named(m, list, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn api(params: Value) -> Value {
        json!({"modules": [{"name": "core", "classes": [
            {"name": "A", "methods": [{"name": "m", "params": params, "returns": "String"}], "events": ["E"]}
        ]}]})
    }

    #[test]
    fn tells_what_is_missing_and_what_differs() {
        let reference = api(json!([{"name": "p", "type": "int", "optional": true, "default": 1}]));
        assert!(missing(&reference, &reference).is_empty());
        assert_eq!(missing(&api(json!([])), &reference), ["A.m(p): missing"]);
        let other = api(json!([{"name": "p", "type": "String", "optional": true, "default": 1.0}]));
        assert_eq!(
            missing(&other, &reference),
            ["A.m(p): type is \"String\", should be \"int\""]
        );
        assert_eq!(
            missing(&json!({"modules": []}), &reference),
            ["module core: missing"]
        );
    }
}
