//! Decides which settings of ZeroMQ's security belong together, and for which endpoints: the only place, for what was typed
//! and for what a host program sets. Shows nothing of what they hold.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::config::bounds::Invalid;
use crate::config::check::flag_of;
use crate::source::{
    Attach, Endpoint, PublicKey, Secret, SecretKey, Security, has_curve, needs_system_libzmq,
};

/// No certificate is as long; /dev/zero is longer.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What was said of ZeroMQ's security, as it came. [`Config::security`] makes sense of it.
#[derive(Clone, Default)]
pub(crate) struct SecurityConfig {
    /// `--curve-secret-key-file`: the key of this end, alone or in a certificate.
    pub(crate) curve_secret_key: Option<GivenSecret>,
    /// `--curve-server-key`: the public key of publishers, in Z85.
    pub(crate) curve_server_key: Option<String>,
    /// `--curve-public-key`: what belongs to the secret key, in Z85.
    pub(crate) curve_public_key: Option<String>,
    /// `--plain-user`: what publishers are told.
    pub(crate) plain_user: Option<String>,
    /// `--plain-password-file`: the user's password.
    pub(crate) plain_password: Option<GivenSecret>,
}

/// A secret, or why there is none, and who gave it.
#[derive(Clone)]
pub(crate) struct GivenSecret {
    /// The name of the setting.
    name: &'static str,
    text: Result<Secret, String>,
    file: Option<SecretFile>,
}

#[derive(Clone)]
struct SecretFile {
    path: PathBuf,
    /// Whether everybody on this host may read it.
    is_exposed: bool,
}

impl GivenSecret {
    /// What the setting `name` holds itself.
    pub(crate) fn new(name: &'static str, text: &str) -> Self {
        Self { name, text: Ok(Secret::new(text.to_owned())), file: None }
    }

    /// What is in the file that the setting `name` names, but for the end of its last line, which is the editor's. It is
    /// read here and never again: it may be a pipe.
    pub(crate) fn read(name: &'static str, path: &Path) -> Self {
        let (text, is_exposed) = match read_secret(path) {
            Ok((text, is_exposed)) => (Ok(text), is_exposed),
            Err(reason) => (Err(reason), false),
        };
        Self { name, text, file: Some(SecretFile { path: path.to_owned(), is_exposed }) }
    }

    /// The name of the setting.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The text, unless the file could not be read.
    fn text(&self) -> Result<&str, Invalid> {
        match &self.text {
            Ok(secret) => Ok(secret.as_str()),
            Err(reason) => Err(self.refuse(reason.as_str())),
        }
    }

    fn refuse(&self, reason: impl Into<String>) -> Invalid {
        match &self.file {
            Some(file) => Invalid::new(self.name, file.path.display(), reason),
            None => Invalid::secret(self.name, reason),
        }
    }

    /// Whether it is a key where there should have been the path of a file.
    fn is_key_for_path(&self) -> bool {
        self.file.as_ref().is_some_and(|file| {
            let path = file.path.to_str().unwrap_or_default();
            SecretKey::parse(path).is_ok() && !file.path.exists()
        })
    }

    /// The security, with a warning where the secret is none.
    fn secure(&self, security: Security) -> Security {
        match &self.file {
            Some(SecretFile { path, is_exposed: true }) => {
                security.with_exposed_file(path.display().to_string())
            }
            _ => security,
        }
    }
}

impl Config {
    /// The security of all endpoints, each of which can have it.
    ///
    /// # Errors
    ///
    /// What does not belong together, cannot be read, or is not for an endpoint that there is.
    pub(crate) fn security(&self) -> Result<Security, Invalid> {
        let (settings, endpoints) = (&self.security, &*self.endpoints);
        let (curve, plain) = (settings.curve_names().next(), settings.plain_names().next());
        let (security, name) = match (curve, plain) {
            (None, None) => return Ok(Security::default()),
            (Some(other), Some(name)) => {
                let reason =
                    format!("conflicts with --{other}: endpoints have CURVE or PLAIN, not both");
                return Err(settings.refuse(name, reason));
            }
            (Some(name), None) => (settings.curve(name, endpoints)?, name),
            (None, Some(name)) => (settings.plain(name)?, name),
        };
        if plain.is_some() && !is_some_connected(endpoints) {
            // Perhaps nobody asked for what is bound: it is the default.
            return Err(settings.refuse(name, "needs --connect"));
        }
        if endpoints.is_empty() {
            return Err(settings.refuse(name, "needs --connect or --bind"));
        }
        for endpoint in endpoints {
            let refuse = |reason| Invalid::new(flag_of(endpoint), endpoint, reason);
            security.check(endpoint).map_err(refuse)?;
        }
        Ok(security)
    }
}

impl SecurityConfig {
    /// The settings of CURVE that were given.
    fn curve_names(&self) -> impl Iterator<Item = &'static str> {
        [
            self.curve_secret_key.as_ref().map(|secret| secret.name),
            self.curve_server_key.as_ref().map(|_| "curve-server-key"),
            self.curve_public_key.as_ref().map(|_| "curve-public-key"),
        ]
        .into_iter()
        .flatten()
    }

    /// The settings of PLAIN that were given.
    fn plain_names(&self) -> impl Iterator<Item = &'static str> {
        [
            self.plain_user.as_ref().map(|_| "plain-user"),
            self.plain_password.as_ref().map(|secret| secret.name),
        ]
        .into_iter()
        .flatten()
    }

    /// Says of the setting `name` what is wrong with it, with its value unless that is a secret.
    fn refuse(&self, name: &'static str, reason: impl Into<String>) -> Invalid {
        let texts = [
            ("curve-server-key", &self.curve_server_key),
            ("curve-public-key", &self.curve_public_key),
            ("plain-user", &self.plain_user),
        ];
        if let Some((_, Some(text))) = texts.into_iter().find(|(it, _)| *it == name) {
            return Invalid::new(name, text, reason);
        }
        let secrets = [&self.curve_secret_key, &self.plain_password];
        match secrets.into_iter().flatten().find(|secret| secret.name == name) {
            Some(secret) => secret.refuse(reason),
            None => Invalid::secret(name, reason),
        }
    }

    /// CURVE, of which the setting `name` was given.
    fn curve(&self, name: &'static str, endpoints: &[Endpoint]) -> Result<Security, Invalid> {
        if let Some(secret) = self.curve_secret_key.as_ref().filter(|it| it.is_key_for_path()) {
            let reason =
                "expected a file that holds the key, not the key itself, which others may see here";
            return Err(Invalid::secret(secret.name, reason));
        }
        if !has_curve() {
            return Err(self.refuse(name, needs_system_libzmq("CURVE")));
        }
        let Some(secret) = &self.curve_secret_key else {
            let reason = "needs --curve-secret-key-file, this gateway's own key";
            return Err(self.refuse(name, reason));
        };
        let secret_key = secret_key(secret.text()?).map_err(|reason| secret.refuse(reason))?;
        let own_public_key = secret_key.public_key().map_err(|reason| secret.refuse(reason))?;
        let public_key = self.public_key("curve-public-key", self.curve_public_key.as_deref())?;
        if public_key.is_some_and(|key| key != own_public_key) {
            let reason = format!("does not belong to the key in --{}", secret.name);
            return Err(self.refuse("curve-public-key", reason));
        }
        let server_key = self.public_key("curve-server-key", self.curve_server_key.as_deref())?;
        if server_key.is_some() && !is_some_connected(endpoints) {
            let reason = "is for --connect; with --bind, publishers need this gateway's public key as theirs";
            return Err(self.refuse("curve-server-key", reason));
        }
        let security = Security::curve(secret_key, server_key);
        security.map(|it| secret.secure(it)).map_err(|reason| secret.refuse(reason))
    }

    fn public_key(
        &self,
        name: &'static str,
        text: Option<&str>,
    ) -> Result<Option<PublicKey>, Invalid> {
        text.map(PublicKey::parse).transpose().map_err(|reason| self.refuse(name, reason))
    }

    /// PLAIN, of which the setting `name` was given.
    fn plain(&self, name: &'static str) -> Result<Security, Invalid> {
        let (user, password) = match (&self.plain_user, &self.plain_password) {
            (Some(user), Some(password)) => (user, password),
            (user, _) => {
                let other = if user.is_some() { "--plain-password-file" } else { "--plain-user" };
                return Err(self.refuse(name, format!("needs {other}")));
            }
        };
        let security = Security::plain(user, password.text()?).map_err(|reason| {
            let is_of_user = reason.contains("user");
            self.refuse(if is_of_user { "plain-user" } else { password.name }, reason)
        })?;
        Ok(password.secure(security))
    }
}

/// The names of what was given.
impl fmt::Debug for SecurityConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.curve_names().chain(self.plain_names())).finish()
    }
}

fn is_some_connected(endpoints: &[Endpoint]) -> bool {
    endpoints.iter().any(|endpoint| endpoint.attach() == Attach::Connect)
}

/// What a file holds, and whether everybody on this host may read it.
pub(super) fn read_secret(path: &Path) -> Result<(Secret, bool), String> {
    /// The permission bits of those who neither own a file nor are of its group.
    const OTHERS: u32 = 0o007;
    let read = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let is_exposed = metadata.is_file() && metadata.permissions().mode() & OTHERS != 0;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok((bytes, is_exposed))
    };
    let (bytes, is_exposed) =
        read().map_err(|error: io::Error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("expected a file of at most 64 KiB".into());
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "expected a file in UTF-8")?;
    // A password may begin or end with blanks.
    let line = text.strip_suffix('\n').unwrap_or(&text);
    text.truncate(line.strip_suffix('\r').unwrap_or(line).len());
    Ok((Secret::new(text), is_exposed))
}

/// The secret key in a file: alone, or in a certificate as CZMQ and pyzmq write them (ZeroMQ RFC 4).
fn secret_key(text: &str) -> Result<SecretKey, String> {
    let text = text.trim();
    if !text.contains('\n') {
        return SecretKey::parse(text);
    }
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "secret-key").then_some(value.trim())
    });
    match value.map(|value| value.trim_matches(['"', '\''])) {
        Some(key) => SecretKey::parse(key).map_err(|reason| format!("secret-key: {reason}")),
        None => Err("holds no secret key: expected 40 characters of Z85, or a certificate with a line secret-key = \"…\"".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";

    #[test]
    fn a_secret_key_is_alone_in_its_file_or_in_a_certificate() {
        // A key may hold '=', quotes it has none.
        let with_equals = KEY.replace('%', "=");
        for text in [
            KEY.to_owned(),
            format!("  {KEY}\r\n"),
            with_equals,
            // As pyzmq and CZMQ write them.
            format!(
                "# *\n\nmetadata\ncurve\n    public-key = \"{KEY}\"\n    secret-key = \"{KEY}\"\n"
            ),
            format!("curve\n    secret-key='{KEY}'"),
        ] {
            assert!(secret_key(&text).is_ok(), "{text}");
        }
        for (text, part_of_reason) in [
            ("".into(), "this has 0"),
            ("nonsense".into(), "this has 8"),
            (format!("curve\n    public-key = \"{KEY}\""), "holds no secret key"),
            ("curve\n    secret-key = \"\"".into(), "secret-key: expected a key of 40"),
            (format!("== CURVE SECRET KEY ==\n{KEY}"), "holds no secret key"),
        ] {
            let reason = secret_key(&text).err().unwrap();
            assert!(reason.contains(part_of_reason) && !reason.contains(KEY), "{text}: {reason}");
        }
    }
}
