//! Where settings come from: what a TOML text holds, and how each is called where it was given. Reads no values.

use toml::de::{DeTable, DeValue};

use crate::config::Settings;
use crate::config::settings::Slot;
use crate::config::values::{Text, nearest};
use crate::error::ConfigError;

/// A value or name longer than this is cut where an error quotes it.
const QUOTED_CHARS_MAX: usize = 120;

/// Where a setting was given. Later ones win: file, variable, flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layer {
    /// On the command line, or in code.
    Flag,
    /// In the environment.
    #[cfg(feature = "cli")]
    Variable,
    /// In the TOML file of this name.
    File(String),
}

impl Layer {
    /// How the user of this layer writes the setting `name`.
    pub(super) fn setting(&self, name: &str) -> String {
        match self {
            Self::Flag => format!("--{name}"),
            #[cfg(feature = "cli")]
            Self::Variable => super::command::variable(name),
            Self::File(file) => format!("{file}: {name}"),
        }
    }
}

/// An error whose setting and value are short, whatever the user typed.
pub(super) fn refusal(setting: String, value: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError { setting, value: cut(value), reason: reason.into() }
}

impl Settings {
    /// Reads a TOML text; `file` is its name in errors.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or a key is unknown or has a value of the wrong type.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ConfigError> {
        let file = cut(&file.escape_debug().to_string());
        let table = DeTable::parse(text).map_err(|error| syntax_error(text, &file, &error))?;
        let layer = Layer::File(file);
        let mut settings = Self::default();
        let mut slots = settings.slots();
        let mut names = Vec::new();
        for (key, value) in table.get_ref() {
            let name = key.get_ref().as_ref();
            let refuse = |reason: String| {
                let typed = text.get(value.span()).unwrap_or_default();
                let typed = value.get_ref().as_str().unwrap_or(typed);
                Err(refusal(layer.setting(&printable(name)), typed, reason))
            };
            if name == "config" {
                return refuse("a file cannot name another".into());
            }
            let Some(slot) = slots.get_mut(name) else {
                let hint = nearest(name, slots.keys().map(String::as_str));
                return refuse(format!("unknown key{}", hint_text(hint)));
            };
            if let Err(expected) = slot.take(name, value.get_ref()) {
                return refuse(expected);
            }
            names.push(name.to_owned());
        }
        settings.layers = names.into_iter().map(|name| (name, layer.clone())).collect();
        Ok(settings)
    }

    /// The error for a setting that cannot be used, under the name that its user gave it.
    pub fn refuse(&self, name: &str, value: &str, reason: impl Into<String>) -> ConfigError {
        let setting = self.layers.get(name).unwrap_or(&Layer::Flag).setting(name);
        refusal(setting, value, reason)
    }

    /// What was typed for the setting `name`, unless it is a list.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.clone().slots().remove(name)? {
            Slot::One(text) => text.as_deref().map(str::to_owned),
            Slot::List(_) => None,
        }
    }
}

impl Slot<'_> {
    /// Takes what a file has for the setting `name`.
    fn take(&mut self, name: &str, value: &DeValue<'_>) -> Result<(), String> {
        match self {
            Self::One(text) => {
                **text = Some(scalar(value).ok_or("expected a string, a number, true or false")?);
            }
            Self::List(texts) => {
                let scalars = value.as_array().and_then(|array| {
                    array.iter().map(|item| scalar(item.get_ref())).collect::<Option<Vec<_>>>()
                });
                let expected = || format!("expected an array, such as {name} = [\"…\"]");
                **texts = Some(scalars.ok_or_else(expected)?);
            }
        }
        Ok(())
    }
}

/// The text of a value, for which a number, `true` or `false` may stand.
fn scalar(value: &DeValue<'_>) -> Option<Text> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string().into()
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().ok()?.to_string().into(),
        DeValue::Boolean(value) => value.to_string().into(),
        _ => return None,
    })
}

/// What a fuzzer feeds: any bytes as a configuration file.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_config(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(settings) = Settings::from_toml(text, "fuzz.toml")
    {
        let _ = settings.to_config().map(|config| config.check(false));
    }
}

fn syntax_error(text: &str, file: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text.as_bytes()[..start];
    let line_index = before.iter().filter(|&&byte| byte == b'\n').count();
    let line = text.split('\n').nth(line_index).unwrap_or_default().trim();
    let message = printable(error.message());
    refusal(format!("{file}: line {}", line_index + 1), line, message)
}

pub(super) fn hint_text(hint: Option<&str>) -> String {
    hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
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
    fn a_number_or_a_switch_may_stand_for_its_text() {
        let toml =
            "history = 0x10\nmax-lag = 1_000\nrcvhwm = 1.5\ndemo = true\norigin = [1, 'a', false]";
        let settings = Settings::from_toml(toml, "z.toml").unwrap();
        let text = |name| settings.text(name).unwrap();
        assert_eq!(
            ["history", "max-lag", "rcvhwm", "demo"].map(text),
            ["16", "1000", "1.5", "true"]
        );
        assert_eq!(settings.origin, Some(vec!["1".into(), "a".into(), "false".into()]));
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
