//! What only the command does with settings: flags, variables, and what opens where nothing is named.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::Settings;
use crate::config::given::{Layer, printable, refusal};
use crate::config::nearest::proposal;
use crate::config::settings::Setting;
use crate::error::ConfigError;

/// What a variable's name starts with.
const VARIABLE_PREFIX: &str = "ZMQ2WS_";

/// Bound when neither `--connect` nor `--bind` is given.
pub const DEFAULT_BIND: &str = "tcp://127.0.0.1:5556";
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

impl Settings {
    /// Gives `command` a flag for each setting.
    pub fn flags(command: Command) -> Command {
        command.args(Setting::all().map(arg))
    }

    /// Takes what the flags of [`Self::flags`] say.
    pub fn from_flags(mut matches: ArgMatches) -> Self {
        let mut settings = Self::of(Layer::Flag);
        for setting in Setting::all() {
            if let Some(texts) = matches.remove_many::<String>(setting.name) {
                settings.insert(setting.name, texts.collect(), Layer::Flag);
            }
        }
        settings
    }

    /// Sets `name` as a flag does.
    pub fn set(&mut self, name: &'static str, texts: &[&str]) {
        self.insert(name, texts.iter().map(|&text| text.to_owned()).collect(), Layer::Flag);
    }

    /// Reads the variables `ZMQ2WS_<NAME>`: lists are split at commas, an empty variable counts as
    /// none.
    ///
    /// Also returns a warning for each variable that begins as ours do and is unknown. It is no error: Kubernetes sets
    /// `ZMQ2WS_SERVICE_HOST` and others for a service of that name.
    ///
    /// # Errors
    ///
    /// A known variable is not UTF-8.
    pub fn from_env(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let (mut settings, mut unknown) = (Self::of(Layer::Variable), Vec::new());
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|it| is_ours(it)) else { continue };
            let Some(setting) = Setting::all().find(|it| variable(it.name) == name) else {
                let proposal = proposal(name, |it| variable(it.name));
                unknown.push(format!("{}: unknown variable{proposal}", printable(name)));
                continue;
            };
            let value = value.to_str().ok_or_else(|| {
                refusal(name.to_owned(), &value.to_string_lossy(), "expected UTF-8")
            })?;
            let texts: Vec<_> = if setting.is_list() {
                // Prefixes may begin or end with spaces; addresses do not.
                let is_exact = setting.name == "subscribe";
                let texts = value.split(',').map(|it| if is_exact { it } else { it.trim() });
                texts.filter(|text| !text.is_empty()).map(String::from).collect()
            } else {
                Some(value).filter(|text| !text.is_empty()).map(String::from).into_iter().collect()
            };
            if !texts.is_empty() {
                settings.insert(setting.name, texts, Layer::Variable);
            }
        }
        unknown.sort();
        Ok((settings, unknown))
    }

    /// Adds what the command has where nothing is given. A library opens nothing by itself, and raises no limit.
    #[must_use]
    pub fn or_command_defaults(mut self) -> Self {
        if self.texts("connect").is_empty() && self.texts("bind").is_empty() {
            self.set("bind", &[DEFAULT_BIND]);
        }
        if self.texts("listen").is_empty() {
            self.set("listen", &[DEFAULT_LISTEN]);
        }
        if let Some(setting) = Setting::named("max_clients").filter(|it| !self.is_given(it.name)) {
            self.set(setting.name, &[setting.default]);
        }
        self
    }

    /// Whether `--check` was given.
    ///
    /// # Errors
    ///
    /// Neither `true` nor `false`.
    pub fn is_check(&self) -> Result<bool, ConfigError> {
        self.switch("check")
    }

    /// Whether `--demo` was given.
    ///
    /// # Errors
    ///
    /// Neither `true` nor `false`; or the demo's producer would need ZeroMQ's security, which it lacks.
    pub fn is_demo(&self) -> Result<bool, ConfigError> {
        let security = [
            "curve_secret_key_file",
            "curve_server_key",
            "curve_public_key",
            "plain_user",
            "plain_password_file",
        ];
        let is_demo = self.switch("demo")?;
        match security.into_iter().find(|name| self.is_given(name)) {
            Some(name) if is_demo => {
                let other = self.mention("demo", name);
                let reason = format!("conflicts with {other}: its producer has no ZeroMQ security");
                Err(self.refuse("demo", true, reason))
            }
            _ => Ok(is_demo),
        }
    }
}

/// Whether a variable's name begins as ours do, in any case and with or without the `_`.
fn is_ours(name: &str) -> bool {
    let prefix = VARIABLE_PREFIX.trim_end_matches('_');
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn arg(setting: &'static Setting) -> Arg {
    let is_switch = setting.value == "true|false";
    let mut help = setting.help.to_owned();
    if setting.is_list() {
        help += " (repeatable)";
    }
    if !setting.default.is_empty() {
        help += &format!(" [default: {}]", setting.default);
    }
    let arg = Arg::new(setting.name)
        .long(setting.key())
        .short(setting.short)
        .value_name(setting.value.trim_end_matches('*'))
        .help(help)
        .help_heading(setting.group)
        // A key in Z85 may begin with a hyphen.
        .allow_hyphen_values(setting.value == "KEY")
        .action(if setting.is_list() { ArgAction::Append } else { ArgAction::Set });
    match is_switch {
        true => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        false => arg,
    }
}

/// The words `; did you mean --…?` for an unknown flag, or none.
pub fn flag_proposal(typed: &str) -> String {
    proposal(typed, |setting| format!("--{}", setting.key()))
}

/// The name of the variable of the setting `name`.
pub(super) fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn from_env(variables: &[(&str, &str)]) -> Result<(Settings, Vec<String>), String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Settings::from_env(variables).map_err(|error| error.to_string())
    }

    #[test]
    fn every_name_is_a_flag_a_variable_and_a_key() {
        for setting in Setting::all() {
            let (name, key) = (setting.name, setting.key());
            let (from_env, unknown) = from_env(&[(&variable(name), "1")]).unwrap();
            assert!(unknown.is_empty());
            assert_eq!(from_env.texts(name), ["1"]);
            let value = if setting.is_list() { "[\"1\"]" } else { "1" };
            if name != "config" {
                let from_toml = Settings::from_toml(&format!("{key} = {value}"), "z.toml").unwrap();
                assert_eq!(from_toml.texts(name), ["1"]);
            }
            let command = Settings::flags(Command::new("zmq2ws"));
            let flags = command.try_get_matches_from(["zmq2ws", &format!("--{key}=1")]).unwrap();
            assert_eq!(Settings::from_flags(flags).texts(name), ["1"]);
        }
    }

    #[test]
    fn higher_layers_replace_lower_ones_setting_by_setting() {
        let toml = "listen = ['a:1', 'a:2']\nmax-lag = 'x'\nformat = 'json'\nwww = '/'";
        let file = Settings::from_toml(toml, "z.toml").unwrap();
        let (env, _) = from_env(&[("ZMQ2WS_LISTEN", "b:1,b:2"), ("ZMQ2WS_MAX_LAG", "y")]).unwrap();
        let mut flags = Settings::of(Layer::Flag);
        flags.set("max_lag", &["z"]);
        flags.set("no_www", &["true"]);
        let all = flags.over(env.over(file));
        assert_eq!(all.texts("listen"), ["b:1", "b:2"]);
        assert_eq!((all.text("max_lag"), all.text("format")), (Some("z"), Some("json")));
        assert_eq!((all.text("www"), all.text("no_www")), (None, Some("true")));
        let setting = |name| all.refuse(name, "", "").setting;
        assert_eq!(setting("max_lag"), "--max-lag");
        assert_eq!(setting("listen"), "ZMQ2WS_LISTEN");
        assert_eq!(setting("format"), "z.toml: format");
    }

    #[test]
    fn variables_split_lists_and_empty_ones_do_not_count() {
        let (settings, unknown) =
            from_env(&[("ZMQ2WS_SUBSCRIBE", "a, b,,c,"), ("ZMQ2WS_BIND", ""), ("ZMQ2WS_WWW", "")])
                .unwrap();
        assert_eq!(settings.texts("subscribe"), ["a", " b", "c"]);
        assert!(!settings.is_given("bind") && !settings.is_given("www"));
        assert!(unknown.is_empty());
    }

    #[test]
    fn unknown_variables_are_told_and_others_are_not_looked_at() {
        let (settings, unknown) = from_env(&[
            ("PATH", "/"),
            ("ZMQ2WS_MAX_LAGG", "secret"),
            ("ZMQ2WS_SERVICE_HOST", "secret"),
            ("ZMQ2WSLISTN", "secret"),
            ("zmq2ws_max_lag", "secret"),
        ])
        .unwrap();
        assert_eq!(settings, Settings::of(Layer::Variable));
        assert_eq!(
            unknown,
            [
                "ZMQ2WSLISTN: unknown variable; did you mean ZMQ2WS_LISTEN?",
                "ZMQ2WS_MAX_LAGG: unknown variable; did you mean ZMQ2WS_MAX_LAG?",
                "ZMQ2WS_SERVICE_HOST: unknown variable",
                "zmq2ws_max_lag: unknown variable; did you mean ZMQ2WS_MAX_LAG?",
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
    fn the_command_opens_something_where_nothing_is_named() {
        let config = |toml| {
            let settings = Settings::from_toml(toml, "z.toml").unwrap().or_command_defaults();
            Config::read(settings).unwrap()
        };
        let (named, unnamed) = (config("connect = ['tcp://h:1']\nlisten = ['h:1']"), config(""));
        assert_eq!((named.endpoints.len(), named.listen.len()), (1, 1));
        assert_eq!((unnamed.endpoints.len(), unnamed.listen.len()), (1, 1));
        assert_eq!(unnamed.endpoints[0].to_string(), DEFAULT_BIND);
        assert_eq!(unnamed.listen[0].to_string(), DEFAULT_LISTEN);
        assert!(config("metrics = '127.0.0.1:8080'").check(false).is_err());
    }
}
