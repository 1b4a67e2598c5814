//! What users gave, as text by the setting's name, and how each setting is called where it was given. Reads no values.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
#[cfg(feature = "cli")]
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

#[cfg(feature = "cli")]
use crate::config::kinds::parsed;
use crate::config::kinds::{Kind, Switch};
use crate::config::nearest::proposal;
use crate::config::settings::Setting;
use crate::error::ConfigError;

/// A value or name longer than this is cut where an error quotes it.
const QUOTED_CHARS_MAX: usize = 120;

/// Settings as they were typed, by name in code. A setting that is absent has its default.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    given: BTreeMap<&'static str, Given>,
    /// How errors call a setting that was not given.
    elsewhere: Layer,
}

#[derive(Clone, PartialEq, Eq)]
struct Given {
    /// Empty where code gave it; several only for a list.
    texts: Vec<String>,
    layer: Layer,
}

/// Where a setting was given. The file loses against a variable, and a variable against a flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Layer {
    /// By a method of the builder.
    #[default]
    Code,
    /// On the command line.
    #[cfg(feature = "cli")]
    Flag,
    /// In the environment.
    #[cfg(feature = "cli")]
    Variable,
    /// In the TOML file of this name.
    File(String),
}

impl Layer {
    /// The name that the user of this layer gave the setting.
    pub(super) fn setting(&self, name: &str) -> String {
        match self {
            Self::Code => name.to_owned(),
            #[cfg(feature = "cli")]
            Self::Flag => flag(name),
            #[cfg(feature = "cli")]
            Self::Variable => super::command::variable(name),
            Self::File(file) => format!("{file}: {}", key(name)),
        }
    }
}

impl Settings {
    /// No settings, for texts of `layer`.
    pub(super) fn of(layer: Layer) -> Self {
        Self { given: BTreeMap::new(), elsewhere: layer }
    }

    /// Reads a TOML text; `file` is its name in errors.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or a key is unknown or has a value of the wrong type.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ConfigError> {
        let file = cut(&file.escape_debug().to_string());
        let table = DeTable::parse(text).map_err(|error| syntax_error(text, &file, &error))?;
        let layer = Layer::File(file);
        let mut settings = Self::of(layer.clone());
        for (key, value) in table.get_ref() {
            let name = key.get_ref().as_ref();
            let refuse = |reason: String| {
                let typed = text.get(value.span()).unwrap_or_default();
                let typed = value.get_ref().as_str().unwrap_or(typed);
                refusal(layer.setting(&printable(name)), typed, reason)
            };
            if name == "config" {
                return Err(refuse("a file cannot name another".into()));
            }
            let Some(setting) = Setting::all().find(|setting| setting.key() == name) else {
                return Err(refuse(format!("unknown key{}", proposal(name, Setting::key))));
            };
            let texts = texts(setting, value.get_ref()).map_err(refuse)?;
            settings.given.insert(setting.name, Given { texts, layer: layer.clone() });
        }
        Ok(settings)
    }

    /// Sets `name` to what its user typed.
    pub(super) fn insert(&mut self, name: &'static str, texts: Vec<String>, layer: Layer) {
        self.given.insert(name, Given { texts, layer });
    }

    /// Notes that a method of the builder set `name`.
    pub(crate) fn insert_code(&mut self, name: &'static str) {
        self.insert(name, Vec::new(), Layer::Code);
    }

    /// Forgets `name`.
    #[cfg(feature = "cli")]
    pub fn remove(&mut self, name: &str) {
        self.given.remove(name);
    }

    /// These settings where they are given, and `lower` where they are not. A list replaces a list.
    #[cfg(feature = "cli")]
    #[must_use]
    pub fn over(self, mut lower: Self) -> Self {
        // Two names for one thing: the higher layer wins.
        if self.is_given("www") {
            lower.remove("no_www");
        }
        if self.text("no_www").is_some_and(|text| matches!(text, "true" | "1")) {
            lower.remove("www");
        }
        lower.given.extend(self.given);
        Self { elsewhere: self.elsewhere, ..lower }
    }

    /// Whether `name` was given.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Every text of `name`.
    pub fn texts(&self, name: &str) -> &[String] {
        self.given.get(name).map(|given| &*given.texts).unwrap_or_default()
    }

    /// What was typed for `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).last().map(String::as_str)
    }

    /// Reads the value of the command's own setting `name`.
    ///
    /// # Errors
    ///
    /// The value cannot be read as a `T`.
    #[cfg(feature = "cli")]
    pub fn read<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, ConfigError> {
        let setting = Setting::named(name).expect("the command names its own settings");
        self.value(name, &parsed(), setting.default)
    }

    /// Whether the switch `name` is on.
    ///
    /// # Errors
    ///
    /// Neither `true` nor `false`.
    pub fn switch(&self, name: &str) -> Result<bool, ConfigError> {
        self.value(name, &Switch, "false")
    }

    /// Reads the value of `name`, or takes the default.
    pub(super) fn value<K: Kind>(
        &self,
        name: &str,
        kind: &K,
        default: &str,
    ) -> Result<K::Value, ConfigError> {
        match self.texts(name) {
            [] => Ok(kind.absent(default)),
            texts => kind.read_all(texts).map_err(|(text, reason)| self.refuse(name, text, reason)),
        }
    }

    /// The error for a setting that cannot be used. Shows what was typed, or else the `value`.
    pub fn refuse(
        &self,
        name: &str,
        value: impl Display,
        reason: impl Into<String>,
    ) -> ConfigError {
        let is_list = Setting::named(name).is_some_and(Setting::is_list);
        let typed = self.text(name).filter(|_| !is_list);
        let value = typed.map_or_else(|| value.to_string(), str::to_owned);
        refusal(self.layer(name).setting(name), &value, reason)
    }

    /// The error for a setting whose value is a secret.
    pub(super) fn refuse_secret(&self, name: &str, reason: impl Into<String>) -> ConfigError {
        refusal(self.layer(name).setting(name), "…", reason)
    }

    /// The name of the setting `other` in an error about `name`: of its method or of its flag.
    pub(crate) fn mention(&self, name: &str, other: &str) -> String {
        match self.layer(name) {
            Layer::Code => other.to_owned(),
            _ => flag(other),
        }
    }

    /// The value of `name` in an error about another setting: as it was typed, its default, or else `value`.
    pub(super) fn shown(&self, name: &str, value: impl Display) -> String {
        match self.text(name) {
            Some(text) => text.to_owned(),
            None if self.is_given(name) => value.to_string(),
            None => Setting::named(name).map_or("", |setting| setting.default).to_owned(),
        }
    }

    fn layer(&self, name: &str) -> &Layer {
        self.given.get(name).map_or(&self.elsewhere, |given| &given.layer)
    }
}

/// The names of what was given: a value may be a secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.given.keys()).finish()
    }
}

/// An error whose setting and value are short, whatever the user typed.
pub(super) fn refusal(setting: String, value: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError { setting, value: cut(value), reason: reason.into() }
}

fn key(name: &str) -> String {
    name.replace('_', "-")
}

fn flag(name: &str) -> String {
    format!("--{}", key(name))
}

/// The texts of a value in a file.
fn texts(setting: &Setting, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    if !setting.is_list() {
        let text = scalar(value).ok_or("expected a string, a number, true or false")?;
        return Ok(vec![text]);
    }
    let scalars = value
        .as_array()
        .and_then(|array| array.iter().map(|item| scalar(item.get_ref())).collect());
    scalars.ok_or_else(|| format!("expected an array, such as {} = [\"…\"]", setting.key()))
}

/// The text of a value, for which a number, `true` or `false` may stand.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string()
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().ok()?.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        _ => return None,
    })
}

/// Takes any bytes as a configuration file, for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_config(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(settings) = Settings::from_toml(text, "fuzz.toml")
    {
        let _ = crate::config::Config::read(settings).map(|config| config.check(false));
    }
}

fn syntax_error(text: &str, file: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text.as_bytes()[..start];
    let line_index = before.iter().filter(|&&byte| byte == b'\n').count();
    let line = text.split('\n').nth(line_index).unwrap_or_default().trim();
    let message = match unquoted(line) {
        Some(quoted) => {
            format!("text needs quotes: {}", cut(&quoted).replace(char::is_control, " "))
        }
        None => printable(error.message()),
    };
    refusal(format!("{file}: line {}", line_index + 1), line, message)
}

/// The line as it was meant, where the value of a setting is text without quotes.
fn unquoted(line: &str) -> Option<String> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.split(" #").next().unwrap_or_default().trim());
    let setting = Setting::all().find(|setting| setting.key() == name)?;
    let items = value.strip_prefix('[').map(|items| items.trim_end_matches(']'));
    let items: Vec<_> = items.unwrap_or(value).split(',').map(str::trim).collect();
    let is_plain = |item: &&str| !item.is_empty() && !item.contains(['"', '\'', '\\', '=', '[']);
    if !items.iter().all(is_plain) {
        return None;
    }
    let quoted: Vec<_> = items.iter().map(|item| format!("\"{item}\"")).collect();
    let quoted = quoted.join(", ");
    Some(if setting.is_list() {
        format!("{name} = [{quoted}]")
    } else {
        format!("{name} = {quoted}")
    })
}

pub(super) fn printable(text: &str) -> String {
    cut(text).escape_debug().to_string()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    fn toml_error(text: &str) -> String {
        let error = Settings::from_toml(text, "z.toml").unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error:?}");
        error
    }

    #[test]
    fn toml_errors_are_one_line_that_names_file_key_and_value() {
        let unknown = toml_error("max-lagg = 5");
        assert_eq!(unknown, "z.toml: max-lagg: '5': unknown key; did you mean max-lag?");
        assert_eq!(
            toml_error("listen = 'a'"),
            "z.toml: listen: 'a': expected an array, such as listen = [\"…\"]"
        );
        assert_eq!(
            toml_error("format = ['raw']"),
            "z.toml: format: '[\\'raw\\']': expected a string, a number, true or false"
        );
        assert!(toml_error("[limits]\nmax-lag = 5").starts_with("z.toml: limits: "));
        assert!(toml_error("config = 'b.toml'").ends_with("a file cannot name another"));
        assert!(toml_error("\"a\\nb\" = 1").starts_with("z.toml: a\\nb: '1': unknown key"));
        assert!(
            toml_error("format = 'raw'\nmax-lag = = 5").starts_with("z.toml: line 2: 'max-lag")
        );
        assert!(toml_error("format = 'raw'\nformat = 'raw'").starts_with("z.toml: line 2: "));
        assert!(toml_error(&format!("x = '{}'", "y".repeat(1 << 16))).len() < 1024);
    }

    #[test]
    fn text_without_quotes_is_shown_with_them() {
        for (line, quoted) in [
            ("listen = 127.0.0.1:8080", "listen = [\"127.0.0.1:8080\"]"),
            ("listen = [a:1, b:2]", "listen = [\"a:1\", \"b:2\"]"),
            ("metrics = localhost:9100 # own", "metrics = \"localhost:9100\""),
            ("max-memory = 600MiB", "max-memory = \"600MiB\""),
        ] {
            let error = toml_error(&format!("format = 'raw'\n{line}\n"));
            assert!(error.starts_with("z.toml: line 2: "), "{error}");
            assert!(error.ends_with(&format!(": text needs quotes: {quoted}")), "{error}");
        }
        assert!(!toml_error("max-lag = = 5").contains("quotes"));
    }

    #[test]
    fn a_number_or_a_switch_may_stand_for_its_text() {
        let toml =
            "history = 0x10\nmax-lag = 1_000\nrcvhwm = 1.5\ndemo = true\norigin = [1, 'a', false]";
        let settings = Settings::from_toml(toml, "z.toml").unwrap();
        let text = |name| settings.text(name).unwrap();
        assert_eq!(
            ["history", "max_lag", "rcvhwm", "demo"].map(text),
            ["16", "1000", "1.5", "true"]
        );
        assert_eq!(settings.texts("origin"), ["1", "a", "false"]);
        assert!(
            toml_error("history = 9223372036854775808").contains("'9223372036854775808': expected")
        );
        assert!(toml_error("history = 1979-05-27").contains("'1979-05-27': expected a string"));
        assert!(toml_error("origin = ['a', []]").contains("expected an array"));
    }

    /// Pieces that make most inputs TOML, so that the random texts get past the parser.
    const PIECES: [&str; 24] = [
        "max-lag",
        "listen",
        "www",
        "format",
        "config",
        "demo",
        "origin",
        "bind",
        " = ",
        " = ",
        " = ",
        "\n",
        "\n",
        "[",
        "]",
        "'",
        "\"",
        "5s",
        "1e9",
        "-1",
        "true",
        "tcp://*:1",
        ",",
        "1979-05-27",
    ];

    #[test]
    fn no_bytes_make_a_configuration_file_panic() {
        let mut random = Random::from_env();
        for _ in 0..20_000 {
            let mut input = Vec::new();
            for _ in 0..random.below(12) {
                match random.below(8) {
                    0 => {
                        let len = random.below(4);
                        input.extend(random.bytes(len));
                    }
                    _ => input.extend(PIECES[random.below(PIECES.len())].as_bytes()),
                }
            }
            fuzz_config(&input);
        }
        fuzz_config("[".repeat(100_000).as_bytes());
        fuzz_config(format!("a = {}", "[".repeat(100_000)).as_bytes());
        fuzz_config(format!("a{} = 1", ".a".repeat(100_000)).as_bytes());
    }
}
