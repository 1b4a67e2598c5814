//! Gives the settings of ZeroMQ's security their meaning: which of them belong together, and what is in their files.
//! Shows nothing of what these hold.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::Settings;
use crate::config::values::Text;
use crate::error::ConfigError;
use crate::source::{
    Attach, Endpoint, PublicKey, Secret, SecretKey, Security, has_curve, needs_system_libzmq,
};

/// No certificate is as long; /dev/zero is longer.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What a file held, and whether everybody on this host may read it.
pub(super) struct SecretFile {
    pub(super) text: Secret,
    pub(super) is_exposed: bool,
}

type Given<'a> = (&'static str, &'a Text);

impl Settings {
    /// The security of the `endpoints`, each of which can have it.
    pub(super) fn security(&self, endpoints: &[Endpoint]) -> Result<Security, ConfigError> {
        let curve = [
            ("curve-secret-key-file", &self.curve_secret_key_file),
            ("curve-server-key", &self.curve_server_key),
            ("curve-public-key", &self.curve_public_key),
        ];
        let plain =
            [("plain-user", &self.plain_user), ("plain-password-file", &self.plain_password_file)];
        let (security, given) = match (first_given(&curve), first_given(&plain)) {
            (None, None) => return Ok(Security::default()),
            (Some((other, _)), Some((name, value))) => {
                let reason =
                    format!("conflicts with --{other}: endpoints have CURVE or PLAIN, not both");
                return Err(self.refuse(name, value, reason));
            }
            (Some(given), None) => (self.curve(endpoints, given)?, given),
            (None, Some(given)) => (self.plain(given)?, given),
        };
        if self.is_demo()? {
            let reason =
                format!("conflicts with --{}: its producer has no ZeroMQ security", given.0);
            return Err(self.refuse("demo", "true", reason));
        }
        for endpoint in endpoints {
            if let Err(reason) = security.check(endpoint) {
                return Err(self.refuse_endpoint(endpoint, given, &reason));
            }
        }
        Ok(security)
    }

    fn curve(&self, endpoints: &[Endpoint], given: Given<'_>) -> Result<Security, ConfigError> {
        if let Some(path) = &self.curve_secret_key_file
            && SecretKey::parse(path).is_ok()
            && !Path::new(&**path).exists()
        {
            let reason = "expected a file that holds the key, not the key itself, which others see in the list of processes";
            return Err(self.refuse("curve-secret-key-file", "…", reason));
        }
        if !has_curve() {
            return Err(self.refuse(given.0, given.1, needs_system_libzmq("CURVE")));
        }
        let Some(path) = &self.curve_secret_key_file else {
            let reason = "needs --curve-secret-key-file, this gateway's own key";
            return Err(self.refuse(given.0, given.1, reason));
        };
        let refuse_file = |reason| self.refuse("curve-secret-key-file", path, reason);
        let file = read_secret(&**path).map_err(refuse_file)?;
        let secret_key = secret_key(file.text.as_str()).map_err(refuse_file)?;
        let own_public_key = secret_key.public_key().map_err(refuse_file)?;
        if let Some(text) = &self.curve_public_key {
            let refuse = |reason: String| self.refuse("curve-public-key", text, reason);
            if PublicKey::parse(text).map_err(refuse)? != own_public_key {
                return Err(refuse("does not belong to the key in --curve-secret-key-file".into()));
            }
        }
        let server_key =
            self.read_with("curve-server-key", &self.curve_server_key, None, |text| {
                PublicKey::parse(text).map(Some)
            })?;
        if let Some(text) = &self.curve_server_key
            && endpoints.iter().all(|endpoint| endpoint.attach() == Attach::Bind)
        {
            let reason = "is for --connect; with --bind, publishers need this gateway's public key as theirs";
            return Err(self.refuse("curve-server-key", text, reason));
        }
        let security = Security::curve(secret_key, server_key).map_err(refuse_file)?;
        Ok(if file.is_exposed { security.with_exposed_file(path.to_string()) } else { security })
    }

    fn plain(&self, given: Given<'_>) -> Result<Security, ConfigError> {
        let (user, path) = match (&self.plain_user, &self.plain_password_file) {
            (Some(user), Some(path)) => (user, path),
            (user, _) => {
                let other = if user.is_some() { "--plain-password-file" } else { "--plain-user" };
                return Err(self.refuse(given.0, given.1, format!("needs {other}")));
            }
        };
        let refuse_file = |reason| self.refuse("plain-password-file", path, reason);
        let file = read_secret(&**path).map_err(refuse_file)?;
        // A password may begin or end with blanks; the line's end is the editor's.
        let text = file.text.as_str();
        let line = text.strip_suffix('\n').unwrap_or(text);
        let password = line.strip_suffix('\r').unwrap_or(line);
        let security = Security::plain(user, password).map_err(|reason| {
            if reason.contains("user") {
                self.refuse("plain-user", user, reason)
            } else {
                refuse_file(reason)
            }
        })?;
        Ok(if file.is_exposed { security.with_exposed_file(path.to_string()) } else { security })
    }

    /// Names the endpoint that cannot have the security, or the setting that nobody's endpoint goes with.
    fn refuse_endpoint(
        &self,
        endpoint: &Endpoint,
        (name, value): Given<'_>,
        reason: &str,
    ) -> ConfigError {
        let is_given = |texts: &Option<Vec<Text>>| texts.as_ref().is_some_and(|it| !it.is_empty());
        match endpoint.attach() {
            Attach::Connect => self.refuse("connect", &endpoint.to_string(), reason),
            // Perhaps nobody asked for this endpoint: it is the default.
            Attach::Bind if name.starts_with("plain") && !is_given(&self.connect) => {
                self.refuse(name, value, "needs --connect")
            }
            Attach::Bind => self.refuse("bind", &endpoint.to_string(), reason),
        }
    }
}

fn first_given<'a>(settings: &[(&'static str, &'a Option<Text>)]) -> Option<Given<'a>> {
    settings.iter().find_map(|(name, value)| value.as_ref().map(|value| (*name, value)))
}

pub(super) fn read_secret(path: impl AsRef<Path>) -> Result<SecretFile, String> {
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
    let text = String::from_utf8(bytes).map_err(|_| "expected a file in UTF-8")?;
    Ok(SecretFile { text: Secret::new(text), is_exposed })
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
