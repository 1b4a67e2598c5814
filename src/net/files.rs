//! The files of `--www DIR`, read when they are asked for and kept as long as they do not change.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::http::assets::Asset;

/// The largest file that is served. A page needs less; what is larger belongs on a file server.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A folder of static files.
#[derive(Debug)]
pub(crate) struct Directory {
    root: File,
    cache: HashMap<String, Rc<Asset>>,
    /// Earlier versions of files, until their downloads end.
    replaced: Vec<Rc<Asset>>,
    cache_bytes: usize,
    cache_bytes_max: usize,
}

/// So much is being downloaded that nothing else can be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Directory {
    /// The files of the folder at `path`, of which at most `cache_bytes_max` are in memory at a time.
    ///
    /// # Errors
    ///
    /// When `path` is not a folder that can be read, or the kernel is older than Linux 5.6, which has no `openat2`.
    pub(crate) fn open(path: &Path, cache_bytes_max: usize) -> io::Result<Self> {
        fs::read_dir(path)?;
        let root = File::open(path)?;
        open_beneath(&root, ".")?;
        Ok(Self {
            root,
            cache: HashMap::new(),
            replaced: Vec::new(),
            cache_bytes: 0,
            cache_bytes_max,
        })
    }

    /// The file at `relative`, a path without `..`; `None` when there is no readable file inside the folder.
    pub(crate) fn find(&mut self, relative: &str) -> Result<Option<Rc<Asset>>, NoRoom> {
        match self.locate(relative) {
            Some((file, metadata)) => self.read_through_cache(relative, &file, &metadata),
            None => Ok(None),
        }
    }

    /// Opens the file and looks at the descriptor: a path that is looked at first may name another file when it is opened.
    fn locate(&self, relative: &str) -> Option<(File, Metadata)> {
        let relative = if relative.is_empty() { "." } else { relative };
        let (file, metadata) = self.open_beneath(relative)?;
        if !metadata.is_dir() {
            return Some((file, metadata));
        }
        self.open_beneath(&format!("{relative}/index.html"))
    }

    fn open_beneath(&self, relative: &str) -> Option<(File, Metadata)> {
        let file = open_beneath(&self.root, relative).ok()?;
        let metadata = file.metadata().ok()?;
        // Reading a FIFO or a device would block or never end.
        if !metadata.is_file() && !metadata.is_dir() {
            return None;
        }
        if metadata.is_file() && metadata.len() > FILE_BYTES_MAX {
            log::warn!("--www: {relative} is not served: larger than {FILE_BYTES_MAX} bytes");
            return None;
        }
        Some((file, metadata))
    }

    fn read_through_cache(
        &mut self,
        relative: &str,
        file: &File,
        metadata: &Metadata,
    ) -> Result<Option<Rc<Asset>>, NoRoom> {
        let etag = etag(metadata);
        if let Some(asset) = self.cache.get(relative).filter(|asset| asset.etag() == etag) {
            return Ok(Some(Rc::clone(asset)));
        }
        self.make_room(metadata.len() as usize, relative)?;
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        if let Err(error) = file.take(metadata.len()).read_to_end(&mut bytes) {
            log::warn!("--www: {relative} cannot be read: {error}");
            return Ok(None);
        }
        self.cache_bytes += bytes.len();
        let asset = Rc::new(Asset::from_file(relative, bytes, etag));
        self.cache.insert(relative.to_owned(), Rc::clone(&asset));
        Ok(Some(asset))
    }

    /// Replaces the last version of `relative`, and drops files without a download where room is short. A version that is
    /// being downloaded counts until its download ends.
    fn make_room(&mut self, bytes: usize, relative: &str) -> Result<(), NoRoom> {
        if let Some(asset) = self.cache.remove(relative) {
            self.replaced.push(asset);
        }
        self.replaced.retain(|asset| Rc::strong_count(asset) > 1);
        self.count();
        if self.cache_bytes + bytes > self.cache_bytes_max {
            self.cache.retain(|_, asset| Rc::strong_count(asset) > 1);
            self.count();
        }
        if self.cache_bytes + bytes <= self.cache_bytes_max { Ok(()) } else { Err(NoRoom) }
    }

    fn count(&mut self) {
        let assets = self.cache.values().chain(&self.replaced);
        self.cache_bytes = assets.map(|asset| asset.bytes().len()).sum();
    }
}

/// Opens a path that cannot lead out of `root`, also by a link that is exchanged meanwhile. A FIFO does not block.
fn open_beneath(root: &File, relative: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, relative, flags, Mode::empty(), resolve)?.into())
}

/// A file that is written or replaced gets another tag, without its content being read.
fn etag(metadata: &Metadata) -> String {
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    format!("\"{:x}-{seconds:x}.{nanos:x}-{:x}\"", metadata.ino(), metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_inside_the_folder_are_found() {
        let base = std::env::temp_dir().join(format!("zmq2ws-files-{}", std::process::id()));
        let root = base.join("www");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(base.join("secret"), "secret").unwrap();
        fs::write(root.join("index.html"), "first").unwrap();
        fs::write(root.join("sub/index.html"), "sub").unwrap();
        std::os::unix::fs::symlink(base.join("secret"), root.join("link")).unwrap();
        std::os::unix::fs::symlink("index.html", root.join("alias.html")).unwrap();
        let mut directory = Directory::open(&root, 1 << 20).unwrap();
        let mut text = |path: &str| {
            let asset = directory.find(path).unwrap();
            asset.map(|asset| String::from_utf8(asset.bytes().to_vec()).unwrap())
        };
        assert_eq!(text("index.html").as_deref(), Some("first"));
        assert_eq!(text("").as_deref(), Some("first"));
        assert_eq!(text("sub").as_deref(), Some("sub"));
        assert_eq!(text("alias.html").as_deref(), Some("first"));
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), Mode::RWXU).unwrap();
        for outside in ["../secret", "link", "missing", "/etc/passwd", "fifo"] {
            assert_eq!(text(outside), None, "{outside}");
        }
        fs::write(root.join("index.html"), "longer second").unwrap();
        assert_eq!(text("index.html").as_deref(), Some("longer second"));
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn what_is_being_downloaded_is_bounded_and_what_is_not_makes_room() {
        let root = std::env::temp_dir().join(format!("zmq2ws-room-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(root.join(name), [b'x'; 400]).unwrap();
        }
        let mut directory = Directory::open(&root, 1_000).unwrap();
        let a = directory.find("a").unwrap().unwrap();
        assert!(directory.find("b").unwrap().is_some());
        let c = directory.find("c").unwrap();
        assert!(c.is_some(), "b is not being downloaded, so it makes room");
        assert_eq!(directory.find("b").unwrap_err(), NoRoom);
        drop(a);
        assert!(directory.find("b").unwrap().is_some());
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_download_does_not_keep_the_old_version_alive_for_others() {
        let root = std::env::temp_dir().join(format!("zmq2ws-old-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("a"), [b'1'; 400]).unwrap();
        let mut directory = Directory::open(&root, 1_000).unwrap();
        let downloading = directory.find("a").unwrap().unwrap();
        fs::write(root.join("new"), [b'2'; 400]).unwrap();
        fs::rename(root.join("new"), root.join("a")).unwrap();
        assert_eq!(directory.find("a").unwrap().unwrap().bytes(), [b'2'; 400]);
        fs::write(root.join("b"), [b'3'; 400]).unwrap();
        let current = directory.find("a").unwrap();
        assert_eq!(directory.find("b").unwrap_err(), NoRoom, "the old version counts");
        drop((downloading, current));
        assert!(directory.find("b").unwrap().is_some());
        fs::remove_dir_all(&root).unwrap();
    }
}
