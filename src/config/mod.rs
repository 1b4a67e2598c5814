//! Everything that can be set, typed, with its defaults and their bounds. Opens no socket.

mod check;
#[cfg(feature = "cli")]
mod command;
mod given;
mod kinds;
mod nearest;
mod security;
mod settings;
#[cfg(test)]
mod tests;
mod tls;

#[cfg(feature = "cli")]
pub use command::{DEFAULT_BIND, flag_proposal};
pub use given::Settings;
#[cfg(fuzzing)]
pub(crate) use given::fuzz_config;
pub(crate) use security::GivenSecret;
#[cfg(feature = "cli")]
pub use settings::Setting;
pub(crate) use settings::{Config, SiteConfig, with_settings};
pub(crate) use tls::{Loaded, TlsFiles};
