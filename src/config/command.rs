//! What only the command does with settings: variables, which layer wins, what it has where nothing is given.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::mem;

use crate::config::layers::{Layer, hint_text, printable, refusal};
use crate::config::resolve::list;
use crate::config::settings::Slot;
use crate::config::values::{Text, nearest};
use crate::config::{Settings, bounds};
use crate::error::ConfigError;

/// What a variable's name starts with.
const VARIABLE_PREFIX: &str = "ZMQ2WS_";

/// Bound when neither `--connect` nor `--bind` is given.
pub const DEFAULT_BIND: &str = "tcp://127.0.0.1:5556";
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

impl Settings {
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
        let mut settings = Self::default();
        let slots = settings.slots().into_iter();
        let mut slots: BTreeMap<_, _> =
            slots.map(|(name, slot)| (variable(&name), (name, slot))).collect();
        let (mut layers, mut unknown) = (BTreeMap::new(), Vec::new());
        for (variable, value) in variables {
            let Some(variable) = variable.to_str().filter(|it| it.starts_with(VARIABLE_PREFIX))
            else {
                continue;
            };
            let Some((name, slot)) = slots.get_mut(variable) else {
                let hint = hint_text(nearest(variable, slots.keys().map(String::as_str)));
                unknown.push(format!("{}: unknown variable{hint}", printable(variable)));
                continue;
            };
            let value = value.to_str().ok_or_else(|| {
                refusal(variable.to_owned(), &value.to_string_lossy(), "expected UTF-8")
            })?;
            // Prefixes may begin or end with spaces; addresses do not.
            let is_exact = name == "subscribe";
            let part = |text: &str| Text::from(if is_exact { text } else { text.trim() });
            match slot {
                Slot::One(text) => **text = Some(value.into()).filter(|it: &Text| !it.is_empty()),
                Slot::List(texts) => {
                    let parts = value.split(',').map(part).filter(|it| !it.is_empty());
                    **texts = Some(parts.collect()).filter(|it: &Vec<_>| !it.is_empty());
                }
            }
            if slot.is_given() {
                layers.insert(name.clone(), Layer::Variable);
            }
        }
        unknown.sort();
        settings.layers = layers;
        Ok((settings, unknown))
    }

    /// These settings where they are given, and `lower` where they are not. A list replaces a list.
    #[must_use]
    pub fn over(mut self, mut lower: Self) -> Self {
        // Two names for one thing: the higher layer's wins, whichever it is.
        if self.www.is_some() {
            lower.no_www = None;
        }
        if self.no_www.as_deref().is_some_and(|text| matches!(text, "true" | "1")) {
            lower.www = None;
        }
        let (mut layers, mut lower_layers) =
            (mem::take(&mut self.layers), mem::take(&mut lower.layers));
        for ((name, own), below) in self.slots().into_iter().zip(lower.slots().into_values()) {
            if own.fill(below)
                && let Some(layer) = lower_layers.remove(&name)
            {
                layers.insert(name, layer);
            }
        }
        Self { layers, ..self }
    }

    /// What the command has where nothing is given, in its place: a library opens nothing that nobody asked for, and
    /// raises no limit.
    #[must_use]
    pub fn or_command_defaults(mut self) -> Self {
        if list(&self.connect).is_empty() && list(&self.bind).is_empty() {
            self.bind = Some(vec![DEFAULT_BIND.into()]);
        }
        if list(&self.listen).is_empty() {
            self.listen = Some(vec![DEFAULT_LISTEN.into()]);
        }
        self.max_clients.get_or_insert_with(|| bounds::MAX_CLIENTS.default.to_string().into());
        self
    }

    /// Whether `--check` was given.
    ///
    /// # Errors
    ///
    /// Neither `true` nor `false`.
    pub fn is_check(&self) -> Result<bool, ConfigError> {
        self.switch("check", &self.check)
    }

    /// Whether `--demo` was given.
    ///
    /// # Errors
    ///
    /// Neither `true` nor `false`; or its producer would have to have ZeroMQ's security, which it has not.
    pub fn is_demo(&self) -> Result<bool, ConfigError> {
        let security = [
            ("curve-secret-key-file", &self.curve_secret_key_file),
            ("curve-server-key", &self.curve_server_key),
            ("curve-public-key", &self.curve_public_key),
            ("plain-user", &self.plain_user),
            ("plain-password-file", &self.plain_password_file),
        ];
        let is_demo = self.switch("demo", &self.demo)?;
        match security.into_iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) if is_demo => {
                let reason =
                    format!("conflicts with --{name}: its producer has no ZeroMQ security");
                Err(self.refuse("demo", "true", reason))
            }
            _ => Ok(is_demo),
        }
    }
}

impl Slot<'_> {
    fn is_given(&self) -> bool {
        match self {
            Slot::One(text) => text.is_some(),
            Slot::List(texts) => texts.is_some(),
        }
    }

    /// Takes over what is `below` where nothing is here; whether it did.
    fn fill(self, below: Slot<'_>) -> bool {
        match (self, below) {
            (Slot::One(own @ None), Slot::One(below)) => *own = below.take(),
            (Slot::List(own @ None), Slot::List(below)) => *own = below.take(),
            _ => return false,
        }
        true
    }
}

/// What the variable of the setting `name` is called.
pub(super) fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace('-', "_").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_env(variables: &[(&str, &str)]) -> Result<(Settings, Vec<String>), String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Settings::from_env(variables).map_err(|error| error.to_string())
    }

    /// The settings alone, wherever they come from.
    fn texts(settings: Settings) -> Settings {
        Settings { layers: BTreeMap::new(), ..settings }
    }

    #[test]
    fn every_name_is_a_flag_a_variable_and_a_key() {
        let mut all = Settings::default();
        for (name, slot) in all.slots() {
            let is_list = matches!(slot, Slot::List(_));
            let (settings, unknown) = from_env(&[(&variable(&name), "1")]).unwrap();
            assert!(unknown.is_empty());
            let value = if is_list { "[\"1\"]" } else { "1" };
            if name != "config" {
                let from_toml =
                    Settings::from_toml(&format!("{name} = {value}"), "z.toml").unwrap();
                assert_eq!(texts(from_toml), texts(settings.clone()));
            }
            let flag = <Settings as clap::Args>::augment_args(clap::Command::new("zmq2ws"))
                .try_get_matches_from(["zmq2ws", &format!("--{name}=1")])
                .unwrap();
            let from_flag = <Settings as clap::FromArgMatches>::from_arg_matches(&flag).unwrap();
            assert_eq!(texts(from_flag), texts(settings));
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
    fn the_command_opens_something_where_nothing_is_named() {
        let config = |toml| {
            let settings = Settings::from_toml(toml, "z.toml").unwrap().or_command_defaults();
            settings.to_config().unwrap()
        };
        let (named, unnamed) = (config("connect = ['tcp://h:1']\nlisten = ['h:1']"), config(""));
        assert_eq!((named.endpoints.len(), named.listen.len()), (1, 1));
        assert_eq!((unnamed.endpoints.len(), unnamed.listen.len()), (1, 1));
        assert_eq!(unnamed.endpoints[0].to_string(), DEFAULT_BIND);
        assert_eq!(unnamed.listen[0].to_string(), DEFAULT_LISTEN);
        assert!(config("metrics = '127.0.0.1:8080'").check(false).is_err());
    }
}
