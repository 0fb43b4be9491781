//! The text of a command, taken apart.

use protocol::error::clip;

/// A command is at most so long, bytes.
pub(super) const LONGEST: usize = 4096;
/// So many parts may stand between `!`.
const MOST_PARTS: usize = 16;

/// What stands between two `!`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An element with properties that are set.
    Element {
        /// Name of its factory.
        factory: String,
        /// Name and value.
        properties: Vec<(String, String)>,
    },
    /// Caps that media is to have there.
    Caps(String),
}

/// Takes a command apart: `ELEMENT NAME=VALUE ... ! ELEMENT ...`, with quotes and backslashes as `gst-launch` has them.
pub(super) fn parse(command: &str) -> Result<Vec<Part>, String> {
    if command.len() > LONGEST {
        return Err(format!("the command is longer than {LONGEST} bytes"));
    }
    let tokens = tokens(command)?;
    let parts: Vec<&[String]> = tokens.split(|token| token == "!").collect();
    if parts.len() > MOST_PARTS {
        return Err(format!("more than {MOST_PARTS} elements"));
    }
    parts.into_iter().map(part).collect()
}

fn part(tokens: &[String]) -> Result<Part, String> {
    let Some((first, rest)) = tokens.split_first() else {
        return Err("syntax error: an element is missing".into());
    };
    if first.contains('/') {
        // Commas may have blanks behind them.
        return Ok(Part::Caps(tokens.join(" ")));
    }
    if !is_name(first) {
        return Err(format!("syntax error: '{}' is no element", clip(first)));
    }
    let property = |token: &String| match token.split_once('=') {
        Some((name, value)) if is_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("syntax error: '{}' is no NAME=VALUE", clip(token))),
    };
    Ok(Part::Element {
        factory: first.clone(),
        properties: rest.iter().map(property).collect::<Result<_, _>>()?,
    })
}

/// Whether it can be the name of an element or a property; neither references (`name.`) nor brackets can.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Words, without the quotes around them or their values. A `!` is a word of its own, as in a shell.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) => {
                let next = chars.next().ok_or("syntax error: nothing stands behind '\\'")?;
                word.get_or_insert_default().push(next);
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => tokens.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("syntax error: a quotation does not end".into());
    }
    tokens.extend(word);
    Ok(tokens)
}
