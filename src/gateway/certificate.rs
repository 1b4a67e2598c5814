//! The certificate that clients are shown, from its files, and how it is exchanged for a newer one.

use std::fmt;
use std::sync::Arc;

use crate::config::{Config, Loaded, TlsFiles};
use crate::error::ConfigError;
use crate::net::Acceptor;

/// A certificate that may be exchanged, from any thread.
#[derive(Clone)]
pub(super) struct Certificate(Arc<Parts>);

struct Parts {
    files: TlsFiles,
    acceptor: Acceptor,
}

impl Certificate {
    /// Reads it, where there is to be one.
    pub(super) fn open(config: &Config) -> Result<Option<Self>, ConfigError> {
        let Some(files) = config.tls_files()? else { return Ok(None) };
        let loaded = files.load()?;
        loaded.warn();
        let acceptor = Acceptor::new(loaded.identity);
        Ok(Some(Self(Arc::new(Parts { files, acceptor }))))
    }

    pub(super) fn acceptor(&self) -> &Acceptor {
        &self.0.acceptor
    }

    /// Reads the files again. The certificate stays what it is where they cannot be used.
    pub(super) fn reload(&self) -> Result<(), ConfigError> {
        let Parts { files, acceptor } = &*self.0;
        let loaded = files.load()?;
        loaded.warn();
        acceptor.exchange(loaded.identity);
        Ok(())
    }
}

impl Loaded {
    fn warn(&self) {
        if let Some(file) = &self.exposed_file {
            super::warn_of_exposed(file);
        }
    }
}

/// Nothing of what it holds is shown.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.0.files).finish_non_exhaustive()
    }
}
