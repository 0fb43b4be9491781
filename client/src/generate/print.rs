//! Layout: the same choices rustfmt makes, so that formatting the generated file changes nothing.

/// Widest line (rustfmt's `max_width` in this repository).
const WIDTH: usize = 110;
/// Widest chain of calls on one line (rustfmt's `chain_width`, 60% of the former).
const CHAIN: usize = 66;

/// The lines of a doc comment. Every public item has one: `fallback` where the description has none.
pub(super) fn doc(indent: &str, text: &str, fallback: &str) -> String {
    let text = if text.trim().is_empty() { fallback } else { text };
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + 5 + line.len() + word.len() > WIDTH {
            out += &format!("{indent}/// {line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += &escape(word);
    }
    format!("{out}{indent}/// {line}\n")
}

/// What rustdoc would take for a link or a tag.
fn escape(word: &str) -> String {
    if word.contains('`') {
        word.to_owned()
    } else {
        word.replace('[', "\\[").replace('<', "\\<")
    }
}

/// `head(params) -> returns {`, one parameter a line where it would be too wide.
pub(super) fn signature(indent: &str, head: &str, params: &[String], returns: &str) -> String {
    let one_line = format!("{indent}{head}({}) -> {returns} {{\n", params.join(", "));
    if one_line.trim_end_matches('\n').len() <= WIDTH {
        return one_line;
    }
    let lines: String = params.iter().map(|p| format!("{indent}    {p},\n")).collect();
    format!("{indent}{head}(\n{lines}{indent}) -> {returns} {{\n")
}

/// `start.call().call()`, one call a line where it would be too wide. `around` is what stands around the chain, if anything.
pub(super) fn chain(indent: &str, around: Option<&str>, start: &str, calls: &[String]) -> String {
    let joined: String = calls.iter().map(|c| format!(".{c}")).collect();
    let broken = |indent: &str| -> String { calls.iter().map(|c| format!("\n{indent}    .{c}")).collect() };
    let fits = start.len() + joined.len() <= CHAIN;
    match around {
        None if fits => format!("{indent}{start}{joined}\n"),
        None => format!("{indent}{start}{}\n", broken(indent)),
        Some(name) if fits => format!("{indent}{name}({start}{joined})\n"),
        Some(name) => format!(
            "{indent}{name}(\n{indent}    {start}{},\n{indent})\n",
            broken(&format!("{indent}    "))
        ),
    }
}
