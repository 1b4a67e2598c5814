//! Decides which settings of ZeroMQ's security belong together, and for which endpoints: the only place, for what was typed
//! and for what a host program sets. Shows nothing of what they hold.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::config::check::flag_of;
use crate::error::ConfigError;
use crate::source::{
    Attach, Endpoint, PublicKey, Secret, SecretKey, Security, Unsecured, has_curve,
    needs_system_libzmq,
};

/// No certificate is as long; /dev/zero is longer.
const FILE_BYTES_MAX: u64 = 64 << 10;

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

/// The name of the setting; the secret is not shown.
impl fmt::Debug for GivenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Config {
    /// The security of all endpoints, each of which can have it.
    ///
    /// # Errors
    ///
    /// The settings do not belong together, cannot be read, or are for no endpoint that exists.
    pub(crate) fn security(&self) -> Result<Security, ConfigError> {
        let secret_name = |secret: &Option<GivenSecret>| secret.as_ref().map(|secret| secret.name);
        let curve = secret_name(&self.curve_secret_key)
            .or(self.curve_server_key.as_ref().map(|_| "curve_server_key"))
            .or(self.curve_public_key.as_ref().map(|_| "curve_public_key"));
        let plain = self.plain_user.as_ref().map(|_| "plain_user");
        let plain = plain.or(secret_name(&self.plain_password));
        let (security, name) = match (curve, plain) {
            (None, None) => return Ok(Security::default()),
            (Some(other), Some(name)) => {
                let other = self.mention(name, other);
                let reason =
                    format!("conflicts with {other}: endpoints have CURVE or PLAIN, not both");
                return Err(self.refuse_security(name, reason));
            }
            (Some(name), None) => (self.curve(name)?, name),
            (None, Some(name)) => (self.plain(name)?, name),
        };
        let [connect, bind] = ["connect", "bind"].map(|other| self.mention(name, other));
        if plain.is_some() && !self.is_some_connected() {
            // The user may not have asked for what is bound: it is the default.
            return Err(self.refuse_security(name, format!("needs {connect}")));
        }
        if self.endpoints.is_empty() {
            return Err(self.refuse_security(name, format!("needs {connect} or {bind}")));
        }
        for endpoint in &self.endpoints {
            security
                .check(endpoint)
                .map_err(|unsecured| self.refuse_unsecured(endpoint, unsecured))?;
        }
        Ok(security)
    }

    fn refuse_unsecured(&self, endpoint: &Endpoint, unsecured: Unsecured) -> ConfigError {
        let name = flag_of(endpoint);
        let mention = |other| self.mention(name, other);
        let reason = match unsecured {
            Unsecured::PlainServer => format!(
                "{} is for {} only: here nobody would ask for the password",
                mention("plain_user"),
                mention("connect")
            ),
            Unsecured::NoServerKey => {
                let key = mention("curve_server_key");
                format!("with CURVE needs {key}, the public key of that publisher")
            }
            Unsecured::Multicast => {
                "multicast has no security in ZeroMQ: run a gateway without CURVE and PLAIN for it"
                    .into()
            }
        };
        self.refuse(name, endpoint, reason)
    }

    /// The error for the setting `name`, with its value unless that is a secret.
    fn refuse_security(&self, name: &str, reason: impl Into<String>) -> ConfigError {
        let secrets = [&self.curve_secret_key, &self.plain_password];
        if let Some(secret) = secrets.into_iter().flatten().find(|secret| secret.name == name) {
            return self.refuse_secret(secret, reason);
        }
        let value = match name {
            "curve_server_key" => &self.curve_server_key,
            "curve_public_key" => &self.curve_public_key,
            _ => &self.plain_user,
        };
        self.refuse(name, value.as_deref().unwrap_or_default(), reason)
    }

    fn refuse_secret(&self, secret: &GivenSecret, reason: impl Into<String>) -> ConfigError {
        match &secret.file {
            Some(file) => self.refuse(secret.name, file.path.display(), reason),
            None => self.given.refuse_secret(secret.name, reason),
        }
    }

    /// The text of a secret, unless its file could not be read.
    fn text<'a>(&self, secret: &'a GivenSecret) -> Result<&'a str, ConfigError> {
        let text = secret.text.as_ref().map(Secret::as_str);
        text.map_err(|reason| self.refuse_secret(secret, reason.as_str()))
    }

    /// CURVE, of which the setting `name` was given.
    fn curve(&self, name: &'static str) -> Result<Security, ConfigError> {
        if let Some(secret) = self.curve_secret_key.as_ref().filter(|it| it.is_key_for_path()) {
            let reason =
                "expected a file that holds the key, not the key itself, which others may see here";
            return Err(self.given.refuse_secret(secret.name, reason));
        }
        if !has_curve() {
            return Err(self.refuse_security(name, needs_system_libzmq("CURVE")));
        }
        let Some(secret) = &self.curve_secret_key else {
            let file = self.mention(name, "curve_secret_key_file");
            return Err(self.refuse_security(name, format!("needs {file}, this gateway's own key")));
        };
        let refuse_secret = |reason| self.refuse_secret(secret, reason);
        let secret_key = secret_key(self.text(secret)?).map_err(refuse_secret)?;
        let own_public_key = secret_key.public_key().map_err(refuse_secret)?;
        let public_key = self.public_key("curve_public_key", self.curve_public_key.as_deref())?;
        if public_key.is_some_and(|key| key != own_public_key) {
            let name = "curve_public_key";
            let secret = self.mention(name, secret.name);
            let reason = format!("does not belong to the key in {secret}");
            return Err(self.refuse_security(name, reason));
        }
        let server_key = self.public_key("curve_server_key", self.curve_server_key.as_deref())?;
        if server_key.is_some() && !self.is_some_connected() {
            let name = "curve_server_key";
            let [connect, bind] = ["connect", "bind"].map(|other| self.mention(name, other));
            let reason = format!(
                "is for {connect}; with {bind}, publishers need this gateway's public key as theirs"
            );
            return Err(self.refuse_security(name, reason));
        }
        let security = Security::curve(secret_key, server_key).map_err(refuse_secret)?;
        Ok(secret.secure(security))
    }

    fn public_key(&self, name: &str, text: Option<&str>) -> Result<Option<PublicKey>, ConfigError> {
        let key = text.map(PublicKey::parse).transpose();
        key.map_err(|reason| self.refuse_security(name, reason))
    }

    /// PLAIN, of which the setting `name` was given.
    fn plain(&self, name: &'static str) -> Result<Security, ConfigError> {
        let (user, password) = match (&self.plain_user, &self.plain_password) {
            (Some(user), Some(password)) => (user, password),
            (user, _) => {
                let other = if user.is_some() { "plain_password_file" } else { "plain_user" };
                let other = self.mention(name, other);
                return Err(self.refuse_security(name, format!("needs {other}")));
            }
        };
        let text = self.text(password)?;
        for (name, what, text) in
            [("plain_user", "user", user.as_str()), (password.name, "password", text)]
        {
            if !Security::PLAIN_BYTES.contains(&text.len()) {
                let (min, max) = (Security::PLAIN_BYTES.start(), Security::PLAIN_BYTES.end());
                let reason = format!("expected a {what} of {min} to {max} bytes");
                return Err(self.refuse_security(name, reason));
            }
        }
        Ok(password.secure(Security::plain(user, text)))
    }

    fn is_some_connected(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.attach() == Attach::Connect)
    }
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
