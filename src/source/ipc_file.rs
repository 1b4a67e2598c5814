//! The file of an `ipc://` endpoint: whether one may be bound at a path, where libzmq deletes whatever is there, and its
//! end, which libzmq forgets.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Checks that binding at `path` destroys nothing: no file, or a socket on which nobody listens any
/// more.
///
/// Somebody may still put a file there before libzmq unlinks it; only libzmq could close that gap.
///
/// # Errors
///
/// One sentence that names the path and what to do.
pub(super) fn check_free(path: &str) -> Result<(), String> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // A missing or unreachable directory included: there libzmq can delete nothing either, and
        // says why.
        Err(_) => return Ok(()),
    };
    if path.starts_with('@') {
        // An abstract name, yet libzmq unlinks the relative path of the same spelling.
        return Err(format!("a file of that name is in the working directory: remove {path}"));
    }
    if !metadata.file_type().is_socket() {
        return Err(format!(
            "{path} exists and is not a socket: remove it, or choose another path"
        ));
    }
    match probe(path) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
        Ok(()) | Err(Errno::AGAIN) => {
            Err(format!("another process is listening on {path}: stop it, or choose another path"))
        }
        Err(Errno::PROTOTYPE) => {
            Err(format!("{path} is a socket of another kind: remove it, or choose another path"))
        }
        Err(errno) => {
            let kind = errno.kind();
            Err(format!(
                "cannot tell whether {path} is in use ({kind}): remove it, or choose another path"
            ))
        }
    }
}

/// The socket that was bound at a path; dropping it removes the file, unless there is another one by now.
pub(super) struct IpcFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl IpcFile {
    /// The file at `path`, where a socket was just bound. An abstract name has none, and what `*` stands for libzmq removes
    /// with its folder.
    pub(super) fn bound_at(path: &str) -> Option<Self> {
        if path.starts_with('@') || path == "*" {
            return None;
        }
        // Whatever the working directory is by then.
        let path = std::path::absolute(path).ok()?;
        let metadata = fs::symlink_metadata(&path).ok()?;
        Some(Self { path, device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for IpcFile {
    fn drop(&mut self) {
        let is_same =
            |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(is_same) {
            // Nothing can be done about a file that must not be removed any more.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connects to the socket at `path` without waiting, and hangs up.
fn probe(path: &str) -> Result<(), Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::connect(&socket, &address)
}
