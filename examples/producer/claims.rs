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
pub(crate) struct Claims {
    files: Mutex<HashMap<Identity, Claim>>,
    open_max: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Claim {
    /// How many have it open.
    open: usize,
    /// How far it was read by those who have closed it.
    read_to: u64,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// A follower has it, under any name.
    Open,
    /// A follower had it, and read up to here.
    ReadTo(u64),
}

impl Claims {
    pub(crate) fn with_limit(open_max: usize) -> Self {
        Self { files: Mutex::default(), open_max }
    }

    /// Whether more may be open than are.
    pub(crate) fn has_room(&self) -> bool {
        self.files().values().map(|claim| claim.open).sum::<usize>() < self.open_max
    }

    /// A file is open: no other follower may begin with it under another name.
    pub(crate) fn open(&self, identity: Identity) {
        self.files().entry(identity).or_default().open += 1;
    }

    /// It is closed again, and was read so far; it stays known as long as a pattern matches one of its
    /// names.
    pub(crate) fn close(&self, identity: Identity, read_to: u64) {
        if let Some(claim) = self.files().get_mut(&identity) {
            claim.open -= 1;
            claim.read_to = claim.read_to.max(read_to);
        }
    }

    pub(crate) fn known(&self, identity: Identity) -> Option<Known> {
        let claim = *self.files().get(&identity)?;
        Some(if claim.open > 0 { Known::Open } else { Known::ReadTo(claim.read_to) })
    }

    /// Forgets all that are neither open nor in `present`.
    pub(crate) fn forget_all_but(&self, present: &HashSet<Identity>) {
        self.files().retain(|identity, claim| claim.open > 0 || present.contains(identity));
    }

    fn files(&self) -> MutexGuard<'_, HashMap<Identity, Claim>> {
        // Every change is one call: a panic elsewhere leaves nothing half done.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_while_it_is_open_or_has_a_name() {
        let identity = |inode| Identity { device: 1, inode, created: None };
        let claims = Claims::with_limit(2);
        assert_eq!(claims.known(identity(1)), None);
        claims.open(identity(1));
        claims.open(identity(1));
        assert!(!claims.has_room());
        claims.close(identity(1), 7);
        assert!(claims.has_room());
        claims.forget_all_but(&HashSet::new());
        assert_eq!(claims.known(identity(1)), Some(Known::Open));
        claims.close(identity(1), 5);
        claims.forget_all_but(&HashSet::from([identity(1)]));
        assert_eq!(claims.known(identity(1)), Some(Known::ReadTo(7)));
        claims.forget_all_but(&HashSet::from([identity(2)]));
        assert_eq!(claims.known(identity(1)), None);
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
