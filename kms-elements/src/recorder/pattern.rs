//! Names of files that are made of the time and of counters.

use std::path::PathBuf;
use std::time::SystemTime;

use gst::glib::DateTime;

/// What a URI may hold between braces.
pub(super) const FIELDS: &str = "{YYYY}, {MM}, {DD}, {hh}, {mm}, {ss}, {n} and {name}";

/// A recorder's name takes at most so many bytes of a file's name, of the 255 that most file systems have.
const LONGEST_NAME: usize = 120;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Number,
    Name,
}

impl Field {
    fn named(name: &str) -> Option<Field> {
        Some(match name {
            "YYYY" => Field::Year,
            "MM" => Field::Month,
            "DD" => Field::Day,
            "hh" => Field::Hour,
            "mm" => Field::Minute,
            "ss" => Field::Second,
            "n" => Field::Number,
            "name" => Field::Name,
            _ => return None,
        })
    }

    /// How many digits it has; `None`: any number of them.
    fn digits(self) -> Option<usize> {
        match self {
            Field::Year => Some(4),
            Field::Number | Field::Name => None,
            _ => Some(2),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// What the names of one recorder are made of at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    /// The recorder's name.
    pub(super) name: &'a str,
    /// When the file begins.
    pub(super) at: SystemTime,
    /// Which file of the recorder it is, from 1.
    pub(super) number: u64,
}

/// An absolute path with fields in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What stands between slashes.
    components: Vec<Vec<Piece>>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// A name between braces that means nothing.
    #[error("{{{0}}} is not known; there are {FIELDS}")]
    UnknownField(String),
    /// A brace without its partner.
    #[error("a brace has no partner; write %7B and %7D for braces that mean nothing")]
    Brace,
    /// Where `{n}` ends would be unclear.
    #[error("{{n}} stands directly beside another number")]
    NumbersTouch,
    /// Percent-encoding that isn't.
    #[error("its percent-encoding is wrong")]
    Encoding,
    /// A path that ends with a slash, or has a zero byte in it.
    #[error("it names no file")]
    NoFile,
    /// `..` would lead out of what retention may look at.
    #[error("'..' is not allowed in it")]
    Up,
}

impl Pattern {
    /// Reads an absolute path; each text between fields is given to `decode`.
    pub(super) fn parse(
        path: &str,
        decode: impl Fn(&str) -> Option<String>,
    ) -> Result<Pattern, PatternError> {
        let components = path.split('/').filter(|c| !c.is_empty());
        let components = components
            .map(|component| parse_component(component, &decode))
            .collect::<Result<Vec<_>, _>>()?;
        if path.ends_with('/') || components.is_empty() {
            return Err(PatternError::NoFile);
        }
        Ok(Pattern { components })
    }

    /// Whether all files get the same name.
    pub(super) fn is_fixed(&self) -> bool {
        let mut pieces = self.components.iter().flatten();
        pieces.all(|p| matches!(p, Piece::Text(_) | Piece::Field(Field::Name)))
    }

    /// The path it gives.
    pub(super) fn path(&self, values: Values<'_>) -> PathBuf {
        let mut path = PathBuf::from("/");
        let time = utc(values.at);
        for component in &self.components {
            path.push(expand(component, values, &time));
        }
        path
    }

    /// How many components there are.
    pub(super) fn depth(&self) -> usize {
        self.components.len()
    }

    /// The name that a component has always, if it has; what it depends on else is to be looked for.
    pub(super) fn fixed_component(&self, index: usize, name: &str) -> Option<String> {
        let component = self.components.get(index)?;
        let texts = component.iter().map(|piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Field(Field::Name) => Some(safe(name)),
            Piece::Field(_) => None,
        });
        texts.collect()
    }

    /// Whether a name is one that this component can give. That of the file itself may have a number behind it, for names that
    /// were taken.
    pub(super) fn matches(&self, index: usize, name: &str, candidate: &str) -> bool {
        let Some(component) = self.components.get(index) else {
            return false;
        };
        if fits(component, name, candidate) {
            return true;
        }
        let is_file = index + 1 == self.components.len();
        is_file && without_number(candidate).is_some_and(|plain| fits(component, name, &plain))
    }
}

fn parse_component(text: &str, decode: &impl Fn(&str) -> Option<String>) -> Result<Vec<Piece>, PatternError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let open = rest.find('{').unwrap_or(rest.len());
        let (plain, after) = rest.split_at(open);
        if plain.contains('}') {
            return Err(PatternError::Brace);
        }
        if !plain.is_empty() {
            let plain = decode(plain).ok_or(PatternError::Encoding)?;
            if plain.contains(['\0', '/']) {
                return Err(PatternError::NoFile);
            }
            pieces.push(Piece::Text(plain));
        }
        let Some(inside) = after.strip_prefix('{') else {
            break;
        };
        let (name, after) = inside.split_once('}').ok_or(PatternError::Brace)?;
        let field = Field::named(name)
            .ok_or_else(|| PatternError::UnknownField(protocol::error::clip(name).to_string()))?;
        pieces.push(Piece::Field(field));
        rest = after;
    }
    if pieces == [Piece::Text("..".into())] {
        return Err(PatternError::Up);
    }
    if pieces == [Piece::Text(".".into())] {
        return Err(PatternError::NoFile);
    }
    if pieces.windows(2).any(touch) {
        return Err(PatternError::NumbersTouch);
    }
    Ok(pieces)
}

/// Two fields of digits of which one has any number of them.
fn touch(pair: &[Piece]) -> bool {
    let digits = |piece: &Piece, first: bool| match piece {
        Piece::Field(Field::Name) => false,
        Piece::Field(_) => true,
        Piece::Text(text) => {
            let at_seam = if first {
                text.chars().last()
            } else {
                text.chars().next()
            };
            at_seam.is_some_and(|c| c.is_ascii_digit())
        }
    };
    let [a, b] = pair else { return false };
    (*a == Piece::Field(Field::Number) && digits(b, false))
        || (*b == Piece::Field(Field::Number) && digits(a, true))
}

/// Year, month, day, hour, minute and second, UTC.
fn utc(at: SystemTime) -> [u64; 6] {
    let seconds = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0));
    let Ok(time) = DateTime::from_unix_utc(seconds) else {
        return [1970, 1, 1, 0, 0, 0];
    };
    [
        time.year(),
        time.month(),
        time.day_of_month(),
        time.hour(),
        time.minute(),
        time.second(),
    ]
    .map(|n| u64::try_from(n).unwrap_or(0))
}

fn expand(component: &[Piece], values: Values<'_>, time: &[u64; 6]) -> String {
    let mut text = String::new();
    for piece in component {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Field(Field::Name) => text.push_str(&safe(values.name)),
            Piece::Field(Field::Number) => text.push_str(&values.number.to_string()),
            Piece::Field(field) => {
                let value = time.get(*field as usize).copied().unwrap_or_default();
                let width = field.digits().unwrap_or_default();
                text.push_str(&format!("{value:0width$}"));
            }
        }
    }
    text
}

/// A name without what leads elsewhere in a file system.
fn safe(name: &str) -> String {
    let mut safe = String::new();
    for (index, letter) in name.chars().enumerate() {
        let bad = letter == '/' || letter.is_control() || (index == 0 && letter == '.');
        let letter = if bad { '_' } else { letter };
        if safe.len() + letter.len_utf8() > LONGEST_NAME {
            break;
        }
        safe.push(letter);
    }
    if safe.is_empty() { "_".into() } else { safe }
}

fn fits(component: &[Piece], name: &str, candidate: &str) -> bool {
    let mut rest = candidate;
    for piece in component {
        let after = match piece {
            Piece::Text(text) => rest.strip_prefix(text.as_str()),
            Piece::Field(Field::Name) => rest.strip_prefix(safe(name).as_str()),
            Piece::Field(field) => {
                let found = rest.bytes().take_while(u8::is_ascii_digit).count();
                let wanted = field.digits().unwrap_or(found);
                if wanted == 0 || found < wanted {
                    return false;
                }
                rest.get(wanted..)
            }
        };
        let Some(after) = after else { return false };
        rest = after;
    }
    rest.is_empty()
}

/// The name with a number behind it that it gets when it is taken: `a.mp4`, `a-2.mp4`.
pub(super) fn numbered(name: &str, number: u32) -> String {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => format!("{stem}-{number}.{ending}"),
        _ => format!("{name}-{number}"),
    }
}

fn without_number(name: &str) -> Option<String> {
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
        _ => (name, String::new()),
    };
    let (plain, number) = stem.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (is_number && !plain.is_empty()).then(|| format!("{plain}{ending}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> Result<Pattern, PatternError> {
        Pattern::parse(text, |t| Some(t.to_owned()))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn names_are_made_of_time_counter_and_name() {
        let pattern = parse("/rec/{name}/{YYYY}-{MM}-{DD}/{hh}-{mm}-{ss}_{n}.mp4").expect("a pattern");
        let values = Values {
            name: "front/door",
            at: at(1_709_210_096),
            number: 12,
        };
        assert_eq!(
            pattern.path(values),
            PathBuf::from("/rec/front_door/2024-02-29/12-34-56_12.mp4")
        );
        assert!(!pattern.is_fixed());
        assert!(parse("/rec/{name}.mp4").expect("a pattern").is_fixed());
    }

    #[test]
    fn names_of_recorders_lead_nowhere_else() {
        assert_eq!(safe("../../etc"), "_._.._etc");
        assert!(!safe("../../etc").contains('/') && !safe("..").starts_with('.'));
        assert_eq!(safe(""), "_");
        assert!(safe(&"é".repeat(300)).len() <= LONGEST_NAME);
    }

    #[test]
    fn what_a_pattern_wrote_is_recognised_and_nothing_else() {
        let pattern = parse("/rec/{name}-{YYYY}{MM}{DD}/{hh}-{mm}-{ss}.mp4").expect("a pattern");
        assert_eq!(pattern.depth(), 3);
        assert_eq!(pattern.fixed_component(0, "cam"), Some("rec".into()));
        assert_eq!(pattern.fixed_component(1, "cam"), None);
        assert!(pattern.matches(1, "cam", "cam-20240229"));
        assert!(!pattern.matches(1, "cam", "cam2-20240229"));
        assert!(
            !pattern.matches(1, "cam", "cam-20240229-2"),
            "only files are numbered"
        );
        for name in ["12-34-56.mp4", "12-34-56-2.mp4"] {
            assert!(pattern.matches(2, "cam", name), "{name}");
        }
        for name in [
            "12-34-56.mp4.bak",
            "12-34-5.mp4",
            "a12-34-56.mp4",
            "12-34-56-x.mp4",
            "12-34.mp4",
            "",
        ] {
            assert!(!pattern.matches(2, "cam", name), "{name}");
        }
        let counted = parse("/rec/part{n}.webm").expect("a pattern");
        assert!(counted.matches(1, "", "part1234.webm") && !counted.matches(1, "", "part.webm"));
    }

    #[test]
    fn names_that_are_taken_get_a_number() {
        assert_eq!(numbered("a.b.mp4", 2), "a.b-2.mp4");
        assert_eq!(numbered("a", 3), "a-3");
        assert_eq!(numbered(".hidden", 2), ".hidden-2");
        for name in ["a.b.mp4", "a", ".hidden"] {
            assert_eq!(without_number(&numbered(name, 7)).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, error) in [
            ("/a/{day}.mp4", PatternError::UnknownField("day".into())),
            ("/a/{YYYY.mp4", PatternError::Brace),
            ("/a/YYYY}.mp4", PatternError::Brace),
            ("/a/{n}{YYYY}.mp4", PatternError::NumbersTouch),
            ("/a/{n}1.mp4", PatternError::NumbersTouch),
            ("/a/", PatternError::NoFile),
            ("/a\0b", PatternError::NoFile),
            ("/a/../b.mp4", PatternError::Up),
            ("/", PatternError::NoFile),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
