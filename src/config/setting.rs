//! The types that values of the configuration have: how each is read and written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;
use kms_elements::webrtc::api::BandwidthEstimation;
use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

/// The TOML type that a setting has in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Integer,
    Boolean,
}

/// A type that a key can have.
pub(super) trait Setting: Sized {
    /// Its type in the file.
    const KIND: Kind;
    /// Whether a value must not be printed, neither in errors nor by `kms config`.
    const SECRET: bool = false;
    /// What values look like, for error messages and the reference.
    const EXPECTED: &'static str;
    /// Reads it from a variable, or from what stood in the file. The error is a reason, or empty when there is nothing
    /// to say beyond [`Setting::EXPECTED`].
    fn from_text(text: &str) -> Result<Self, String>;
    /// As TOML, without secrets.
    fn to_toml(&self) -> String;
}

/// The numbers a key allows, and what they count.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Least and most, inclusive.
    pub(super) range: Option<RangeInclusive<i64>>,
    /// What the number counts.
    pub(super) unit: Option<&'static str>,
}

impl Bounds {
    /// What a value of type `T` looks like within these bounds: "integer from 576 to 1500 (bytes)".
    pub(super) fn expected<T: Setting>(&self) -> String {
        let mut text = T::EXPECTED.to_owned();
        if let Some(range) = &self.range {
            text += &format!(" from {} to {}", range.start(), range.end());
        }
        if let Some(unit) = self.unit {
            text += &format!(" ({unit})");
        }
        text
    }

    /// Reads a value and checks that it is within these bounds.
    pub(super) fn parse<T: Setting>(&self, text: &str) -> Result<T, String> {
        let text = text.trim();
        let within =
            |range: &RangeInclusive<i64>| text.parse().is_ok_and(|number: i64| range.contains(&number));
        let reason = match T::from_text(text) {
            Ok(value) if self.range.as_ref().is_none_or(within) => return Ok(value),
            Ok(_) => String::new(),
            Err(reason) => reason,
        };
        let mut message = format!("expected {}", self.expected::<T>());
        if !T::SECRET {
            message += &format!(", found {text:?}");
        }
        if !reason.is_empty() {
            message += &format!(": {reason}");
        }
        Err(message)
    }

    /// As [`Bounds::parse`], from a value of the file, which must be of the right TOML type.
    pub(super) fn parse_toml<T: Setting>(&self, value: &DeValue<'_>) -> Result<T, String> {
        let text = match (T::KIND, value) {
            (Kind::String, DeValue::String(text)) => text.to_string(),
            (Kind::Boolean, DeValue::Boolean(value)) => value.to_string(),
            // One too large for i64 stays as written, to be refused by its range.
            (Kind::Integer, DeValue::Integer(number)) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(number.to_string(), |n| n.to_string()),
            _ => {
                return Err(format!(
                    "expected {}, found a TOML {}",
                    self.expected::<T>(),
                    value.type_str()
                ));
            }
        };
        self.parse(&text)
    }
}

/// A string as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Settings that the standard library parses and prints.
macro_rules! plain_settings {
    ($($Type:ty: $kind:ident, $expected:literal, $to_toml:expr;)+) => {
        $(
            impl Setting for $Type {
                const KIND: Kind = Kind::$kind;
                const EXPECTED: &'static str = $expected;
                fn from_text(text: &str) -> Result<Self, String> {
                    text.parse().map_err(|_| String::new())
                }
                fn to_toml(&self) -> String {
                    let to_toml: fn(&$Type) -> String = $to_toml;
                    to_toml(self)
                }
            }
        )+
    };
}

plain_settings! {
    u16: Integer, "integer", |value| value.to_string();
    u64: Integer, "integer", |value| value.to_string();
    usize: Integer, "integer", |value| value.to_string();
    SocketAddr: String, "IP address and port, such as 127.0.0.1:8888 or [::1]:8888", |value| quoted(&value.to_string());
    IpAddr: String, "IP address", |value| quoted(&value.to_string());
    String: String, "text", |value| quoted(value);
    PathBuf: String, "path of a file", |value| quoted(&value.to_string_lossy());
}

impl Setting for bool {
    const KIND: Kind = Kind::Boolean;
    const EXPECTED: &'static str = "true or false";
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(String::new()),
        }
    }
    fn to_toml(&self) -> String {
        self.to_string()
    }
}

/// `auto` makes Kurento's image ask a service on the internet for the address; nothing here does that unasked.
fn external_address<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| match text {
        "auto" => {
            "the address isn't looked up: set it, or webrtc.stun_address, which finds it out per endpoint"
                .into()
        }
        _ => String::new(),
    })
}

impl Setting for Ipv4Addr {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str = "IPv4 address";
    fn from_text(text: &str) -> Result<Self, String> {
        external_address(text)
    }
    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for Ipv6Addr {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str = "IPv6 address";
    fn from_text(text: &str) -> Result<Self, String> {
        external_address(text)
    }
    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Setting for Secret {
    const KIND: Kind = Kind::String;
    const SECRET: bool = true;
    const EXPECTED: &'static str = "text";
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Secret(text.to_owned()))
    }
    fn to_toml(&self) -> String {
        quoted("(set)")
    }
}

/// Several texts in one value, with spaces or commas between them.
fn several(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\t', '\n']).filter(|part| !part.is_empty())
}

/// Characters of a token. Shorter ones can be guessed.
const TOKEN_LENGTHS: RangeInclusive<usize> = 16..=512;

/// Access tokens, which are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens(pub(crate) Vec<String>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl Setting for Tokens {
    const KIND: Kind = Kind::String;
    const SECRET: bool = true;
    const EXPECTED: &'static str =
        "tokens of 16 to 512 visible ASCII characters each, with spaces or commas between them";
    fn from_text(text: &str) -> Result<Self, String> {
        let tokens: Vec<String> = several(text).map(str::to_owned).collect();
        let fits = |token: &String| {
            TOKEN_LENGTHS.contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
        };
        match tokens.iter().position(|token| !fits(token)) {
            Some(number) => Err(format!("number {} is none", number + 1)),
            None => Ok(Tokens(tokens)),
        }
    }
    fn to_toml(&self) -> String {
        match self.0.is_empty() {
            true => quoted(""),
            false => quoted("(set)"),
        }
    }
}

/// Directories, as absolute paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directories(pub(crate) Vec<PathBuf>);

impl Setting for Directories {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str = "absolute paths, with spaces or commas between them";
    fn from_text(text: &str) -> Result<Self, String> {
        match several(text).find(|path| !path.starts_with('/')) {
            Some(wrong) => Err(format!("{wrong:?} is none")),
            None => Ok(Directories(several(text).map(PathBuf::from).collect())),
        }
    }
    fn to_toml(&self) -> String {
        let paths: Vec<_> = self.0.iter().map(|path| path.to_string_lossy()).collect();
        quoted(&paths.join(" "))
    }
}

/// Networks of the internet protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Networks(pub(crate) Vec<IpNet>);

impl Networks {
    /// Loopback, link-local, unspecified, multicast and broadcast addresses (RFC 6890), and two of clouds' metadata services that are none
    /// of these.
    pub(super) fn of_this_machine() -> Networks {
        const THEM: &str = "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 255.255.255.255 100.100.100.200 \
                            ::/128 ::1/128 fe80::/10 ff00::/8 fd00:ec2::254";
        Networks::from_text(THEM).unwrap_or_default()
    }
}

impl Setting for Networks {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str =
        "addresses and networks such as 10.0.0.0/8 or 2001:db8::1, with spaces or commas between them";
    fn from_text(text: &str) -> Result<Self, String> {
        let network = |text: &str| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match several(text).find(|text| network(text).is_err()) {
            Some(wrong) => Err(format!("{wrong:?} is none")),
            None => Ok(Networks(
                several(text).filter_map(|text| network(text).ok()).collect(),
            )),
        }
    }
    fn to_toml(&self) -> String {
        let networks: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        quoted(&networks.join(" "))
    }
}

/// Names of elements of GStreamer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl Setting for Names {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str = "names, with spaces or commas between them";
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Names(several(text).map(str::to_owned).collect()))
    }
    fn to_toml(&self) -> String {
        quoted(&self.0.join(" "))
    }
}

/// A secret that tokens are signed with. RFC 7518, section 3.2: no shorter than the digest.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SigningSecret(pub(crate) String);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(set)")
    }
}

impl Setting for SigningSecret {
    const KIND: Kind = Kind::String;
    const SECRET: bool = true;
    const EXPECTED: &'static str = "a secret of 32 to 4096 bytes";
    fn from_text(text: &str) -> Result<Self, String> {
        match (32..=4096).contains(&text.len()) {
            true => Ok(SigningSecret(text.to_owned())),
            false => Err(format!("it has {}", text.len())),
        }
    }
    fn to_toml(&self) -> String {
        quoted("(set)")
    }
}

/// Origins of web pages (RFC 6454).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origins(pub(crate) Vec<String>);

impl Setting for Origins {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str =
        "origins such as https://example.org or http://10.0.0.1:8080, with spaces or commas between them";
    fn from_text(text: &str) -> Result<Self, String> {
        let origins: Vec<String> = several(text).map(str::to_owned).collect();
        let fits = |origin: &String| {
            let host = origin
                .split_once("://")
                .filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
            host.is_some_and(|(_, host)| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*']))
        };
        match origins.iter().find(|origin| !fits(origin)) {
            Some(wrong) => Err(format!("{wrong:?} is none")),
            None => Ok(Origins(origins)),
        }
    }
    fn to_toml(&self) -> String {
        quoted(&self.0.join(" "))
    }
}

/// Nothing is written as an empty string.
impl<T: Setting> Setting for Option<T> {
    const KIND: Kind = T::KIND;
    const SECRET: bool = T::SECRET;
    const EXPECTED: &'static str = T::EXPECTED;
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(None)
        } else {
            T::from_text(text).map(Some)
        }
    }
    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted(""), T::to_toml)
    }
}

/// Path of the websocket's URL: begins with a slash, only unreserved characters (RFC 3986), so that it can stand in any
/// URL as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlPath(String);

impl UrlPath {
    /// The path, with its leading slash.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for UrlPath {
    fn default() -> Self {
        UrlPath("/kurento".to_owned())
    }
}

impl Setting for UrlPath {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str = "path that begins with /, of letters, digits and - . _ ~ /";
    fn from_text(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if text.starts_with('/') && text.chars().all(allowed) {
            Ok(UrlPath(text.to_owned()))
        } else {
            Err(String::new())
        }
    }
    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

/// Where a server is reached: scheme, host, and port and path if there are any; nothing that would end a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl(String);

impl BaseUrl {
    /// The URL, without a slash at its end.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for BaseUrl {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str = "URL of a server, such as https://media.example.org";
    fn from_text(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").or(text.strip_prefix("http://"));
        let rest = rest.ok_or("it should begin with https:// or http://")?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~/:[]%".contains(c);
        if rest.is_empty() || rest.starts_with('/') || !rest.chars().all(allowed) {
            return Err("a host, and maybe a port and a path, should follow".into());
        }
        Ok(BaseUrl(text.trim_end_matches('/').to_owned()))
    }
    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

/// Names of network interfaces; none means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Interfaces(Vec<String>);

impl Interfaces {
    /// The names.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}

impl Setting for Interfaces {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str = "names of network interfaces, separated by commas";
    fn from_text(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        // What Linux takes for a name (IFNAMSIZ is 16 with the final zero).
        match names
            .iter()
            .find(|name| name.len() > 15 || name.contains(|c: char| c == '/' || c.is_whitespace()))
        {
            Some(bad) => Err(format!("{bad:?} can't be a name of an interface")),
            None => Ok(Interfaces(names)),
        }
    }
    fn to_toml(&self) -> String {
        quoted(&self.0.join(","))
    }
}

/// What to log, in the directives of `EnvFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(String);

impl LogFilter {
    /// The directives: `EnvFilter::new` takes them as they are.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        LogFilter("info".to_owned())
    }
}

impl Setting for LogFilter {
    const KIND: Kind = Kind::String;
    const EXPECTED: &'static str =
        "level (error, warn, info, debug, trace, off), or several such as info,kms_core=debug";
    fn from_text(text: &str) -> Result<Self, String> {
        const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
        // EnvFilter takes a bare word for a part's name: the slip "inof" would then log nothing at all.
        let names_no_level = |directive: &&str| {
            !directive.contains(['=', '[']) && !LEVELS.contains(&&*directive.to_lowercase())
        };
        if let Some(word) = text.split(',').map(str::trim).find(names_no_level) {
            return Err(format!("{word:?} is no level"));
        }
        EnvFilter::try_new(text).map_err(|e| e.to_string())?;
        Ok(LogFilter(text.to_owned()))
    }
    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For log collectors: one JSON object a line.
    Json,
}

/// Whether there is the page to look at pipelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    /// On loopback.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Settings that are one of a few words.
macro_rules! choices {
    ($($Type:ty, $expected:literal { $($word:literal: $variant:path,)+ })+) => {
        $(
            impl Setting for $Type {
                const KIND: Kind = Kind::String;
                const EXPECTED: &'static str = $expected;
                fn from_text(text: &str) -> Result<Self, String> {
                    match text {
                        $($word => Ok($variant),)+
                        _ => Err(String::new()),
                    }
                }
                fn to_toml(&self) -> String {
                    quoted(match self {
                        $($variant => $word,)+
                    })
                }
            }
        )+
    };
}

choices! {
    Console, "auto, on or off" {
        "auto": Console::Auto,
        "on": Console::On,
        "off": Console::Off,
    }
    LogFormat, "text or json" {
        "text": LogFormat::Text,
        "json": LogFormat::Json,
    }
    BandwidthEstimation, "auto, always or never" {
        "auto": BandwidthEstimation::Auto,
        "always": BandwidthEstimation::Always,
        "never": BandwidthEstimation::Never,
    }
}
