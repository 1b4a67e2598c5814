//! Reads the files of `--tls-cert` and `--tls-key`. Shows nothing of what the key's holds.

use std::path::PathBuf;

use crate::config::security::read_secret;
use crate::config::{Config, Settings};
use crate::error::ConfigError;
use crate::net::{Identity, Unusable};

/// The files of the certificate and of its key.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    cert: PathBuf,
    key: PathBuf,
    /// How errors call the two settings.
    given: Settings,
}

/// What was in the files.
pub(crate) struct Loaded {
    pub(crate) identity: Identity,
    /// The key's file, where everybody on this host can read it.
    pub(crate) exposed_file: Option<String>,
}

impl Config {
    /// The files, where clients speak TLS.
    ///
    /// # Errors
    ///
    /// One of the two is missing.
    pub(crate) fn tls_files(&self) -> Result<Option<TlsFiles>, ConfigError> {
        let needs = |name, path: &PathBuf, other, what| {
            let other = self.mention(name, other);
            Err(self.refuse(name, path.display(), format!("needs {other}, {what}")))
        };
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => {
                let given = self.given.clone();
                Ok(Some(TlsFiles { cert: cert.clone(), key: key.clone(), given }))
            }
            (Some(cert), None) => needs("tls_cert", cert, "tls_key", "the key of it"),
            (None, Some(key)) => {
                needs("tls_key", key, "tls_cert", "the certificate that it belongs to")
            }
        }
    }
}

impl TlsFiles {
    /// Reads both, as they are now.
    ///
    /// # Errors
    ///
    /// The first that cannot be used.
    pub(crate) fn load(&self) -> Result<Loaded, ConfigError> {
        let refuse_cert = |reason| self.given.refuse("tls_cert", self.cert.display(), reason);
        let refuse_key = |reason: String| self.given.refuse("tls_key", self.key.display(), reason);
        let (cert, _) = read_secret(&self.cert).map_err(refuse_cert)?;
        let (key, is_exposed) = read_secret(&self.key).map_err(refuse_key)?;
        let identity = Identity::from_pem(cert.as_str(), key.as_str());
        let identity = identity.map_err(|unusable| match unusable {
            Unusable::Certificate(reason) => refuse_cert(reason),
            Unusable::Key(reason) => refuse_key(reason),
            Unusable::Pair => {
                let cert = self.given.mention("tls_key", "tls_cert");
                refuse_key(format!("does not belong to the certificate in {cert}"))
            }
        })?;
        let exposed_file = is_exposed.then(|| self.key.display().to_string());
        Ok(Loaded { identity, exposed_file })
    }
}
