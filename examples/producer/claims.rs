//! Which files are known under some name, so that one that was only renamed is not sent again.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Tells a file from every other, whatever its name is. Systems give the number of a file that is gone
/// to a new one; when it was made tells them apart, where the file system knows that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl Identity {
    pub(crate) fn of(data: &Metadata) -> Self {
        Self { device: data.dev(), inode: data.ino(), created: data.created().ok() }
    }
}

/// Shared by all threads. Holds what is open, and what has a name that the patterns match.
#[derive(Default)]
pub(crate) struct Claims {
    is_open: Mutex<HashMap<Identity, bool>>,
}

impl Claims {
    /// A file is open: nobody else is to begin with it under another name.
    pub(crate) fn open(&self, identity: Identity) {
        self.files().insert(identity, true);
    }

    /// It is closed again; it stays known as long as a pattern matches one of its names.
    pub(crate) fn close(&self, identity: Identity) {
        if let Some(is_open) = self.files().get_mut(&identity) {
            *is_open = false;
        }
    }

    /// Whether the file was not known before; it is from now on.
    pub(crate) fn is_new(&self, identity: Identity) -> bool {
        let mut files = self.files();
        let known = files.len();
        files.entry(identity).or_insert(false);
        files.len() > known
    }

    /// Forgets all that are neither open nor in `present`.
    pub(crate) fn forget_all_but(&self, present: &HashSet<Identity>) {
        self.files().retain(|identity, is_open| *is_open || present.contains(identity));
    }

    fn files(&self) -> MutexGuard<'_, HashMap<Identity, bool>> {
        // Every change is one call: a panic elsewhere leaves nothing half done.
        self.is_open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_while_it_is_open_or_has_a_name() {
        let identity = |inode| Identity { device: 1, inode, created: None };
        let claims = Claims::default();
        claims.open(identity(1));
        assert!(!claims.is_new(identity(1)));
        assert!(claims.is_new(identity(2)));
        assert!(!claims.is_new(identity(2)));
        claims.forget_all_but(&HashSet::from([identity(2)]));
        assert!(!claims.is_new(identity(1)) && !claims.is_new(identity(2)));
        claims.close(identity(1));
        claims.forget_all_but(&HashSet::new());
        assert!(claims.is_new(identity(1)) && claims.is_new(identity(2)));
    }

    #[test]
    fn a_number_given_to_another_file_is_another_identity() {
        let made = |seconds| Identity {
            device: 1,
            inode: 1,
            created: SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds)),
        };
        assert_ne!(made(1), made(2));
    }
}
