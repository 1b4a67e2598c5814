//! Where settings come from: a TOML text, environment variables, flags, and which of them wins.
//! Reads no values.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{ArgAction, Args};

use crate::config::Settings;
use crate::config::values::nearest;
use crate::error::ConfigError;

/// What a variable's name starts with.
const VARIABLE_PREFIX: &str = "ZMQ2WS_";
/// A value or name longer than this is cut where an error quotes it.
const QUOTED_CHARS_MAX: usize = 120;

/// Where a setting was given. Later ones win: file, variable, flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layer {
    /// On the command line, or in code.
    Flag,
    /// In the environment.
    Variable,
    /// In the TOML file of this name.
    File(String),
}

impl Layer {
    /// How the user of this layer writes the setting `name`.
    pub(super) fn setting(&self, name: &str) -> String {
        match self {
            Self::Flag => format!("--{name}"),
            Self::Variable => variable(name),
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
        let table: toml::Table = text.parse().map_err(|error| syntax_error(text, &file, &error))?;
        Self::from_table(table, &Layer::File(file))
    }

    /// Reads the variables `ZMQ2WS_<NAME>`: lists are split at commas, an empty variable counts as
    /// none.
    ///
    /// Also returns what to tell about variables that look like ours and are not known. They are no
    /// error: Kubernetes sets `ZMQ2WS_SERVICE_HOST` and others for a service of that name, and what
    /// belongs to other programs cannot be judged here.
    ///
    /// # Errors
    ///
    /// A known variable is not UTF-8.
    pub fn from_env(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let names: BTreeMap<_, _> =
            names().into_iter().map(|(name, is_list)| (variable(&name), (name, is_list))).collect();
        let mut table = toml::Table::new();
        let mut unknown = Vec::new();
        for (variable, value) in variables {
            let Some(variable) = variable.to_str().filter(|it| it.starts_with(VARIABLE_PREFIX))
            else {
                continue;
            };
            let Some((name, is_list)) = names.get(variable) else {
                let hint = nearest(variable, names.keys().map(String::as_str));
                unknown.push(format!(
                    "{}: unknown variable{}",
                    printable(variable),
                    hint_text(hint)
                ));
                continue;
            };
            let value = value.to_str().ok_or_else(|| {
                refusal(variable.to_owned(), &value.to_string_lossy(), "expected UTF-8")
            })?;
            // Prefixes may begin or end with spaces; addresses do not.
            let is_exact = name == "subscribe";
            let trimmed =
                |part: &'_ str| if is_exact { part.to_owned() } else { part.trim().into() };
            let mut parts =
                value.split(',').map(trimmed).filter(|part: &String| !part.is_empty()).peekable();
            if *is_list && parts.peek().is_some() {
                table.insert(name.clone(), parts.map(toml::Value::from).collect::<Vec<_>>().into());
            } else if !*is_list && !value.is_empty() {
                table.insert(name.clone(), value.into());
            }
        }
        unknown.sort();
        Ok((Self::from_table(table, &Layer::Variable)?, unknown))
    }

    /// These settings where they are given, and `lower` where they are not. A list replaces a list.
    #[must_use]
    pub fn over(self, mut lower: Self) -> Self {
        // Two names for one thing: the higher layer's wins, whichever it is.
        if self.www.is_some() {
            lower.no_www = None;
        }
        if self.no_www.as_deref().is_some_and(|text| matches!(text, "true" | "1")) {
            lower.www = None;
        }
        let mut layers = std::mem::take(&mut lower.layers);
        let mut table = lower.into_table();
        let higher_layers = self.layers.clone();
        for (name, value) in self.into_table() {
            layers.remove(&name);
            table.insert(name, value);
        }
        layers.extend(higher_layers);
        Self { layers, ..table.try_into().expect("tables made of settings are settings") }
    }

    /// The error for a setting that cannot be used, under the name that its user gave it.
    pub fn refuse(&self, name: &str, value: &str, reason: impl Into<String>) -> ConfigError {
        let setting = self.layers.get(name).unwrap_or(&Layer::Flag).setting(name);
        refusal(setting, value, reason)
    }

    /// What was typed for the setting `name`, unless it is a list.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = self.clone().into_table().remove(name)?;
        value.as_str().map(str::to_owned)
    }

    fn into_table(self) -> toml::Table {
        toml::Table::try_from(self).expect("texts and lists of texts are TOML")
    }

    fn from_table(table: toml::Table, layer: &Layer) -> Result<Self, ConfigError> {
        let names = names();
        // One key at a time, so that an error can name its key and value.
        for (key, value) in &table {
            let refuse = |reason: String| {
                Err(refusal(layer.setting(&printable(key)), &value_text(value), reason))
            };
            let Some((_, is_list)) = names.iter().find(|(name, _)| name == key) else {
                let hint = nearest(key, names.iter().map(|(name, _)| name.as_str()));
                return refuse(format!("unknown key{}", hint_text(hint)));
            };
            if matches!(layer, Layer::File(_)) && key == "config" {
                return refuse("a file cannot name another".into());
            }
            let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
            if alone.try_into::<Self>().is_err() {
                return refuse(match is_list {
                    true => format!("expected an array, such as {key} = [\"…\"]"),
                    false => "expected a string, a number, true or false".into(),
                });
            }
        }
        let layers = table.keys().map(|key| (key.clone(), layer.clone())).collect();
        let settings = table.try_into().expect("each key was accepted alone");
        Ok(Self { layers, ..settings })
    }
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

/// Every setting's name, and whether it is a list.
fn names() -> Vec<(String, bool)> {
    let command = Settings::augment_args(clap::Command::new("zmq2ws"));
    let named = |arg: &clap::Arg| {
        let is_list = matches!(arg.get_action(), ArgAction::Append);
        arg.get_long().map(|name| (name.to_owned(), is_list))
    };
    command.get_arguments().filter_map(named).collect()
}

fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace('-', "_").to_ascii_uppercase())
}

fn syntax_error(text: &str, file: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text.as_bytes()[..start];
    let line_index = before.iter().filter(|&&byte| byte == b'\n').count();
    let line = text.split('\n').nth(line_index).unwrap_or_default().trim();
    let message = printable(error.message());
    refusal(format!("{file}: line {}", line_index + 1), line, message)
}

fn value_text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn hint_text(hint: Option<&str>) -> String {
    hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

fn printable(text: &str) -> String {
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

    fn from_env(variables: &[(&str, &str)]) -> Result<(Settings, Vec<String>), String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Settings::from_env(variables).map_err(|error| error.to_string())
    }

    fn toml_error(text: &str) -> String {
        let error = Settings::from_toml(text, "z.toml").unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error:?}");
        error
    }

    #[test]
    fn every_name_is_a_flag_a_variable_and_a_key() {
        for (name, is_list) in names() {
            let (settings, unknown) = from_env(&[(&variable(&name), "1")]).unwrap();
            assert!(unknown.is_empty());
            let value = if is_list { "[\"1\"]" } else { "1" };
            if name != "config" {
                let from_toml =
                    Settings::from_toml(&format!("{name} = {value}"), "z.toml").unwrap();
                assert_eq!(from_toml.into_table(), settings.clone().into_table());
            }
            let flag = Settings::augment_args(clap::Command::new("zmq2ws"))
                .try_get_matches_from(["zmq2ws", &format!("--{name}=1")])
                .unwrap();
            let from_flag = <Settings as clap::FromArgMatches>::from_arg_matches(&flag).unwrap();
            assert_eq!(from_flag.into_table(), settings.into_table());
        }
    }

    #[test]
    fn higher_layers_replace_lower_ones_setting_by_setting() {
        let toml = "listen = ['a:1', 'a:2']\nmax-lag = 'x'\nformat = 'json'\nwww = '/'";
        let file = Settings::from_toml(toml, "z.toml").unwrap();
        let (env, _) = from_env(&[("ZMQ2WS_LISTEN", "b:1,b:2"), ("ZMQ2WS_MAX_LAG", "y")]).unwrap();
        let flags = Settings {
            max_lag: Some("z".into()),
            no_www: Some("true".into()),
            ..Settings::default()
        };
        let all = flags.over(env.over(file));
        assert_eq!(all.listen, Some(vec!["b:1".into(), "b:2".into()]));
        assert_eq!(all.max_lag, Some("z".into()));
        assert_eq!(all.format, Some("json".into()));
        assert_eq!((all.www.clone(), all.no_www.clone()), (None, Some("true".into())));
        let setting = |name| all.refuse(name, "", "").setting;
        assert_eq!(setting("max-lag"), "--max-lag");
        assert_eq!(setting("listen"), "ZMQ2WS_LISTEN");
        assert_eq!(setting("format"), "z.toml: format");
    }

    #[test]
    fn variables_split_lists_and_empty_ones_do_not_count() {
        let (settings, unknown) =
            from_env(&[("ZMQ2WS_SUBSCRIBE", "a, b,,c,"), ("ZMQ2WS_BIND", ""), ("ZMQ2WS_WWW", "")])
                .unwrap();
        assert_eq!(settings.subscribe, Some(vec!["a".into(), " b".into(), "c".into()]));
        assert_eq!((settings.bind, settings.www), (None, None));
        assert!(unknown.is_empty());
    }

    #[test]
    fn unknown_variables_are_told_and_others_are_not_looked_at() {
        let (settings, unknown) = from_env(&[
            ("PATH", "/"),
            ("ZMQ2WS_MAX_LAGG", "secret"),
            ("ZMQ2WS_SERVICE_HOST", "secret"),
        ])
        .unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(
            unknown,
            [
                "ZMQ2WS_MAX_LAGG: unknown variable; did you mean ZMQ2WS_MAX_LAG?",
                "ZMQ2WS_SERVICE_HOST: unknown variable",
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf8_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let value = OsString::from_vec(b"\xff".to_vec());
        let error = Settings::from_env([("ZMQ2WS_LISTEN".into(), value)]).unwrap_err();
        assert_eq!(error.setting, "ZMQ2WS_LISTEN");
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
            "z.toml: format: '[\\\"raw\\\"]': expected a string, a number, true or false"
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
