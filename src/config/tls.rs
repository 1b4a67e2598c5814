//! Reads the files of `--tls-cert` and `--tls-key`. Shows nothing of what the key's holds.

use std::path::PathBuf;

use crate::config::security::read_secret;
use crate::config::{Config, Invalid};
use crate::net::{Identity, Unusable};

/// Where the certificate and its key are.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    cert: PathBuf,
    key: PathBuf,
}

/// What was in them.
pub(crate) struct Loaded {
    pub(crate) identity: Identity,
    /// The key's file, where everybody on this host can read it.
    pub(crate) exposed_file: Option<String>,
}

impl Config {
    /// The files, where TLS is to be spoken.
    ///
    /// # Errors
    ///
    /// One of the two is missing.
    pub(crate) fn tls_files(&self) -> Result<Option<TlsFiles>, Invalid> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert: cert.clone(), key: key.clone() })),
            (Some(cert), None) => {
                Err(Invalid::new("tls-cert", cert.display(), "needs --tls-key, the key of it"))
            }
            (None, Some(key)) => {
                let reason = "needs --tls-cert, the certificate that it belongs to";
                Err(Invalid::new("tls-key", key.display(), reason))
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
    pub(crate) fn load(&self) -> Result<Loaded, Invalid> {
        let refuse_cert = |reason: String| Invalid::new("tls-cert", self.cert.display(), reason);
        let refuse_key = |reason: String| Invalid::new("tls-key", self.key.display(), reason);
        let (cert, _) = read_secret(&self.cert).map_err(refuse_cert)?;
        let (key, is_exposed) = read_secret(&self.key).map_err(refuse_key)?;
        let identity = Identity::from_pem(cert.as_str(), key.as_str());
        let identity = identity.map_err(|unusable| match unusable {
            Unusable::Certificate(reason) => refuse_cert(reason),
            Unusable::Key(reason) => refuse_key(reason),
        })?;
        let exposed_file = is_exposed.then(|| self.key.display().to_string());
        Ok(Loaded { identity, exposed_file })
    }
}
